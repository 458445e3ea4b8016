from typing import Any

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from .._cost import Cost
from .._critic import Critic
from .._policy import Flow, FlowCost, FlowPolicy
from .._velocity import ask_velocity, ClassifierFreeVelocity, VelocityStep
from .._weight import as_number, times_weight
from .base import AbstractFlowGuidance


class ClassifierFree(AbstractFlowGuidance):
    """The guidance that `flowguide.cfg` makes."""

    weight: Array

    def __call__(self, policy: Any, critic: Critic | None = None) -> FlowPolicy:
        velocity = getattr(policy, "velocity", None)
        if not isinstance(policy, FlowPolicy) or not isinstance(velocity, ClassifierFreeVelocity):
            raise ValueError(
                "cfg needs a policy whose velocity field knows good actions from others, a "
                "flowguide.FlowPolicy of a flowguide.ClassifierFreeVelocity (which "
                f"flowguide.train.Conditioned trains), and comes before guidance of whole actions; "
                f"got a {type(velocity or policy).__name__}."
            )
        return super().__call__(policy, None)

    def weighted(self, weight: Any) -> "ClassifierFree":
        return cfg(weight)

    def step(
        self,
        flow: Flow,
        critic: Critic | None,
        weight: Any,
        t: Array,
        action: Float[Array, "*action"],
    ) -> VelocityStep:
        field: Any = flow.policy.velocity
        below = flow.step(t, action)
        unconditional = below.velocity
        if flow.depth:
            unconditional = ask_velocity(field, t, action, flow.encoded)
        conditional = ask_velocity(field.conditional, t, action, flow.encoded)
        term = times_weight(self.weight.astype(action.dtype), conditional - unconditional)
        return eqx.tree_at(
            lambda s: (s.velocity, s.guidance),
            below,
            (below.velocity + term, below.guidance + term),
        )

    def step_cost(self, flow: FlowCost, t: float) -> Cost:
        # Only an unguided flow has computed the unconditional velocity already.
        more = 2 if flow.depth else 1
        return flow.velocity(t) + Cost(more * flow.networks)


def cfg(weight: ArrayLike = 1.0) -> ClassifierFree:
    r"""Classifier-free guidance of a conditioned policy (CFGRL): $v_u + w\,(v_c - v_u)$.

    No critic is asked: what is good was learnt with the policy. With $w = 1$ the policy is the
    conditioned one, above it extrapolates.

    **Arguments:**

    - `weight`: $w$, a number or an array that broadcasts to the action; an array leaf. It has no
        unit: the critic's scale does not enter.

    **Returns:**

    A guidance for a policy of a `flowguide.ClassifierFreeVelocity`; the critic is ignored. Each
    call of the guided velocity costs 2 velocities.

    **Raises:**

    `ValueError` for a weight that is no number. When applied: for any other policy.

    Source: CFGRL, Frans et al. (arXiv 2505.23458); see `flowguide.ClassifierFreeVelocity`.
    """
    return ClassifierFree(as_number("weight", weight))
