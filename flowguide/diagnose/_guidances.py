from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jaxtyping import PyTree

from .._catalogue import method_named
from .._guide import guide
from .._policy import FlowPolicy


def named_guidances(guidances: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """Guidances by name; a name alone stands for the method, with weight 1 if it has one.

    **Raises:**

    `ValueError` for an unknown name, or none at all.
    """
    if isinstance(guidances, Mapping):
        named = dict(guidances)
    else:
        methods = [method_named(name) for name in guidances]
        named = {m.name: m.make(**{"weight": 1.0} if m.has_weight else {}) for m in methods}
    if not named:
        raise ValueError("Expected at least one guidance, got none.")
    return named


def guided_flow(policy: Any, critic: Any, guidance: Any, name: str) -> FlowPolicy:
    """The guided flow policy, which knows at each step what guidance added."""
    guided = guide(policy, critic, guidance)
    if not isinstance(guided, FlowPolicy) or len(guided.guidance) == len(policy.guidance):
        raise ValueError(f"{name!r} adds no gradient to a velocity, so there is none to look at.")
    return guided


def count_of(observations: PyTree) -> int:
    """How many observations there are."""
    return len(jax.tree.leaves(observations)[0])
