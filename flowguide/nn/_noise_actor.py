import math
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import as_positive_int, as_shape
from .._policy import SquashedGaussian
from ._mlp import MLP
from ._networks import check_shapes

# As soft actor-critics bound it: above, tanh leaves nothing but the box's corners.
LOG_STD = -20.0, 2.0


class NoiseActor(eqx.Module):
    r"""Which noise a flow starts from: an MLP from the observation to a squashed Gaussian.

    Called, it returns a callable from standard Gaussian noise to
    $z = c \tanh(\mu(o) + \sigma(o)\, \epsilon)$, which also has a `log_density` of $z / c$ there.
    It is what the `steer` of a `flowguide.FlowPolicy` may be.

    **Arguments:**

    - `observation_size`: the size of the (flat) observation.
    - `noise_shape`: the shape of the noise.
    - `hidden`, `compute_dtype`, `key`: as for `VelocityMLP`.
    - `scale`: $c$ above 0, the largest size of an entry of the noise.

    **Raises:**

    `ValueError` for a scale that is not above 0 and finite, or when called with another shape of
    observation.
    """

    mlp: MLP
    observation_size: int = eqx.field(static=True)
    noise_shape: tuple[int, ...] = eqx.field(static=True)
    hidden: tuple[int, ...] = eqx.field(static=True)
    scale: float = eqx.field(static=True)

    def __init__(
        self,
        observation_size: int,
        noise_shape: Sequence[int],
        hidden: Sequence[int] = (512, 512, 512, 512),
        *,
        scale: float = 1.0,
        compute_dtype: str = "float32",
        key: PRNGKeyArray,
    ):
        if not 0 < scale < math.inf:
            raise ValueError(f"scale must be above 0 and finite, got {scale}.")
        self.observation_size = as_positive_int("observation_size", observation_size)
        self.noise_shape = as_shape("noise_shape", noise_shape)
        self.hidden = as_shape("hidden", hidden)
        self.scale = float(scale)
        size = 2 * math.prod(self.noise_shape)
        self.mlp = MLP(
            *(self.observation_size, size, self.hidden),
            norm_last=False,
            compute_dtype=compute_dtype,
            key=key,
        )

    @property
    def compute_dtype(self) -> str:
        return self.mlp.compute_dtype

    def __call__(self, observation: Float[Array, " observation"]) -> SquashedGaussian:
        check_shapes(self, observation)
        mean, log_std = self.mlp(observation).reshape(2, *self.noise_shape)
        return SquashedGaussian(mean, jnp.clip(log_std, *LOG_STD), self.scale)
