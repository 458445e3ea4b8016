from typing import Any

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float, PyTree

from ._schedule import as_weight
from ._velocity import VelocityField

# What `flowguide.train.Conditioned` and the labels of `nn.VelocityMLP` mean.
UNKNOWN, BAD, GOOD = -1, 0, 1


class ClassifierFreeVelocity(eqx.Module):
    r"""A conditioned velocity field, extrapolated from unconditional to conditional.

    $$v = v_u + w\,(v_c - v_u), \qquad v_c = v(t, a, (o, c)),\quad v_u = v(t, a, (o, \varnothing))$$

    With $w = 0$ it is the unconditional field, and costs no more; that is how a policy is trained
    and saved. `flowguide.cfg(weight)` sets $w$ at test time.

    **Arguments:**

    - `velocity`: a callable `velocity(t, action, (observation, condition))`.
    - `condition`: a pytree, such as the label of good actions.
    - `null`: the condition that the field was trained with where it was told nothing.
    - `weight`: $w$, a number or an array that broadcasts to the action; None for 0.

    ??? cite "Reference"

        ```bibtex
        @article{frans2025diffusion,
            title={Diffusion Guidance Is a Controllable Policy Improvement Operator},
            author={Frans, Kevin and Park, Seohong and Abbeel, Pieter and Levine, Sergey},
            journal={arXiv preprint arXiv:2505.23458},
            year={2025},
        }
        ```
    """

    velocity: VelocityField
    condition: PyTree
    null: PyTree
    weight: Array | None

    def __init__(
        self,
        velocity: VelocityField,
        condition: PyTree = GOOD,
        null: PyTree = UNKNOWN,
        weight: ArrayLike | None = None,
    ):
        self.velocity = velocity
        self.condition, self.null = condition, null
        self.weight = None if weight is None else as_weight(weight)

    @property
    def action_shape(self) -> tuple[int, ...]:
        velocity: Any = self.velocity
        return velocity.action_shape

    def __call__(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> Float[Array, "*action"]:
        unconditional = self.velocity(t, action, (observation, self.null))
        if self.weight is None:
            return unconditional
        conditional = self.velocity(t, action, (observation, self.condition))
        weight = self.weight.astype(action.dtype)
        return unconditional + weight * (conditional - unconditional)
