from typing import Any

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from .._pytree import PyTree
from .base import VelocityField

# What `flowguide.train.Conditioned` and the labels of `nn.VelocityMLP` mean.
UNKNOWN, BAD, GOOD = -1, 0, 1


class ClassifierFreeVelocity(eqx.Module):
    r"""A conditioned velocity field, extrapolated from unconditional to conditional.

    $$v = v_u + w\,(v_c - v_u), \qquad v_c = v(t, a, (o, c)),\quad v_u = v(t, a, (o, \varnothing))$$

    By itself it is the unconditional field, $w = 0$; `flowguide.cfg(weight)` adds the rest.

    **Arguments:**

    - `velocity`: a callable `velocity(t, action, (observation, condition))`.
    - `condition`: a pytree, such as the label of good actions.
    - `null`: the condition that the field was trained with where it was given none.

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

    def __init__(self, velocity: VelocityField, condition: PyTree = GOOD, null: PyTree = UNKNOWN):
        self.velocity = velocity
        self.condition, self.null = condition, null

    @property
    def action_shape(self) -> tuple[int, ...]:
        velocity: Any = self.velocity
        return velocity.action_shape

    def __call__(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> Float[Array, "*action"]:
        return self.velocity(t, action, (observation, self.null))

    def conditional(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> Float[Array, "*action"]:
        """The field of the condition."""
        return self.velocity(t, action, (observation, self.condition))
