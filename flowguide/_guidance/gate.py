import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._critic import safe_std


class DisagreementGate(eqx.Module):
    r"""Trusts a critic ensemble less where its members disagree: `max(floor, exp(-scale * std))`.

    Guided Action Flow (arXiv 2607.02092) multiplies the guidance by this factor, where `std` is
    the standard deviation (divided by K) of the members' values at the clean action.

    **Arguments:**

    - `scale`: how fast trust falls with disagreement, per unit of value.
    - `floor`: the least factor, in [0, 1].
    """

    scale: float | Float[Array, ""]
    floor: float | Float[Array, ""] = 0.0

    def __call__(self, members: Float[Array, " K"]) -> Float[Array, ""]:
        return jnp.maximum(self.floor, jnp.exp(-self.scale * safe_std(members)))
