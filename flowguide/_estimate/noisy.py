from .base import AbstractEstimate


class NoisyAction(AbstractEstimate):
    """The noisy action itself, unclipped: the critic is asked about actions it never saw."""

    def __call__(self, policy, t, action, observation):
        return action, policy.velocity(t, action, observation)
