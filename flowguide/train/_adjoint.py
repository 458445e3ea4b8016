"""What the end of a path owes to each of its points."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float


def carry_back(
    step: Callable[..., Float[Array, "*action"]],
    end: Float[Array, "*action"],
    actions: Float[Array, "n *action"],
    *places: Any,
) -> Float[Array, "n *action"]:
    r"""Carries a gradient at the end of a path back to where each of its steps begins.

    $$\lambda_i = \Big(\frac{\partial f_i(a_i)}{\partial a_i}\Big)^{\!\top} \lambda_{i+1}, \qquad
      a_{i+1} = f_i(a_i)$$

    **Arguments:**

    - `step`: $f$, called as `step(action, *place)`. The path need not be of these steps: it says
        where they are differentiated.
    - `end`: $\lambda_n$.
    - `actions`, `places`: where the n steps begin, and what else each is told, such as its times.

    **Returns:**

    $\lambda_0, \dots, \lambda_{n-1}$.
    """

    def back(adjoint, at):
        action, *place = at
        _, pullback = jax.vjp(lambda a: step(a, *place), action)
        (adjoint,) = pullback(adjoint)
        return adjoint, adjoint

    return jax.lax.scan(back, end, (actions, *places), reverse=True)[1]
