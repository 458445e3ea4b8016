"""Guidances meet an agent: once, before anything is played."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._cost import Cost
from .._describe import describe
from .._guide import guide
from .._policy import AbstractPolicy
from .._results.conditions import Condition, with_weight
from .._rollout.rules import Rescaling
from .._weight import weight_of
from .agents import Agent
from .program import Parts, take_apart


@dataclasses.dataclass(frozen=True, eq=False)
class Guided:
    """The policy of an agent under a guidance, ready to be played.

    **Attributes:**

    - `condition`: what results call it.
    - `description`: of the guidance.
    - `policy`: the guided policy.
    - `parts`: the same, taken apart.
    - `steps`, `cost`: of an action; None if not known.
    - `to_environment`: maps an action onto the environment's range; None where it is played as it
        is.
    """

    condition: Condition
    description: str
    policy: AbstractPolicy
    parts: Parts
    steps: int | None
    cost: Cost | None
    to_environment: Rescaling | None = None


def condition_of(label: str, guidance: Any) -> Condition:
    """What results call a guidance of a mapping."""
    number_and_unit = weight_of(guidance)
    if number_and_unit is None or not np.isfinite(number_and_unit[0]):
        return Condition(label)
    weight, unit = number_and_unit
    return with_weight(label, _shortest(weight), unit)


def _shortest(weight: float) -> float:
    """0.1 for the nearest number that float32 has: weights are arrays, and lines are read."""
    single = np.float32(weight)
    return float(str(single)) if float(single) == weight else float(weight)


def conditions_of(guidances: Mapping[str, Any]) -> dict[str, Condition]:
    """The same for all of a mapping, in its order."""
    return {label: condition_of(label, guidance) for label, guidance in guidances.items()}


def put_together(
    agent: Agent, label: str, guidance: Any, to_environment: Rescaling | None = None
) -> Guided:
    """Guides the policy of an agent.

    **Raises:**

    `ValueError` that names the label, for a guidance that cannot guide this policy.
    """
    policy: Any = agent.policy
    if guidance is not None:
        try:
            policy = guide(agent.policy, agent.critic, guidance)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{label!r} cannot be played: {error}") from error
    if not isinstance(policy, AbstractPolicy):
        raise ValueError(
            f"{label!r} cannot be played: expected a policy from the guidance, got "
            f"{type(policy).__name__}."
        )
    return Guided(
        condition_of(label, guidance),
        describe(guidance),
        policy,
        take_apart(policy, (agent.policy, agent.critic)),
        getattr(policy, "num_steps", None),
        policy.cost(),
        to_environment,
    )
