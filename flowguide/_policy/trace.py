"""Keeps what a flow computed at each step, so that tracing asks the field no more than sampling."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._velocity import VelocityStep
from .base import Trace


class Recording(diffrax.AbstractWrappedSolver):
    """A solver that keeps, with each of its steps, what the flow did where the step starts.

    That is the first stage of most solvers, which is not computed again. Solvers that take their
    first stage from the step before (`Tsit5`, `Dopri5`) ask the field once more a step.

    **Arguments:**

    - `solver`: the solver of the policy.
    - `step_at`: a callable from `(t, action, args)` to a `VelocityStep`.
    """

    solver: diffrax.AbstractSolver  # pyright: ignore[reportIncompatibleVariableOverride]
    step_at: Callable[[Any, Any, Any], VelocityStep]

    @property
    def term_structure(self):  # pyright: ignore
        return self.solver.term_structure

    @property
    def interpolation_cls(self):  # pyright: ignore
        return _Kept

    def order(self, terms):
        return self.solver.order(terms)

    def error_order(self, terms):
        return self.solver.error_order(terms)

    def init(self, terms, t0, t1, y0, args):
        return self.solver.init(terms, t0, t1, y0, args)

    def func(self, terms, t0, y0, args):
        return self.solver.func(terms, t0, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        record = self.step_at(t0, y0, args)
        if isinstance(self.solver, diffrax.Euler):
            # Its one stage.
            known = diffrax.ODETerm(lambda t, y, args: record.velocity)
        else:
            known = diffrax.ODETerm(
                lambda t, y, args: jax.lax.cond(
                    t == t0, lambda: record.velocity, lambda: terms.vf(t, y, args)
                )
            )
        y1, error, _, state, result = self.solver.step(
            known, t0, t1, y0, args, solver_state, made_jump
        )
        return y1, error, {"record": record}, state, result


class _Kept(eqx.Module):
    """In place of an interpolation, which nobody asks for."""

    t0: Any
    t1: Any
    record: Any


def trace_of(path: diffrax.Solution, clip: Callable[[Array], Array]) -> Trace:
    """The trace of a solution by a `Recording` solver, saved with `t0`, `steps` and `dense`."""
    solution: Any = path
    is_used = jnp.isfinite(solution.ts)
    actions = jnp.where(_expand(is_used, solution.ys), solution.ys, 0)
    num_points = jnp.sum(is_used)
    starts_step = jnp.arange(len(solution.ts)) < num_points - 1
    record: VelocityStep = solution.interpolation.infos["record"]

    def along(x: Array) -> Array:
        # One step fewer than points.
        x = jnp.concatenate([x, x[-1:]])
        return jnp.where(_expand(starts_step, x), x, jnp.nan)

    return Trace(
        action=clip(actions[num_points - 1]),
        times=jnp.where(is_used, solution.ts, jnp.nan).astype(actions.dtype),
        actions=jnp.where(_expand(is_used, actions), actions, jnp.nan),
        velocities=along(record.velocity),
        guidance=along(record.guidance),
        clean_actions=along(record.clean_action),
        values=along(record.value),
        num_nonfinite=jnp.sum(starts_step[:-1] & ~record.is_finite),
    )


def _expand(mask: Array, like: Array) -> Array:
    return mask.reshape(mask.shape + (1,) * (like.ndim - mask.ndim))
