from typing import Any

import equinox as eqx
from jaxtyping import Array, ArrayLike

from .._classifier_free import ClassifierFreeVelocity
from .._critic import Critic
from .._policy import FlowPolicy
from .._schedule import as_weight
from ._base import AbstractGuidance


class ClassifierFree(AbstractGuidance):
    """The guidance that `flowguide.cfg` makes."""

    weight: Array

    def __call__(self, policy: Any, critic: Critic) -> FlowPolicy:
        del critic
        velocity = getattr(policy, "velocity", None)
        if not isinstance(policy, FlowPolicy) or not isinstance(velocity, ClassifierFreeVelocity):
            raise ValueError(
                "cfg needs a policy whose velocity field knows good actions from others, a "
                "flowguide.FlowPolicy of a flowguide.ClassifierFreeVelocity (which "
                f"flowguide.train.Conditioned trains), and comes first; got a "
                f"{type(velocity or policy).__name__}."
            )
        guided = ClassifierFreeVelocity(
            velocity.velocity, velocity.condition, velocity.null, self.weight
        )
        return eqx.tree_at(lambda p: p.velocity, policy, guided)


def cfg(weight: ArrayLike = 1.0) -> ClassifierFree:
    r"""Classifier-free guidance of a conditioned policy (CFGRL): $v_u + w\,(v_c - v_u)$.

    No critic is asked: what is good was learnt with the policy. With $w = 1$ the policy is the
    conditioned one, above it extrapolates.

    **Arguments:**

    - `weight`: $w$, a number or an array that broadcasts to the action; an array leaf. It has no
        unit: the critic's scale does not enter.

    **Returns:**

    A guidance for a policy of a `flowguide.ClassifierFreeVelocity`; the critic is ignored. Each
    evaluation of the guided velocity costs 2 velocities.

    **Raises:**

    `ValueError` for a weight that is no number. When applied: for any other policy.

    Source: CFGRL, Frans et al. (arXiv 2505.23458); see `flowguide.ClassifierFreeVelocity`.
    """
    if callable(weight):
        raise ValueError(f"weight must be a number or an array, got {weight!r}.")
    return ClassifierFree(as_weight(weight))
