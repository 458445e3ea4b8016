from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ._learner import copied


class Best(eqx.Module):
    """What had the lowest validation loss so far; of each seed on its own, with several.

    **Attributes:**

    - `result`: what the learner had learnt then.
    - `loss`: its validation loss, shape `()` or `(S,)`; infinite before the first validation.
    - `step`: the number of updates that it had seen, of the same shape.
    """

    result: PyTree
    loss: Float[Array, "*seeds"]
    step: Int[Array, "*seeds"]


@eqx.filter_jit
def init_best(result: PyTree, seeds: tuple[int, ...]) -> Best:
    return Best(copied(result), jnp.full(seeds, jnp.inf), jnp.zeros(seeds, jnp.int32))


@eqx.filter_jit
def keep_better(
    best: Best, result: PyTree, loss: Float[Array, "*seeds"], step: Int[Array, ""]
) -> Best:
    """The better of what was best and what is new; the older one if they tie."""
    is_better = loss < best.loss

    def choose(old: Any, new: Any) -> Any:
        if not eqx.is_array(old):
            return old
        return jnp.where(
            is_better.reshape(is_better.shape + (1,) * (old.ndim - is_better.ndim)), new, old
        )

    return Best(
        jax.tree.map(choose, best.result, result),
        jnp.where(is_better, loss, best.loss),
        jnp.where(is_better, step, best.step),
    )
