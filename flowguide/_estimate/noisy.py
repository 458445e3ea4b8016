import equinox as eqx

from .._cost import Cost
from .._critic import depends_on_time, holds_costate
from .base import AbstractEstimate


class NoisyAction(AbstractEstimate):
    """The noisy action itself, unclipped: most critics never saw such actions.

    **Arguments:**

    - `noise_conditioned`: insist on a critic that did, a `flowguide.NoiseConditionedCritic` or one
        made of those.
    - `costate`: insist on a network of its gradients, a `flowguide.Costate`.
    """

    noise_conditioned: bool = eqx.field(static=True, default=False)
    costate: bool = eqx.field(static=True, default=False)

    def cleanness(self, t):
        return t

    def check(self, policy, critic):
        if self.noise_conditioned and not depends_on_time(critic):
            raise ValueError(
                "robust_q asks a critic about noisy actions: it needs a "
                "flowguide.NoiseConditionedCritic (flowguide train --critic robust), got a "
                f"{type(critic).__name__}. For a critic of clean actions use qgf."
            )
        if self.costate and not holds_costate(critic):
            raise ValueError(
                "agf asks a network of costates: it needs a flowguide.Costate (flowguide train "
                f"--critic agf), got a {type(critic).__name__}. bptt computes what it has "
                "learnt, from a critic."
            )

    def __call__(self, flow, t, action):
        return action, flow.step(t, action)

    @property
    def gradient_cost(self):
        # A pass forth of one network.
        return Cost(velocities=1) if self.costate else super().gradient_cost

    def pullback_cost(self, flow, t):
        return Cost()
