import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from .._pytree import PyTree
from .base import VelocityField


class ReversedVelocity(eqx.Module):
    """A velocity field trained with noise at 1, seen with noise at 0. See `reverse_time`."""

    velocity: VelocityField

    def __call__(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> Float[Array, "*action"]:
        return -self.velocity(1 - t, action, observation)


def reverse_time(velocity: VelocityField) -> ReversedVelocity:
    """Adapts a velocity field that was trained with noise at `t = 1` and actions at `t = 0`.

    flowguide has noise at 0 and actions at 1, as the flow-matching literature does. SmolVLA and
    pi0 run the other way; their field `u` becomes `-u(1 - t, action, observation)`.

    **Arguments:**

    - `velocity`: a callable `velocity(t, action, observation)` with noise at `t = 1`.

    **Returns:**

    A velocity field with noise at `t = 0`.
    """
    return ReversedVelocity(velocity)
