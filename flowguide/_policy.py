import abc
from collections.abc import Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, PyTree

from ._checks import as_bounds, as_positive_int, as_shape
from ._velocity import check_velocity, velocity_step, VelocityField

MAX_CHECKPOINTS = 64


class Trace(eqx.Module):
    """The path of one action from noise, as `policy.trace(noise, observation)` returns it.

    The first axis runs over the solver's accepted points, `t = 0` first and `t = 1` last; an
    adaptive solver leaves unused points at the end, filled with NaN.

    **Attributes:**

    - `action`: the finished action, shape `(*action)`: what `from_noise` returns.
    - `times`: shape `(T,)`.
    - `actions`: the noisy actions, shape `(T, *action)`.
    - `velocities`: guided velocities there, shape `(T, *action)`.
    - `guidance`: the part of them that guidance added, shape `(T, *action)`.
    - `clean_actions`: where the critic was differentiated, shape `(T, *action)`; NaN if unguided.
    - `values`: the critic's values there, shape `(T,)`; NaN if unguided.
    - `num_nonfinite`: the number of steps left unguided because a gradient was not finite.
    """

    action: Float[Array, "*action"]
    times: Float[Array, " T"]
    actions: Float[Array, "T *action"]
    velocities: Float[Array, "T *action"]
    guidance: Float[Array, "T *action"]
    clean_actions: Float[Array, "T *action"]
    values: Float[Array, " T"]
    num_nonfinite: Int[Array, ""]


