from .base import AbstractEstimate


class OneStepEstimate(AbstractEstimate):
    """One Euler step from `t` to 1, clipped: `clip(a + (1 - t) v(t, a, o))`."""

    def __call__(self, policy, t, action, observation):
        velocity = policy.velocity(t, action, observation)
        return policy.clip(action + (1 - t) * velocity), velocity
