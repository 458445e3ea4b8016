from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._checks import called_with, described
from .._dtypes import own_dtype, solve_dtype
from .._pytree import PyTree

VelocityField: TypeAlias = Callable[..., Array]
"""Any callable `velocity(t, action, observation) -> velocity`.

`t` is a scalar in [0, 1] (noise at 0, action at 1), `action` an array of any shape,
`observation` any pytree; the result has the action's shape. This is exactly diffrax's
`vector_field(t, y, args)`. Unbatched: callers use `jax.vmap`.
"""


class VelocityStep(eqx.Module):
    """What a flow did at one point of a path; what instruments read.

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


def unguided_step(velocity: Float[Array, "*action"]) -> VelocityStep:
    """The step of a velocity to which nothing is added."""
    with jax.debug_nans(False):
        clean_action = jnp.full_like(velocity, jnp.nan)
        value = jnp.full((), jnp.nan, velocity.dtype)
    return VelocityStep(velocity, jnp.zeros_like(velocity), clean_action, value, jnp.array(True))


def ask_velocity(
    velocity: VelocityField,
    t: Float[ArrayLike, ""],
    action: Float[Array, "*action"],
    observation: PyTree,
) -> Float[Array, "*action"]:
    """`velocity(t, action, observation)` in the field's own dtype, returned in the action's."""
    dtype = own_dtype(velocity, action.dtype)
    # Time keeps float32 for a field in bfloat16, which has 128 numbers from 0.5 to 1.
    time = jnp.asarray(t).astype(solve_dtype(dtype))
    return velocity(time, action.astype(dtype), observation).astype(action.dtype)


def check_velocity(
    velocity: VelocityField, action: jax.ShapeDtypeStruct, observation: PyTree
) -> None:
    """Refuses, before anything is compiled, a field that does not fit an action of this shape.

    It is asked with the dtypes that sampling asks with.

    **Raises:**

    `ValueError` if the velocity is not an array of the action's shape. Whatever the field itself
    raises goes through, with a note that says what it was called with.
    """
    dtype = own_dtype(velocity, action.dtype)
    t = jax.ShapeDtypeStruct((), solve_dtype(dtype))
    asked = jax.ShapeDtypeStruct(action.shape, dtype)
    try:
        out = eqx.filter_eval_shape(velocity, t, asked, observation)
    except Exception as error:
        error.add_note(called_with("velocity", t=t, action=asked, observation=observation))
        raise
    shape = getattr(out, "shape", None)
    if shape != action.shape:
        raise ValueError(
            f"velocity(t, action, observation) returned {described(out)} for an action of shape "
            f"{action.shape}: a velocity has the shape of the action. "
            + called_with("velocity", t=t, action=asked, observation=observation)
        )
