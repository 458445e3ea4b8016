import abc
from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

VelocityField: TypeAlias = Callable[..., Array]
"""Any callable `velocity(t, action, observation) -> velocity`.

`t` is a scalar in [0, 1] (noise at 0, action at 1), `action` an array of any shape,
`observation` any pytree; the result has the action's shape. This is exactly diffrax's
`vector_field(t, y, args)`. Unbatched: callers use `jax.vmap`.
"""


class VelocityStep(eqx.Module):
    """What a velocity field did at one point of a path; what instruments read.

    **Attributes:**

    - `velocity`: the velocity that the solver follows, shape `(*action)`.
    - `guidance`: the part of it that guidance added, shape `(*action)`; zero without guidance.
    - `clean_action`: where the critic was differentiated, shape `(*action)`; NaN without guidance.
    - `value`: the critic's value there, shape `()`; NaN without guidance.
    - `is_finite`: False where a gradient was not finite and the velocity was left unguided.
    """

    velocity: Float[Array, "*action"]
    guidance: Float[Array, "*action"]
    clean_action: Float[Array, "*action"]
    value: Float[Array, ""]
    is_finite: Array


class AbstractGuidedVelocity(eqx.Module):
    """A velocity field that adds guidance to another one, and can tell what it added."""

    @property
    @abc.abstractmethod
    def base(self) -> VelocityField:
        """The field that guidance was added to."""

    @abc.abstractmethod
    def step(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> VelocityStep:
        """The guided velocity with how it came about; `guidance` is this field's own part."""


def velocity_step(
    velocity: VelocityField,
    t: Float[ArrayLike, ""],
    action: Float[Array, "*action"],
    observation: PyTree,
) -> VelocityStep:
    """Evaluates any velocity field, with all the guidance in it, however often it was guided."""
    if isinstance(velocity, AbstractGuidedVelocity):
        step = velocity.step(t, action, observation)
        below = velocity_step(velocity.base, t, action, observation)
        return VelocityStep(
            velocity=step.velocity,
            guidance=step.guidance + below.guidance,
            clean_action=step.clean_action,
            value=step.value,
            is_finite=step.is_finite & below.is_finite,
        )
    return unguided_step(velocity, t, action, observation)


def unguided_step(
    velocity: VelocityField,
    t: Float[ArrayLike, ""],
    action: Float[Array, "*action"],
    observation: PyTree,
) -> VelocityStep:
    """The velocity, to which nothing is added here."""
    return VelocityStep(
        velocity=velocity(t, action, observation),
        guidance=jnp.zeros_like(action),
        clean_action=jnp.full_like(action, jnp.nan),
        value=jnp.full((), jnp.nan, action.dtype),
        is_finite=jnp.array(True),
    )


class ReversedVelocity(eqx.Module):
    """A velocity field trained with noise at 1, seen with noise at 0. See `reverse_time`."""

    velocity: VelocityField

    def __call__(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> Float[Array, "*action"]:
        return -self.velocity(1 - t, action, observation)


def reverse_time(velocity: VelocityField) -> ReversedVelocity:
    """Adapts a velocity field that was trained with noise at `t = 1` and actions at `t = 0`.

    flowguide has noise at 0 and actions at 1, as the flow-matching literature does. SmolVLA and
    pi0 run the other way; their field `u` becomes `-u(1 - t, action, observation)`.

    **Arguments:**

    - `velocity`: a callable `velocity(t, action, observation)` with noise at `t = 1`.

    **Returns:**

    A velocity field with noise at `t = 0`.
    """
    return ReversedVelocity(velocity)


def check_velocity(
    velocity: VelocityField, action: Float[Array, "*action"], observation: PyTree
) -> None:
    """Refuses, before anything is compiled, a field that does not fit the action.

    **Raises:**

    `ValueError` if the velocity is not an array of the action's shape. Whatever the field itself
    raises goes through, with a note that says what it was called with.
    """
    t = jax.ShapeDtypeStruct((), action.dtype)
    try:
        out = eqx.filter_eval_shape(velocity, t, action, observation)
    except Exception as error:
        error.add_note(called_with("velocity", t=t, action=action, observation=observation))
        raise
    shape = getattr(out, "shape", None)
    if shape != action.shape:
        raise ValueError(
            f"velocity(t, action, observation) returned {shown(out)} for an action of shape "
            f"{action.shape}: a velocity has the shape of the action. "
            + called_with("velocity", t=t, action=action, observation=observation)
        )


def called_with(name: str, **arguments: PyTree) -> str:
    given = ", ".join(f"{key}={shown(value)}" for key, value in arguments.items())
    return (
        f"flowguide called {name}({given}). Policies act on ONE observation: for a batch use "
        "`flowguide.sample(policy, observations, key=key)` or `jax.vmap`."
    )


def shown(tree: PyTree) -> str:
    return eqx.tree_pformat(tree, short_arrays=True, struct_as_array=True, indent=1, width=10**6)
