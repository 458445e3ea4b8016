import diffrax
import jax.numpy as jnp

from .base import AbstractEstimate, pulled_back


class RolloutEstimate(AbstractEstimate):
    """The flow solved from `t` to 1 on the policy's own remaining steps, clipped.

    **Arguments:**

    - `adjoint`: how diffrax differentiates that solve; `None` for the policy's own adjoint.
    """

    adjoint: diffrax.AbstractAdjoint | None = None

    @property
    def twice(self):
        return RolloutEstimate(diffrax.DirectAdjoint()) if self.adjoint is None else None

    def check(self, policy, critic):
        refuse_step_to(policy)

    def __call__(self, flow, t, action):
        step = flow.step(t, action)
        return flow.finish(action, t0=jnp.asarray(t), adjoint=self.adjoint), step

    def cost(self, flow, t):
        return flow.velocity(t) + flow.rest(t)

    def pullback_cost(self, flow, t):
        # diffrax.RecursiveCheckpointAdjoint, the default, computes the flow again on the way back.
        return flow.again * flow.rest(t) + pulled_back(flow.rest(t))


def refuse_step_to(policy):
    """Refuses a policy whose flow cannot be solved from its middle."""
    if isinstance(policy.stepsize_controller, diffrax.StepTo):
        raise ValueError(
            "ode, bptt and beam solve a flow from its middle, and diffrax.StepTo only steps from "
            "its first time to its last: use equal steps (diffrax.ConstantStepSize) or a PID "
            "controller, or a method that looks one step ahead, such as qgf."
        )
