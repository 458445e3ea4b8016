import warnings

import jax
import numpy as np
from jaxtyping import ArrayLike

from .._checks import as_flags
from .._pytree import PyTree
from ._dataset import as_rows, Dataset, from_arrays, named


def from_transitions(
    observations: PyTree,
    actions: ArrayLike,
    rewards: ArrayLike | None = None,
    terminals: ArrayLike | None = None,
    timeouts: ArrayLike | None = None,
    next_observations: PyTree = None,
    *,
    low: float | ArrayLike = -1.0,
    high: float | ArrayLike = 1.0,
) -> Dataset:
    """Data of T rows for T steps, without a row for the final state, as a `Dataset`.

    This is the layout of D4RL, robomimic, LeRobot and most replay buffers: each row is a step. In a
    `Dataset` an episode has one row more, its final state, so that every step is in a window.

    **Arguments:**

    - `observations`: shape `(T, observation)`, before the action; or a dictionary of arrays of
        shape `(T, ...)`.
    - `actions`: shape `(T, action)`.
    - `rewards`: shape `(T,)`, of that step; None for data without a task.
    - `terminals`: shape `(T,)`, true where the step ended the task: nothing follows.
    - `timeouts`: shape `(T,)`, true where the episode was cut off after the step, though the task
        went on. The last row is an end, whatever its flag.
    - `next_observations`: like `observations`, after the action. Without them the final state
        of an episode that was cut off is not known: its last row then stands for it, so its last
        action is in no window. After a terminal step nothing has to be known.
    - `low`, `high`: as in `from_arrays`.

    **Returns:**

    A `Dataset`. In the row of a final state the action repeats the one before it, the reward is 0
    and the mask 1.

    **Raises:**

    `ValueError` for flags that are not 0 or 1, arrays of other lengths, and what `from_arrays`
    raises. Warns where an observation after an action is not the one of the next row, though no end
    is marked: the episode is taken as cut off there; and where rewards other than 0 are in no
    window, because the state after them is not known.
    """
    before = as_rows(observations)
    columns = {"actions": np.asarray(actions, np.float32)}
    count = len(next(iter(named(before).values()), ()))
    if rewards is not None:
        columns["rewards"] = np.asarray(rewards, np.float32)
        if columns["rewards"].size == count:
            columns["rewards"] = columns["rewards"].reshape(count)
    after = None if next_observations is None else as_rows(next_observations)
    flags = {"terminals": terminals, "timeouts": timeouts}
    lengths = {**named(before), **columns, **flags}
    if after is not None:
        if jax.tree.structure(after) != jax.tree.structure(before):
            raise ValueError(
                f"next_observations has {sorted(named(after))}, observations "
                f"{sorted(named(before))}: expected the same arrays."
            )
        lengths |= {f"next_{name}": values for name, values in named(after).items()}
    for name, values in lengths.items():
        if values is not None and len(np.asarray(values)) != count:
            raise ValueError(
                f"{name} has {len(np.asarray(values))} rows, observations {count}: expected a row "
                "for each step."
            )
    if not count:
        raise ValueError("The dataset is empty.")
    is_terminal, is_cut_off = (
        np.zeros(count, bool) if values is None else as_flags(name, values).reshape(count)
        for name, values in flags.items()
    )
    is_cut_off = is_cut_off | (np.arange(count) == count - 1)
    if after is not None:
        is_cut_off = is_cut_off | _jumps(before, after, is_terminal | is_cut_off)
    is_end = is_terminal | is_cut_off
    # The final states that are known, or that need not be: each becomes a row behind its step.
    added = np.flatnonzero(is_end if after is not None else is_terminal)
    final = jax.tree.map(lambda x: x[added], before if after is None else after)
    at = added + 1
    ends = np.insert(is_end & ~np.isin(np.arange(count), added), at, True)
    masks = np.insert(np.where(is_terminal, 0.0, 1.0), at, 1.0)
    placed = {
        "observations": jax.tree.map(lambda x, end: np.insert(x, at, end, axis=0), before, final),
        "actions": np.insert(columns["actions"], at, columns["actions"][added], axis=0),
    }
    if rewards is not None:
        is_final = is_end & ~np.isin(np.arange(count), added)
        _warn_of_lost(columns["rewards"], is_final)
        known = columns["rewards"].copy()
        known[is_final] = 0.0
        placed |= {"rewards": np.insert(known, at, 0.0), "masks": masks}
    return from_arrays(**placed, ends=ends, low=low, high=high)


def _warn_of_lost(rewards: np.ndarray, is_final: np.ndarray) -> None:
    count = int(np.sum(rewards[is_final] != 0))
    # Of one episode that is still going on, the last step is always lost.
    if count and count == np.sum(rewards != 0):
        warnings.warn(
            f"All {count:,} rewards other than 0 are those of last steps of episodes that were cut "
            "off, and the state after them is not known: they are in no window, so that no critic "
            "learns of them. Give next_observations, or, where these steps ended the task, mark "
            "them in terminals.",
            stacklevel=3,
        )


def _jumps(before: PyTree, after: PyTree, is_end: np.ndarray) -> np.ndarray:
    """The rows that are not followed by their next observation, and are not said to be an end."""

    def is_same(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        same = np.isclose(after[:-1], before[1:], rtol=1e-4, atol=1e-6)
        return np.asarray(same.reshape(len(same), -1).all(axis=1))

    goes_on = np.ones(len(is_end) - 1, bool)
    for same in jax.tree.leaves(jax.tree.map(is_same, before, after)):
        goes_on &= same
    jumps = np.concatenate([~goes_on, [False]]) & ~is_end
    if np.any(jumps):
        warnings.warn(
            f"In {int(jumps.sum()):,} of {len(is_end):,} rows the next observation is not that of "
            f"the next row (the first is row {int(np.argmax(jumps))}), and no end is marked there: "
            "the episode is taken as cut off.",
            stacklevel=3,
        )
    return jumps
