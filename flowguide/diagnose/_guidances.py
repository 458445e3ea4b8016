from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jaxtyping import PyTree

from .._guide import guide, METHODS
from .._velocity import AbstractGuidedVelocity


def named_guidances(guidances: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """Guidances by name; a name alone stands for the method with its defaults.

    **Raises:**

    `ValueError` for an unknown name, or none at all.
    """
    if isinstance(guidances, Mapping):
        found = dict(guidances)
    else:
        unknown = sorted(set(guidances) - set(METHODS))
        if unknown:
            raise ValueError(f"Unknown methods {unknown}: expected some of {sorted(METHODS)}.")
        found = {name: METHODS[name]() for name in guidances}
    if not found:
        raise ValueError("Expected at least one guidance, got none.")
    return found


def guided_field(policy: Any, critic: Any, guidance: Any, name: str) -> AbstractGuidedVelocity:
    """The velocity field of the guided policy, which can tell what guidance added."""
    field = getattr(guide(policy, critic, guidance), "velocity", None)
    if not isinstance(field, AbstractGuidedVelocity):
        raise ValueError(f"{name!r} adds no gradient to a velocity, so there is none to look at.")
    return field


def count_of(observations: PyTree) -> int:
    """How many observations there are."""
    return len(jax.tree.leaves(observations)[0])
