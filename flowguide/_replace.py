"""Another weight or another critic for a policy that is guided already."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from ._critic import Critic
from ._policy import AbstractPolicy, AbstractWrapper, FlowPolicy, GuidanceTerm
from ._weight import WeightLike

P = TypeVar("P", bound=AbstractPolicy)


def with_weight(guided: P, weight: WeightLike) -> P:
    """The guided policy with another weight: as if it had been guided with it.

    **Arguments:**

    - `guided`: what `flowguide.guide` returned, with one guidance that has a weight, wherever it
        lies within others.
    - `weight`: as in `flowguide.GradientGuidance`: a number, an array, a callable of `t` or a rule.

    **Returns:**

    A policy of the same kind. Numbers are array leaves: nothing is compiled anew for another one.

    **Raises:**

    `ValueError` for a policy without a weight or with several, which says where they are.
    """
    number = _count_weights(guided)
    if number != 1:
        raise ValueError(
            "with_weight changes the one weight of a guided policy, and this has "
            f"{number}:\n{guided!r}"
        )

    def change(policy: FlowPolicy, i: int, term: GuidanceTerm) -> GuidanceTerm:
        if not hasattr(term.guidance, "weight"):
            return term
        return _bound(policy, i, term.critic, term.guidance.weighted(weight))

    return _changed(guided, change, lambda critic: critic)


def with_critic(guided: P, critic: Critic) -> P:
    """The guided policy with another critic in place of each that it asks: as if it had been guided
    by that. Units of weights are measured anew.

    **Arguments:**

    - `guided`: what `flowguide.guide` returned.
    - `critic`: any callable `critic(observation, action) -> scalar`.

    **Returns:**

    A policy of the same kind.

    **Raises:**

    `TypeError` for a critic that cannot be called; `ValueError` for one that the guidance cannot
    work with, and for a policy that asks no critic.
    """
    if not callable(critic):
        raise TypeError(
            f"critic must be a callable critic(observation, action) -> scalar, got {critic!r}."
        )
    asked = []

    def change(policy: FlowPolicy, i: int, term: GuidanceTerm) -> GuidanceTerm:
        if term.critic is None:
            return term
        asked.append(term)
        term.guidance.check(policy, critic)
        return _bound(policy, i, critic, term.guidance)

    def other(old: Any) -> Any:
        if old is None:
            return None
        asked.append(old)
        return critic

    changed = _changed(guided, change, other)
    if not asked:
        raise ValueError(
            f"with_critic changes the critics of a guided policy, and this has none:\n{guided!r}"
        )
    return changed


def _bound(policy: FlowPolicy, i: int, critic: Any, guidance: Any) -> GuidanceTerm:
    below = dataclasses.replace(policy, guidance=policy.guidance[:i])
    return GuidanceTerm(critic, guidance.bind(below, critic))


def _changed(
    policy: Any,
    change: Callable[[FlowPolicy, int, GuidanceTerm], GuidanceTerm],
    other: Callable[[Any], Any],
) -> Any:
    if isinstance(policy, FlowPolicy):
        for i, term in enumerate(policy.guidance):
            # One by one: what lies below a term is changed already when its unit is measured.
            terms = list(policy.guidance)
            terms[i] = change(policy, i, term)
            policy = dataclasses.replace(policy, guidance=tuple(terms))
        return policy
    changes = {name: _changed(inner, change, other) for name, inner in _inner(policy).items()}
    if "critic" in _fields(policy):
        changes["critic"] = other(policy.critic)
    return dataclasses.replace(policy, **changes) if changes else policy


def changed_flows(policy: Any, change: Callable[[FlowPolicy], FlowPolicy]) -> Any:
    """The policy with its flow policy changed, however many others are around that."""
    if isinstance(policy, FlowPolicy):
        return change(policy)
    inner = {name: changed_flows(part, change) for name, part in _inner(policy).items()}
    return dataclasses.replace(policy, **inner) if inner else policy


def _inner(policy: Any) -> dict[str, Any]:
    """The policies that a policy is around, flowguide's own or not."""
    parts = {name: getattr(policy, name) for name in _fields(policy)}
    return {name: part for name, part in parts.items() if isinstance(part, AbstractPolicy)}


def _fields(policy: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(policy)]


def _count_weights(policy: Any) -> int:
    if isinstance(policy, FlowPolicy):
        return sum(hasattr(term.guidance, "weight") for term in policy.guidance)
    if isinstance(policy, AbstractWrapper):
        # What else it holds, such as the centre of a trust region, lies below that.
        return _count_weights(policy.policy)
    return sum(map(_count_weights, _inner(policy).values()))
