"""What a critic is, and the only places where one is asked.

A critic is any callable. It may know more about itself, by two methods with defaults for plain
callables: `at(t)`, the critic that is asked about an action of cleanness `t` (default: itself), and
`members(observation, action) -> (K,)`, the values of those it is made of (default: its one value).
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._checks import called_with, described
from .._dtypes import in_own_dtype
from .._pytree import PyTree

Critic: TypeAlias = Callable[..., Array]
"""Any callable `critic(observation, action) -> scalar`, differentiable in `action`. Unbatched.

It may have a method `at(t)`, which returns the critic to ask about an action of cleanness `t` (1
for a clean one), and a method `members(observation, action)`, which returns the values, shape
`(K,)`, of the critics that it is made of."""


def value_of(critic: Critic, observation: PyTree, action: Float[Array, "*action"]) -> Array:
    """`critic(observation, action)`, refused with a clear error unless it is one number.

    The critic is asked in its parameters' own dtype; its value has the dtype of the action.
    """
    value = _asked(critic, critic, observation, action)
    if getattr(value, "shape", None) != ():
        raise ValueError(
            f"critic(observation, action) returned {described(value)}, but a critic returns one "
            "number, of shape (). Several critics go into flowguide.Ensemble. "
            + called_with("critic", observation=observation, action=action)
        )
    return value.astype(action.dtype)


def members_of(critic: Critic, observation: PyTree, action: Float[Array, "*action"]) -> Array:
    """The values of the critics that a critic is made of, shape `(K,)`; `(1,)` of a plain one."""
    members = getattr(critic, "members", None)
    if not callable(members):
        return value_of(critic, observation, action)[None]
    values: Any = _asked(critic, members, observation, action)
    if getattr(values, "ndim", None) != 1:
        raise ValueError(
            f"critic.members(observation, action) returned {described(values)}: expected the "
            "values of K members, of shape (K,)."
        )
    return values.astype(action.dtype)


def critic_at(critic: Critic, t: float | Float[ArrayLike, ""]) -> Critic:
    """The critic that is asked about an action of cleanness `t`."""
    at: Any = getattr(critic, "at", None)
    asked: Any = at(t) if callable(at) else critic
    return asked


def depends_on_time(critic: Critic) -> bool:
    """Whether it makes a difference to a critic how clean an action is."""
    early, late = (jax.tree.flatten(critic_at(critic, t)) for t in (0.25, 0.75))
    if early[1] != late[1]:
        return True
    return any(
        a is not b and (_is_array(a) or _is_array(b) or a != b)
        for a, b in zip(early[0], late[0], strict=True)
    )


def values_of(
    critic: Critic, actions: Float[Array, "n *action"], observation: PyTree
) -> Float[Array, " n"]:
    """The value of each action."""
    return jax.vmap(value_of, in_axes=(None, None, 0))(critic, observation, actions)


def ranked(values: Float[Array, " n"]) -> Float[Array, " n"]:
    """The values by which actions are chosen: NaN, the largest for argmax, is the lowest."""
    return jnp.where(jnp.isnan(values), -jnp.inf, values)


def share_unknown(values: Float[Array, " n"]) -> Float[Array, ""]:
    """The share of actions of which a critic says nothing."""
    return jnp.mean(jnp.where(jnp.isnan(values), 1.0, 0.0))


def _asked(critic: Critic, call: Callable[..., Any], observation: PyTree, action: Array) -> Any:
    try:
        return call(observation, in_own_dtype(critic, action))
    except Exception as error:
        error.add_note(called_with("critic", observation=observation, action=action))
        raise


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape")
