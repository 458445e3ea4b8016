from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from .._checks import as_positive_int
from ..data import Windows
from ._learner import AbstractLearner


def train(
    learner: AbstractLearner,
    windows: Windows,
    *,
    steps: int,
    batch_size: int = 256,
    key: PRNGKeyArray,
    log_every: int = 1000,
    on_log: Callable[[int, dict[str, float]], None] | None = None,
) -> Any:
    """Trains a learner from data on the device: batches are drawn inside one compiled scan.

    **Arguments:**

    - `learner`: what to train.
    - `windows`: where batches come from.
    - `steps`: how many updates.
    - `batch_size`: windows in each.
    - `key`: the same key gives the same result.
    - `log_every`: updates in one compiled call; the host is met only between calls.
    - `on_log`: called after each with the steps done and the mean losses over it.

    **Returns:**

    The learner's final state.

    **Raises:**

    `FloatingPointError` as soon as a mean loss is not finite, naming the loss and the step.
    """
    steps = as_positive_int("steps", steps)
    batch_size = as_positive_int("batch_size", batch_size)
    log_every = as_positive_int("log_every", log_every)
    init_key, key = jr.split(key)
    state = eqx.filter_jit(learner.init)(init_key)
    done = 0
    while done < steps:
        count = min(log_every, steps - done)
        # Keys follow from the step's number, not from how steps are grouped into calls.
        first = jnp.asarray(done)
        state, losses = scan_updates((learner, windows, key), state, first, count, batch_size)
        done += count
        means = {name: float(value) for name, value in losses.items()}
        for name, value in means.items():
            if value != value or abs(value) == float("inf"):
                raise FloatingPointError(
                    f"The loss {name!r} is {value} between updates {done - count} and {done}."
                )
        if on_log is not None:
            on_log(done, means)
    return state


@eqx.filter_jit(donate="all-except-first")
def scan_updates(
    fixed: tuple[AbstractLearner, Windows, PRNGKeyArray],
    state: Any,
    first: Array,
    count: int,
    batch_size: int,
) -> tuple[Any, dict[str, Array]]:
    learner, windows, key = fixed
    arrays, static = eqx.partition(state, eqx.is_array)

    def step(arrays, number):
        batch_key, update_key = jr.split(jr.fold_in(key, number))
        batch = windows.sample(batch_key, batch_size)
        new_state, losses = learner.update(eqx.combine(arrays, static), batch, update_key)
        return eqx.filter(new_state, eqx.is_array), losses

    arrays, losses = jax.lax.scan(step, arrays, first + jnp.arange(count))
    return eqx.combine(arrays, static), jax.tree.map(lambda x: x.mean(), losses)
