import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._checks import as_bounds, as_positive_int, as_shape
from .._cost import Cost
from .._critic import Critic
from .._dtypes import solve_dtype
from .._pytree import PyTree
from .._velocity import check_velocity, VelocityField, VelocityStep
from .base import AbstractPolicy, Acted, Prepared, Trace
from .flow import Flow
from .flow_cost import computed_again, FlowCost, networks_of, times_of
from .method import compiled, compiled_with_nans
from .trace import Recording, trace_of

MAX_STEPS = 4096


class GuidanceTerm(eqx.Module):
    """A guidance of the velocity and the critic that it asks.

    **Attributes:**

    - `critic`: None for a guidance that asks none.
    - `guidance`: a `flowguide.GradientGuidance` or another that adds to the velocity.
    """

    critic: Critic | None
    guidance: Any


class FlowPolicy(AbstractPolicy):
    r"""A policy that integrates a velocity field from noise at `t = 0` to an action at `t = 1`.

    $$\frac{\mathrm{d} a_t}{\mathrm{d} t} = v(t, a_t, o), \qquad a_0 \sim \mathcal N(0, I)$$

    solved by `diffrax.diffeqsolve` and clipped to the bounds. A guided flow policy is a flow
    policy with a longer `guidance`: there is one sampling loop, and this is it. Any field can be
    replaced, `dataclasses.replace(guided, num_steps=20)`, guided or not.

    **Arguments:**

    - `velocity`: a callable `velocity(t, action, observation)`, noise at 0; see `reverse_time`
        for fields that run the other way. One that asks n networks may say so, by an attribute
        `num_networks`, for `cost`.
    - `action_shape`: a tuple, such as `(5,)`, or `(horizon, action_size)` for chunks.
    - `solver`: any explicit `diffrax` solver.
    - `num_steps`: how many equal steps. With an adaptive controller, the first one tried is
        `1 / num_steps`.
    - `low`, `high`: bounds of the action, numbers or arrays that broadcast to the action.
    - `stepsize_controller`: a diffrax step size controller, such as
        `diffrax.PIDController(rtol=1e-3, atol=1e-5)`.
    - `adjoint`: how diffrax differentiates the solve (with respect to noise, observation or
        weights, and for `bptt` if that names none of its own). None for
        `diffrax.RecursiveCheckpointAdjoint` with a checkpoint for each step.
    - `max_steps`: the most steps that an adaptive controller may take; None for 4096, or for
        `num_steps` where steps are equal.
    - `encode`: a callable of the observation that is called once for an action, such as an image
        encoder or the prefix of a vision-language model. What it returns goes to `velocity` in
        place of the observation; critics are asked about the observation itself.
    - `observe`: a callable `observe(observation, encoded)`, called once for an action, of what
        critics are asked about in place of the observation, such as one with features of the
        encoder's in it. None for the observation.
    - `steer`: a callable of what critics are asked about, such as a `flowguide.nn.NoiseActor`. It
        returns a module that makes of Gaussian noise where the flow starts. None for the noise.
    - `guidance`: the terms that `flowguide.guide` adds to the velocity; the policy is `unguided`
        without them.

    **Raises:**

    `ValueError` for a shape, step count or bounds that make no sense, or fewer `max_steps` than
    equal steps. When called: for noise of another shape than `noise_shape`, or a velocity of
    another shape than the action.

    ??? cite "Reference"

        ```bibtex
        @inproceedings{lipman2023flow,
            title={Flow Matching for Generative Modeling},
            author={Lipman, Yaron and Chen, Ricky T. Q. and Ben-Hamu, Heli and
                    Nickel, Maximilian and Le, Matthew},
            booktitle={International Conference on Learning Representations},
            year={2023},
        }
        ```
    """

    velocity: VelocityField
    action_shape: tuple[int, ...] = eqx.field(static=True)
    solver: diffrax.AbstractSolver
    num_steps: int = eqx.field(static=True)
    # Static, never arrays: bounds are no parameters, and `eqx.filter(policy, eqx.is_inexact_array)`
    # must not hand them to an optimiser.
    low: Any = eqx.field(static=True)
    high: Any = eqx.field(static=True)
    stepsize_controller: diffrax.AbstractStepSizeController
    adjoint: diffrax.AbstractAdjoint | None
    max_steps: int | None = eqx.field(static=True)
    encode: Callable[[PyTree], PyTree] | None
    observe: Callable[[PyTree, PyTree], PyTree] | None
    steer: Callable[[PyTree], Any] | None
    guidance: tuple[GuidanceTerm, ...]

    def __init__(
        self,
        velocity: VelocityField,
        action_shape: Sequence[int],
        *,
        solver: diffrax.AbstractSolver = diffrax.Euler(),
        num_steps: int = 10,
        low: ArrayLike | Sequence[Any] = -1.0,
        high: ArrayLike | Sequence[Any] = 1.0,
        stepsize_controller: diffrax.AbstractStepSizeController = diffrax.ConstantStepSize(),
        adjoint: diffrax.AbstractAdjoint | None = None,
        max_steps: int | None = None,
        encode: Callable[[PyTree], PyTree] | None = None,
        observe: Callable[[PyTree, PyTree], PyTree] | None = None,
        steer: Callable[[PyTree], Any] | None = None,
        guidance: Sequence[GuidanceTerm] = (),
    ):
        if not callable(velocity):
            raise ValueError(
                f"velocity must be a callable velocity(t, action, observation), got {velocity!r}."
            )
        if encode is not None and not callable(encode):
            raise ValueError(f"encode must be a callable of the observation, got {encode!r}.")
        if observe is not None and not callable(observe):
            raise ValueError(
                f"observe must be a callable observe(observation, encoded), got {observe!r}."
            )
        if steer is not None and not callable(steer):
            raise ValueError(f"steer must be a callable of the observation, got {steer!r}.")
        self.velocity = velocity
        self.action_shape = as_shape("action_shape", action_shape)
        self.solver = solver
        self.num_steps = as_positive_int("num_steps", num_steps)
        self.low, self.high = as_bounds(low, high, self.action_shape)
        self.stepsize_controller = stepsize_controller
        self.adjoint = adjoint
        self.max_steps = None if max_steps is None else as_positive_int("max_steps", max_steps)
        if self.most_steps < self._least_steps:
            raise ValueError(
                f"max_steps is {max_steps}, fewer than the {self._least_steps} steps of the flow."
            )
        self.encode, self.observe, self.steer = encode, observe, steer
        self.guidance = tuple(guidance)

    @property
    def unguided(self) -> "FlowPolicy":
        """The policy without its guidance."""
        return dataclasses.replace(self, guidance=())

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return self.action_shape

    @property
    def term(self) -> diffrax.ODETerm:
        """The guided velocity field as a diffrax term, for a `diffeqsolve` of one's own."""
        return diffrax.ODETerm(self.vector_field)

    def vector_field(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> Float[Array, "*action"]:
        """The guided velocity, as diffrax's `vector_field(t, y, args)`.

        `observation` may be what `prepare` made of one, and should be where it is asked often.
        """
        return _vector_field(self, t, action, observation)

    @compiled_with_nans
    def step(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> VelocityStep:
        """The guided velocity with how it came about."""
        return self._flow(observation).step(t, action)

    def prepare(self, observation: PyTree) -> Prepared:
        if isinstance(observation, Prepared):
            # Also by a policy that was guided further: its first terms are these.
            if len(observation.weights) >= len(self.guidance):
                return observation
            prepared = dataclasses.replace(observation, weights=())
        else:
            encoded = observation if self.encode is None else self.encode(observation)
            if self.observe is not None:
                observation = self.observe(observation, encoded)
            steering = None if self.steer is None else self.steer(observation)
            prepared = Prepared(observation, encoded, (), steering)
        for depth, term in enumerate(self.guidance):
            weight = term.guidance.prepare(Flow(self, prepared, depth), term.critic)
            prepared = dataclasses.replace(prepared, weights=(*prepared.weights, weight))
        return prepared

    def clip(self, action: Float[Array, "*action"]) -> Float[Array, "*action"]:
        """The action, clipped to the bounds."""
        return jnp.clip(action, *(jnp.asarray(bound, action.dtype) for bound in self.bounds))

    def solve(
        self,
        action: Float[Array, "*action"],
        observation: PyTree,
        *,
        t0: float | Float[Array, ""] = 0.0,
        saveat: diffrax.SaveAt = diffrax.SaveAt(t1=True),
        adjoint: diffrax.AbstractAdjoint | None = None,
    ) -> diffrax.Solution:
        """Integrates from `action` at `t0` to `t = 1` on this policy's own steps, unclipped.

        **Arguments:**

        - `action`: shape `(*action)`; noise if `t0` is 0, as it is, without the policy's `steer`.
        - `observation`: a pytree.
        - `t0`: where to start, in [0, 1].
        - `saveat`: what to save, as in `diffrax.diffeqsolve`.
        - `adjoint`: overrides the policy's own.

        **Returns:**

        A `diffrax.Solution`.
        """
        return self._flow(observation).solve(action, t0=t0, saveat=saveat, adjoint=adjoint)

    def finish(
        self,
        action: Float[Array, "*action"],
        observation: PyTree,
        *,
        t0: float | Float[Array, ""] = 0.0,
        adjoint: diffrax.AbstractAdjoint | None = None,
    ) -> Float[Array, "*action"]:
        """The finished action that the flow reaches from `action` at `t0`; see `solve`."""
        start = action.astype(solve_dtype(action.dtype))
        finished = self._flow(observation).finish(start, t0=t0, adjoint=adjoint)
        return finished.astype(action.dtype)

    @compiled
    def from_noise(
        self, noise: Float[Array, "*action"], observation: PyTree
    ) -> Float[Array, "*action"]:
        noise, flow = self._start(noise, observation)
        return flow.finish(noise.astype(solve_dtype(noise.dtype))).astype(noise.dtype)

    @compiled_with_nans
    def act(self, noise: Float[Array, "*action"], observation: PyTree) -> Acted:
        noise, flow = self._start(noise, observation)
        action, dropped = flow.finish_counting(noise.astype(solve_dtype(noise.dtype)))
        return Acted(action.astype(noise.dtype), dropped)

    @compiled_with_nans
    def trace(self, noise: Float[Array, "*action"], observation: PyTree) -> Trace:
        noise, flow = self._start(noise, observation)
        saveat = diffrax.SaveAt(t0=True, steps=True, dense=True)
        recording = Recording(self.solver, lambda t, action, flow: flow.step(t, action))
        start = noise.astype(solve_dtype(noise.dtype))
        trace = trace_of(flow.solve(start, saveat=saveat, solver=recording), self.clip)
        return eqx.tree_at(lambda t: t.action, trace, trace.action.astype(noise.dtype))

    def costs(self) -> tuple[Cost, Cost] | None:
        if times_of(self.solver, self.stepsize_controller, self.num_steps, 0.0) is None:
            return None
        # Numbers of steps and times: known while a program is traced, too.
        with jax.ensure_compile_time_eval():
            once = [
                term.guidance.prepare_cost(self.flow_cost(depth))
                for depth, term in enumerate(self.guidance)
            ]
            steering = Cost(0 if self.steer is None else 1)
            return sum(once, steering), self.flow_cost().action

    def flow_cost(self, depth: int | None = None) -> FlowCost:
        """The cost of the flow up to the first `depth` terms of its guidance, by default all."""
        depth = len(self.guidance) if depth is None else depth
        below = self.flow_cost(depth - 1) if depth else None
        networks = networks_of(self.velocity)

        def velocity(t: float) -> Cost:
            if below is None:
                return Cost(networks)
            return self.guidance[depth - 1].guidance.step_cost(below, t)

        def times(t: float) -> list[float]:
            return times_of(self.solver, self.stepsize_controller, self.num_steps, t) or []

        size, again = int(np.prod(self.action_shape)), computed_again(self.solver)
        return FlowCost(size, velocity, times, again, depth, networks)

    @property
    def _least_steps(self) -> int:
        if isinstance(self.stepsize_controller, diffrax.ConstantStepSize):
            return self.num_steps
        if isinstance(self.stepsize_controller, diffrax.StepTo):
            return len(self.stepsize_controller.ts) - 1
        return 1

    @property
    def most_steps(self) -> int:
        """The most steps that a solve takes. Checkpoints and saved paths are allocated for them."""
        if self.max_steps is not None:
            return self.max_steps
        return self._least_steps if self._is_fixed else MAX_STEPS

    @property
    def _is_fixed(self) -> bool:
        return isinstance(self.stepsize_controller, (diffrax.ConstantStepSize, diffrax.StepTo))

    @property
    def _cannot_fail(self) -> bool:
        """Whether there is nothing that a solve would raise for: what checks it takes a tenth of
        the time to compile a flow."""
        return self._is_fixed and isinstance(self.solver, (diffrax.Euler, diffrax.AbstractERK))

    def _flow(self, observation: PyTree) -> Flow:
        return Flow(self, self.prepare(observation), len(self.guidance))

    def _start(self, noise: Array, observation: PyTree) -> tuple[Array, Flow]:
        """Where a flow starts, once it is clear that the noise fits, and that flow."""
        noise = jnp.asarray(noise)
        if noise.shape != self.noise_shape or not jnp.issubdtype(noise.dtype, jnp.floating):
            raise ValueError(
                f"noise has shape {noise.shape} and dtype {noise.dtype}, but this policy's "
                f"noise_shape is {self.noise_shape}, of floats. For a batch of noise use jax.vmap."
            )
        prepared = self.prepare(observation)
        like = jax.ShapeDtypeStruct(noise.shape, solve_dtype(noise.dtype))
        check_velocity(self.velocity, like, prepared.encoded)
        flow = Flow(self, prepared, len(self.guidance))
        return flow.start(noise), flow

    def __repr__(self) -> str:
        from .._describe import describe_policy

        return describe_policy(self)


@eqx.filter_jit
def _vector_field(policy: FlowPolicy, t: Any, action: Array, observation: PyTree) -> Array:
    return policy._flow(observation).velocity(t, action)
