from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._checks import as_positive_int, as_shape, described
from .._pytree import PyTree
from ._mlp import MLP
from ._time import sinusoidal_embedding

TIME_SIZE = 16


class VelocityMLP(eqx.Module):
    """The velocity field of the published QGF code: an MLP of observation, action and time.

    **Arguments:**

    - `observation_size`: the size of the (flat) observation.
    - `action_shape`: the shape of the action, such as `(5,)` or `(horizon, 5)`.
    - `hidden`: the hidden sizes. All hidden layers but the last are normalised.
    - `num_labels`: if above 0, the observation is `(observation, label)` with a label from 0 to
        `num_labels - 1`, or -1 for none; see `flowguide.ClassifierFreeVelocity`.
    - `compute_dtype`: as for `MLP`.
    - `key`: for the initialisation.

    **Raises:**

    `ValueError` when called with another shape of observation or action.
    """

    mlp: MLP
    observation_size: int = eqx.field(static=True)
    action_shape: tuple[int, ...] = eqx.field(static=True)
    hidden: tuple[int, ...] = eqx.field(static=True)
    num_labels: int = eqx.field(static=True)

    def __init__(
        self,
        observation_size: int,
        action_shape: Sequence[int],
        hidden: Sequence[int] = (512, 512, 512, 512),
        *,
        num_labels: int = 0,
        compute_dtype: str = "float32",
        key: PRNGKeyArray,
    ):
        self.observation_size = as_positive_int("observation_size", observation_size)
        self.action_shape = as_shape("action_shape", action_shape)
        self.hidden = as_shape("hidden", hidden)
        self.num_labels = int(num_labels)
        size = jnp.empty(self.action_shape).size
        in_size = self.observation_size + size + TIME_SIZE + self.num_labels
        self.mlp = MLP(
            in_size, size, self.hidden, norm_last=False, compute_dtype=compute_dtype, key=key
        )

    @property
    def compute_dtype(self) -> str:
        return self.mlp.compute_dtype

    def __call__(
        self,
        t: Float[ArrayLike, ""],
        action: Float[Array, "*action"],
        observation: PyTree,
    ) -> Float[Array, "*action"]:
        label = []
        if self.num_labels:
            if not isinstance(observation, tuple):
                raise ValueError(
                    "A VelocityMLP with labels is asked about (observation, label), and got the "
                    f"observation {described(observation)}: "
                    "flowguide.ClassifierFreeVelocity adds them."
                )
            observation, number = observation
            # All zeros for -1.
            label = [jax.nn.one_hot(number, self.num_labels, dtype=action.dtype)]
        check_shapes(self, observation, action)
        time = sinusoidal_embedding(t, TIME_SIZE)
        out = self.mlp(together(action.dtype, observation, action, time, *label))
        return out.reshape(self.action_shape)


class CriticMLP(eqx.Module):
    """A critic `Q(observation, action)`: an MLP with every hidden layer normalised.

    **Arguments:**

    - `observation_size`, `action_shape`, `hidden`, `compute_dtype`, `key`: as for `VelocityMLP`.
    - `noisy`: a critic `Q((observation, t), action)` of noisy actions, for
        `flowguide.NoiseConditionedCritic`.
    """

    mlp: MLP
    observation_size: int = eqx.field(static=True)
    action_shape: tuple[int, ...] = eqx.field(static=True)
    hidden: tuple[int, ...] = eqx.field(static=True)
    noisy: bool = eqx.field(static=True)

    def __init__(
        self,
        observation_size: int,
        action_shape: Sequence[int],
        hidden: Sequence[int] = (512, 512, 512, 512),
        *,
        noisy: bool = False,
        compute_dtype: str = "float32",
        key: PRNGKeyArray,
    ):
        self.observation_size = as_positive_int("observation_size", observation_size)
        self.action_shape = as_shape("action_shape", action_shape)
        self.hidden = as_shape("hidden", hidden)
        self.noisy = noisy
        size = jnp.empty(self.action_shape).size
        in_size = self.observation_size + size + (TIME_SIZE if noisy else 0)
        self.mlp = MLP(in_size, 1, self.hidden, compute_dtype=compute_dtype, key=key)

    @property
    def compute_dtype(self) -> str:
        return self.mlp.compute_dtype

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        time = []
        if self.noisy:
            if not isinstance(observation, tuple):
                raise ValueError(
                    "A noisy CriticMLP is asked about ((observation, t), action), and got the "
                    f"observation {described(observation)}: "
                    "flowguide.NoiseConditionedCritic adds t."
                )
            observation, t = observation
            time = [sinusoidal_embedding(t, TIME_SIZE)]
        check_shapes(self, observation, action)
        return self.mlp(together(action.dtype, observation, action, *time))[0]


class ValueMLP(eqx.Module):
    """A state value `V(observation)`: an MLP with every hidden layer normalised.

    **Arguments:**

    - `observation_size`: the size of the (flat) observation.
    - `hidden`: the hidden sizes.
    - `compute_dtype`: as for `MLP`.
    - `key`: for the initialisation.
    """

    mlp: MLP
    observation_size: int = eqx.field(static=True)
    hidden: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        observation_size: int,
        hidden: Sequence[int] = (512, 512, 512, 512),
        *,
        compute_dtype: str = "float32",
        key: PRNGKeyArray,
    ):
        self.observation_size = as_positive_int("observation_size", observation_size)
        self.hidden = as_shape("hidden", hidden)
        self.mlp = MLP(self.observation_size, 1, self.hidden, compute_dtype=compute_dtype, key=key)

    @property
    def compute_dtype(self) -> str:
        return self.mlp.compute_dtype

    def __call__(self, observation: Float[Array, " observation"]) -> Float[Array, ""]:
        check_shapes(self, observation)
        return self.mlp(observation)[0]


def together(dtype: Any, *inputs: Array) -> Float[Array, " size"]:
    """All inputs in one vector, in the precision of the action."""
    return jnp.concatenate([x.reshape(-1).astype(dtype) for x in inputs])


def check_shapes(network: Any, observation: Array, action: Array | None = None) -> None:
    """Refuses inputs of other shapes than the network was built for, naming both."""
    name = type(network).__name__
    if observation.shape != (network.observation_size,):
        raise ValueError(
            f"{name} was built for one observation of shape ({network.observation_size},), got "
            f"shape {observation.shape}. Batches go through jax.vmap or flowguide.sample."
        )
    if action is not None and action.shape != network.action_shape:
        raise ValueError(
            f"{name} was built for one action of shape {network.action_shape}, got shape "
            f"{action.shape}. Batches go through jax.vmap or flowguide.sample."
        )
