import diffrax
import jax.numpy as jnp

from .base import AbstractEstimate


class RolloutEstimate(AbstractEstimate):
    """The flow solved from `t` to 1 on the policy's own remaining steps, clipped.

    **Arguments:**

    - `adjoint`: how diffrax differentiates that solve; `None` for the policy's own adjoint.
    """

    adjoint: diffrax.AbstractAdjoint | None = None

    @property
    def twice(self):
        return RolloutEstimate(diffrax.DirectAdjoint()) if self.adjoint is None else None

    def __call__(self, policy, t, action, observation):
        velocity = policy.velocity(t, action, observation)
        return policy.finish(action, observation, t0=jnp.asarray(t), adjoint=self.adjoint), velocity