class AbstractPolicy(eqx.Module):
    """A deterministic map from Gaussian noise to an action.

    `policy(observation, key=key)` equals
    `policy.from_noise(jax.random.normal(key, policy.noise_shape), observation)`, so that two
    policies can be compared on the same noise. Unbatched: use `flowguide.sample` or `jax.vmap`.
    """

    @property
    @abc.abstractmethod
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest action, each of shape `()` or of the action's."""

    @property
    @abc.abstractmethod
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of the noise that `from_noise` takes."""

    @abc.abstractmethod
    def from_noise(
        self, noise: Float[Array, "*noise"], observation: PyTree
    ) -> Float[Array, "*action"]:
        """The action that this noise becomes."""

    @abc.abstractmethod
    def trace(self, noise: Float[Array, "*noise"], observation: PyTree) -> Trace:
        """The path from this noise to its action."""

    def __call__(self, observation: PyTree, *, key: PRNGKeyArray) -> Float[Array, "*action"]:
        return self.from_noise(jr.normal(key, self.noise_shape), observation)


class FlowPolicy(AbstractPolicy):
    r"""A policy that integrates a velocity field from noise at `t = 0` to an action at `t = 1`.

    $$\frac{\mathrm{d} a_t}{\mathrm{d} t} = v(t, a_t, o), \qquad a_0 \sim \mathcal N(0, I)$$

    solved by `diffrax.diffeqsolve` and clipped to the bounds. A guided flow policy is a flow
    policy whose velocity field is guided: there is one sampling loop, and this is it.

    **Arguments:**

    - `velocity`: a callable `velocity(t, action, observation)`, noise at 0; see `reverse_time`
        for fields that run the other way.
    - `action_shape`: a tuple, such as `(5,)`, or `(horizon, action_size)` for chunks.
    - `solver`: any explicit `diffrax` solver.
    - `num_steps`: how many equal steps. With an adaptive controller, the first one tried is
        `1 / num_steps`.
    - `low`, `high`: bounds of the action, numbers or arrays that broadcast to the action.
    - `stepsize_controller`: a diffrax step size controller, such as
        `diffrax.PIDController(rtol=1e-3, atol=1e-5)`.
    - `adjoint`: how diffrax differentiates the solve (with respect to noise, observation or
        weights, and for `bptt` if that names none of its own). By default
        `diffrax.RecursiveCheckpointAdjoint` with a checkpoint for each step.
    - `max_steps`: the most steps that an adaptive controller may take.

    **Raises:**

    `ValueError` for a shape, step count or bounds that make no sense. When called: for noise of
    another shape than `noise_shape`, or a velocity of another shape than the action.

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
    adjoint: diffrax.AbstractAdjoint
    max_steps: int = eqx.field(static=True)

    def __init__(
        self,
        velocity: VelocityField,
        action_shape: Sequence[int],
        *,
        solver: diffrax.AbstractSolver = diffrax.Euler(),
        num_steps: int = 10,
        low: float | ArrayLike = -1.0,
        high: float | ArrayLike = 1.0,
        stepsize_controller: diffrax.AbstractStepSizeController = diffrax.ConstantStepSize(),
        adjoint: diffrax.AbstractAdjoint | None = None,
        max_steps: int = 4096,
    ):
        if not callable(velocity):
            raise ValueError(
                f"velocity must be a callable velocity(t, action, observation), got {velocity!r}."
            )
        self.velocity = velocity
        self.action_shape = as_shape("action_shape", action_shape)
        self.solver = solver
        self.num_steps = as_positive_int("num_steps", num_steps)
        self.low, self.high = as_bounds(low, high, self.action_shape)
        self.stepsize_controller = stepsize_controller
        self.max_steps = as_positive_int("max_steps", max_steps)
        if isinstance(stepsize_controller, diffrax.ConstantStepSize):
            # A tight bound: checkpoints and saved paths are allocated for this many steps.
            self.max_steps = self.num_steps
        if adjoint is None:
            # So few steps fit in memory: keeping them all spares `bptt` a fifth of its time.
            checkpoints = min(self.max_steps, MAX_CHECKPOINTS)
            adjoint = diffrax.RecursiveCheckpointAdjoint(checkpoints)
        self.adjoint = adjoint

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return self.action_shape

    @property
    def term(self) -> diffrax.ODETerm:
        """The velocity field as a diffrax term, for a `diffeqsolve` of one's own."""
        return diffrax.ODETerm(self.velocity)

    def clip(self, action: Float[Array, "*action"]) -> Float[Array, "*action"]:
        """The action, clipped to the bounds."""
        return jnp.clip(action, *self.bounds)

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

        - `action`: shape `(*action)`; noise if `t0` is 0.
        - `observation`: a pytree.
        - `t0`: where to start, in [0, 1].
        - `saveat`: what to save, as in `diffrax.diffeqsolve`.
        - `adjoint`: overrides the policy's own.

        **Returns:**

        A `diffrax.Solution`.
        """
        is_located = isinstance(self.stepsize_controller, diffrax.StepTo)
        return diffrax.diffeqsolve(
            self.term,
            self.solver,
            t0=t0,
            t1=1.0,
            dt0=None if is_located else 1 / self.num_steps,
            y0=action,
            args=observation,
            saveat=saveat,
            stepsize_controller=self.stepsize_controller,
            adjoint=self.adjoint if adjoint is None else adjoint,
            max_steps=self.max_steps,
        )

    def finish(
        self,
        action: Float[Array, "*action"],
        observation: PyTree,
        *,
        t0: float | Float[Array, ""] = 0.0,
        adjoint: diffrax.AbstractAdjoint | None = None,
    ) -> Float[Array, "*action"]:
        """The finished action that the flow reaches from `action` at `t0`; see `solve`."""
        ends: Any = self.solve(action, observation, t0=t0, adjoint=adjoint).ys
        return self.clip(ends[-1])

    # Compiled even when called alone: traced anew at each call, ten steps take a second.
    @eqx.filter_jit
    def from_noise(
        self, noise: Float[Array, "*action"], observation: PyTree
    ) -> Float[Array, "*action"]:
        noise = self._checked(noise, observation)
        return self.finish(noise, observation)

    @eqx.filter_jit
    def trace(self, noise: Float[Array, "*action"], observation: PyTree) -> Trace:
        noise = self._checked(noise, observation)
        path: Any = self.solve(noise, observation, saveat=diffrax.SaveAt(t0=True, steps=True))
        is_used = jnp.isfinite(path.ts)
        ts = jnp.where(is_used, path.ts, 0)
        ys = jnp.where(_expand(is_used, path.ys), path.ys, 0)
        steps = jax.vmap(lambda t, a: velocity_step(self.velocity, t, a, observation))(ts, ys)
        num_points = jnp.sum(is_used)
        # The last point is where the path ends: no step starts there.
        starts_step = jnp.arange(len(ts)) < num_points - 1

        def mask(x):
            return jnp.where(_expand(is_used, x), x, jnp.nan)

        return Trace(
            action=self.clip(ys[num_points - 1]),
            times=mask(ts),
            actions=mask(ys),
            velocities=mask(steps.velocity),
            guidance=mask(steps.guidance),
            clean_actions=mask(steps.clean_action),
            values=mask(steps.value),
            num_nonfinite=jnp.sum(starts_step & ~steps.is_finite),
        )

    def _checked(self, noise: Array, observation: PyTree) -> Array:
        noise = jnp.asarray(noise)
        if noise.shape != self.noise_shape:
            raise ValueError(
                f"noise has shape {noise.shape}, but this policy's noise_shape is "
                f"{self.noise_shape}. For a batch of noise use jax.vmap."
            )
        check_velocity(self.velocity, noise, observation)
        return noise


def sample(policy: AbstractPolicy, observations: PyTree, *, key: PRNGKeyArray) -> Array:
    """One action for each observation of a batch; compiled once, for any weights and any values.

    **Arguments:**

    - `policy`: any policy, guided or not.
    - `observations`: a pytree whose arrays share a leading batch axis.
    - `key`: a JAX random key. Row `i` is `policy(observation_i, key=jax.random.split(key, n)[i])`.

    **Returns:**

    Actions of shape `(batch, *action)`.

    **Raises:**

    `ValueError` if the observations have no common leading axis.
    """
    return _sample(policy, observations, key, _batch_size(observations))


@eqx.filter_jit
def _sample(policy: Any, observations: PyTree, key: PRNGKeyArray, batch_size: int) -> Array:
    keys = jr.split(key, batch_size)
    return jax.vmap(lambda o, k: policy(o, key=k))(observations, keys)


def _batch_size(observations: PyTree) -> int:
    shapes = {np.shape(leaf) for leaf in jax.tree.leaves(observations)}
    sizes = {shape[:1] for shape in shapes}
    if len(sizes) != 1 or sizes == {()}:
        raise ValueError(
            "flowguide.sample takes a batch: every array of `observations` needs the same leading "
            f"axis, got shapes {sorted(shapes)}. For one observation call policy(o, key=key)."
        )
    ((size,),) = sizes
    return size


def _expand(mask: Array, like: Array) -> Array:
    return mask.reshape(mask.shape + (1,) * (like.ndim - mask.ndim))
