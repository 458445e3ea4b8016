import equinox as eqx
import jax
import jax.numpy as jnp

from .base import AbstractEstimate


class OneStepEstimate(AbstractEstimate):
    """One Euler step from `t` to 1, clipped: `clip(a + (1 - t) v(t, a, o))`.

    **Arguments:**

    - `straight_through`: carry gradients through the bounds as if they were not there. An entry
        that the bounds stop has no derivative, so where the Jacobian is kept it is not guided back
        inside; this way it is. Values are the same.
    """

    straight_through: bool = eqx.field(static=True, default=False)

    def __call__(self, flow, t, action):
        step = flow.step(t, action)
        ahead = action + (1 - jnp.asarray(t)).astype(action.dtype) * step.velocity
        clipped = flow.clip(ahead)
        if self.straight_through:
            clipped = jax.lax.stop_gradient(clipped) + (ahead - jax.lax.stop_gradient(ahead))
        return clipped, step
