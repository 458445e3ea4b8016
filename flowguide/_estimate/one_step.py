import jax.numpy as jnp

from .base import AbstractEstimate


class OneStepEstimate(AbstractEstimate):
    """One Euler step from `t` to 1, clipped: `clip(a + (1 - t) v(t, a, o))`."""

    def __call__(self, flow, t, action):
        step = flow.step(t, action)
        return flow.clip(action + (1 - jnp.asarray(t)).astype(action.dtype) * step.velocity), step
