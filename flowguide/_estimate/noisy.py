import equinox as eqx

from .._critic import NoiseConditionedCritic
from .base import AbstractEstimate


class NoisyAction(AbstractEstimate):
    """The noisy action itself, unclipped: most critics never saw such actions.

    **Arguments:**

    - `noise_conditioned`: insist on a critic that did, a `flowguide.NoiseConditionedCritic`.
    """

    noise_conditioned: bool = eqx.field(static=True, default=False)

    def cleanness(self, t):
        return t

    def check(self, critic):
        if self.noise_conditioned and not isinstance(critic, NoiseConditionedCritic):
            raise ValueError(
                "robust_q asks a critic about noisy actions: it needs a "
                "flowguide.NoiseConditionedCritic (flowguide train --critic robust), got a "
                f"{type(critic).__name__}. For a critic of clean actions use qgf."
            )

    def __call__(self, policy, t, action, observation):
        return action, policy.velocity(t, action, observation)
