from collections.abc import Callable
from typing import Any, TYPE_CHECKING

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._pytree import PyTree
from .._velocity import ask_velocity, unguided_step, VelocityStep
from .base import AbstractPolicy, Prepared, raw_observation

if TYPE_CHECKING:
    from .flow_policy import FlowPolicy
else:
    # It makes flows: at run time the two would import each other.
    FlowPolicy = AbstractPolicy

MAX_CHECKPOINTS = 64


class Flow(eqx.Module):
    """The flow of a policy at one observation, up to some of its guidance terms.

    It is what an estimate and a weight are given: the flow below their own guidance.

    **Attributes:**

    - `policy`: the flow policy.
    - `prepared`: the observation, encoded, with weights.
    - `depth`: how many terms of the policy's guidance it has.
    """

    policy: FlowPolicy
    prepared: Prepared
    depth: int = eqx.field(static=True)

    @property
    def observation(self) -> PyTree:
        """As critics are asked about it."""
        return raw_observation(self.prepared)

    @property
    def encoded(self) -> PyTree:
        """As velocity fields are asked about it."""
        return self.prepared.encoded

    @property
    def action_shape(self) -> tuple[int, ...]:
        return self.policy.action_shape

    def step(self, t: Float[ArrayLike, ""], action: Float[Array, "*action"]) -> VelocityStep:
        """The velocity at a point, with how it came about."""
        if not self.depth:
            return unguided_step(ask_velocity(self.policy.velocity, t, action, self.encoded))
        term = self.policy.guidance[self.depth - 1]
        below = Flow(self.policy, self.prepared, self.depth - 1)
        weight = self.prepared.weights[self.depth - 1]
        return term.guidance.step(below, term.critic, weight, t, action)

    def velocity(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"]
    ) -> Float[Array, "*action"]:
        """The velocity at a point."""
        return self.step(t, action).velocity

    def clip(self, action: Float[Array, "*action"]) -> Float[Array, "*action"]:
        """The action, clipped to the policy's bounds."""
        return self.policy.clip(action)

    def start(self, noise: Float[Array, "*action"]) -> Float[Array, "*action"]:
        """Where the flow starts: at the noise itself, unless the policy has a `steer`."""
        steering = self.prepared.steering
        return noise if steering is None else steering(noise)

    def finish(
        self,
        action: Float[Array, "*action"],
        *,
        t0: float | Float[Array, ""] = 0.0,
        adjoint: diffrax.AbstractAdjoint | None = None,
    ) -> Float[Array, "*action"]:
        """The finished action that the flow reaches from `action` at `t0`, clipped."""
        ends: Any = self.solve(action, t0=t0, adjoint=adjoint).ys
        return self.clip(ends[-1])

    def finish_counting(
        self, noise: Float[Array, "*action"]
    ) -> tuple[Float[Array, "*action"], Float[Array, ""]]:
        """The finished action, and the share of the steps that were left unguided."""
        policy = self.policy
        if not self.depth:
            return self.finish(noise), jnp.zeros(())
        if not isinstance(policy.stepsize_controller, (diffrax.ConstantStepSize, diffrax.StepTo)):
            # A second state would count for the size of steps.
            return self.finish(noise), jnp.array(jnp.nan)

        def field(t, state, flow):
            step = flow.step(t, state[0])
            return step.velocity, jnp.where(step.is_finite, 0.0, 1.0)

        ends: Any = self.solve((noise, jnp.zeros(())), field=field).ys
        return self.clip(ends[0][-1]), ends[1][-1]

    def solve(
        self,
        action: Any,
        *,
        t0: float | Float[Array, ""] = 0.0,
        saveat: diffrax.SaveAt = diffrax.SaveAt(t1=True),
        adjoint: diffrax.AbstractAdjoint | None = None,
        solver: diffrax.AbstractSolver | None = None,
        field: Callable[[Any, Any, Any], Any] | None = None,
    ) -> diffrax.Solution:
        """Integrates from `action` at `t0` to 1, unclipped; see `FlowPolicy.solve`."""
        policy = self.policy
        is_located = isinstance(policy.stepsize_controller, diffrax.StepTo)
        return diffrax.diffeqsolve(
            diffrax.ODETerm(_velocity if field is None else field),
            policy.solver if solver is None else solver,
            t0=t0,
            t1=1.0,
            dt0=None if is_located else 1 / policy.num_steps,
            y0=action,
            args=self,
            saveat=saveat,
            stepsize_controller=policy.stepsize_controller,
            adjoint=adjoint or policy.adjoint or _default_adjoint(policy.most_steps),
            max_steps=policy.most_steps,
            throw=not policy._cannot_fail,
        )


def _velocity(t: Array, action: Array, flow: Flow) -> Array:
    return flow.velocity(t, action)


def _default_adjoint(most_steps: int) -> diffrax.AbstractAdjoint:
    # So few steps fit in memory: keeping them all spares `bptt` a fifth of its time.
    return diffrax.RecursiveCheckpointAdjoint(min(most_steps, MAX_CHECKPOINTS))
