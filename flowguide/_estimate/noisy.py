import equinox as eqx

from .._cost import Cost
from .._critic import depends_on_time
from .base import AbstractEstimate


class NoisyAction(AbstractEstimate):
    """The noisy action itself, unclipped: most critics never saw such actions.

    **Arguments:**

    - `noise_conditioned`: insist on a critic that did, a `flowguide.NoiseConditionedCritic` or one
        made of those.
    """

    noise_conditioned: bool = eqx.field(static=True, default=False)

    def cleanness(self, t):
        return t

    def check(self, policy, critic):
        if self.noise_conditioned and not depends_on_time(critic):
            raise ValueError(
                "robust_q asks a critic about noisy actions: it needs a "
                "flowguide.NoiseConditionedCritic (flowguide train --critic robust), got a "
                f"{type(critic).__name__}. For a critic of clean actions use qgf."
            )

    def __call__(self, flow, t, action):
        return action, flow.step(t, action)

    def pullback_cost(self, flow, t):
        return Cost()
