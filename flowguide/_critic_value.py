from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Array, Float, PyTree

from ._velocity import called_with, shown

Critic: TypeAlias = Callable[..., Array]
"""Any callable `critic(observation, action) -> scalar`, differentiable in `action`. Unbatched."""


def evaluate(critic: Critic, observation: PyTree, action: Float[Array, "*action"]) -> Array:
    """`critic(observation, action)`, refused with a clear error unless it is one number."""
    try:
        value = critic(observation, action)
    except Exception as error:
        error.add_note(called_with("critic", observation=observation, action=action))
        raise
    if getattr(value, "shape", None) != ():
        raise ValueError(
            f"critic(observation, action) returned {shown(value)}, but a critic returns one "
            "number, of shape (). Several critics go into flowguide.Ensemble. "
            + called_with("critic", observation=observation, action=action)
        )
    return value
