import abc
import dataclasses
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from .._cost import Cost
from .._critic import check_valued, Critic
from .._policy import AbstractPolicy, Flow, FlowCost, FlowPolicy, GuidanceTerm
from .._velocity import VelocityStep
from .._weight import as_weight


class AbstractGuidance(eqx.Module):
    """A transform `(policy, critic) -> policy`. What comes out is a policy, so guidances compose.

    Any callable of that form is a guidance; this class is for those that carry options.
    """

    @abc.abstractmethod
    def __call__(self, policy: AbstractPolicy, critic: Critic | None) -> AbstractPolicy:
        """The guided policy."""

    def __repr__(self) -> str:
        from .._describe import describe

        return describe(self)


def needed(critic: Critic | None, name: str) -> Critic:
    """The critic, refused with a `ValueError` if there is none."""
    if not callable(critic):
        raise ValueError(
            f"{name} asks a critic, a callable critic(observation, action) -> scalar, got "
            f"{critic!r}."
        )
    return critic


def valued(critic: Critic | None, name: str) -> Critic:
    """The critic, refused with a `ValueError` if there is none, or none whose values are known."""
    check_valued(critic, name)
    return needed(critic, name)


class AbstractFlowGuidance(AbstractGuidance):
    """A guidance that adds to the velocity of a flow policy, step by step.

    Applied, it is a term more of the policy's `guidance`. It says in `step` what it adds; what it
    has to do once, for a policy and a critic or for an action, it does in `bind` and `prepare`.
    """

    def __call__(self, policy: Any, critic: Critic | None) -> FlowPolicy:
        if not isinstance(policy, FlowPolicy):
            raise ValueError(
                f"Gradient guidance changes a velocity field, and {type(policy).__name__} has "
                "none. It needs a flowguide.FlowPolicy: put gradient guidance before best_of_n and "
                "grad_step."
            )
        self.check(policy, critic)
        term = GuidanceTerm(critic, self.bind(policy, critic))
        return dataclasses.replace(policy, guidance=(*policy.guidance, term))

    def check(self, policy: FlowPolicy, critic: Critic | None) -> None:
        """Refuses, with a `ValueError`, a policy or critic that this guidance cannot work with."""

    def bind(self, policy: FlowPolicy, critic: Critic | None) -> "AbstractFlowGuidance":
        """The guidance for this policy and this critic."""
        del policy, critic
        return self

    def weighted(self, weight: Any) -> "AbstractFlowGuidance":
        """The guidance with another weight, if it has one."""
        return eqx.tree_at(lambda g: g.weight, self, as_weight(weight))

    def prepare(self, flow: Flow, critic: Critic | None) -> Any:
        """What is computed once for an action, and then given to every `step`."""
        del flow, critic

    @abc.abstractmethod
    def step(
        self,
        flow: Flow,
        critic: Critic | None,
        weight: Any,
        t: Array,
        action: Float[Array, "*action"],
    ) -> VelocityStep:
        """The guided velocity at one point of the flow below, with how it came about.

        `weight` is what `prepare` returned.
        """

    @abc.abstractmethod
    def step_cost(self, flow: FlowCost, t: float) -> Cost:
        """What a step at `t` costs, with that of the flow below."""

    def prepare_cost(self, flow: FlowCost) -> Cost:
        """What `prepare` costs."""
        del flow
        return Cost()
