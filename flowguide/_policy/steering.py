import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class SquashedGaussian(eqx.Module):
    r"""A distribution of noise inside a box: $z = c \tanh(\mu + \sigma \epsilon)$.

    **Arguments:**

    - `mean`, `log_std`: $\mu$ and $\log \sigma$, of the noise's shape.
    - `scale`: $c$, the largest size of an entry.
    """

    mean: Float[Array, "*noise"]
    log_std: Float[Array, "*noise"]
    scale: float = eqx.field(static=True, default=1.0)

    def __call__(self, noise: Float[Array, "*noise"]) -> Float[Array, "*noise"]:
        """What standard Gaussian noise becomes, in its precision."""
        mean, std = (x.astype(noise.dtype) for x in (self.mean, jnp.exp(self.log_std)))
        return self.scale * jnp.tanh(mean + std * noise)

    def log_density(self, noise: Float[Array, "*noise"]) -> Float[Array, ""]:
        r"""The log density of $z / c$ where standard Gaussian noise has put it.

        $$\sum_i -\tfrac12 \epsilon_i^2 - \tfrac12 \log 2\pi - \log \sigma_i -
          \log\!\big(1 - \tanh^2 u_i\big), \qquad u = \mu + \sigma \epsilon$$

        Of $z / c$ and not of $z$, so that an entropy does not depend on the scale.
        """
        squashed = self.mean + jnp.exp(self.log_std) * noise
        # log(1 - tanh(u)^2) in a form that is finite wherever u is.
        slope = 2 * (math.log(2) - squashed - jax.nn.softplus(-2 * squashed))
        density = -0.5 * noise**2 - 0.5 * math.log(2 * math.pi) - self.log_std
        return jnp.sum(density - slope)
