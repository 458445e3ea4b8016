import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._checks import as_bounds, as_flags
from .._dtypes import as_float
from .._pytree import PyTree


class Dataset(eqx.Module):
    """Episodes laid end to end, as arrays that lie on the device. See `from_arrays`.

    **Attributes:**

    - `observations`: shape `(N, observation)`, or a dictionary of arrays of shape `(N, ...)`. Each
        episode's last row is where it ended.
    - `actions`: shape `(N, action)`; an episode's last one was never followed by a state.
    - `ends`: shape `(N,)`, True on each episode's last row.
    - `rewards`: shape `(N,)`, of the state and action of that row; None where there is no task.
    - `masks`: shape `(N,)`, 0 where the task is over (nothing is bootstrapped from beyond), else 1;
        None where there is no task.
    - `goals`: shape `(N, goal)`, what a row looks like as a goal; None where that is its
        observation.
    - `successes`: shape `(N,)`, whether the action of that row solved the task; None where it is
        solved when it is over.
    """

    observations: PyTree
    actions: Float[Array, "N action"]
    ends: Bool[Array, " N"]
    rewards: Float[Array, " N"] | None = None
    masks: Float[Array, " N"] | None = None
    goals: Float[Array, "N goal"] | None = None
    successes: Bool[Array, " N"] | None = None

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def num_episodes(self) -> int:
        return int(jnp.sum(self.ends))

    @property
    def success_share(self) -> float:
        """The share of rows in which the task is solved.

        **Raises:**

        `ValueError` for a dataset without a task.
        """
        return float(jnp.mean(self.solved))

    @property
    def solved(self) -> Bool[Array, " N"]:
        """The rows whose action solved the task: `successes`, or where `masks` is 0."""
        return self.task[1] == 0 if self.successes is None else self.successes

    @property
    def task(self) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
        """The rewards and masks, refused with a `ValueError` where there are none."""
        if self.rewards is None or self.masks is None:
            raise ValueError(
                "This dataset has no task: it has no rewards and masks. Give them to from_arrays, "
                "load a single task (such as 'cube-single-play-singletask-task1-v0'), or learn "
                "from hindsight goals with flowguide.data.GoalWindows."
            )
        return self.rewards, self.masks


def from_arrays(
    observations: PyTree,
    actions: ArrayLike,
    rewards: ArrayLike | None = None,
    masks: ArrayLike | None = None,
    ends: ArrayLike | None = None,
    *,
    goals: ArrayLike | None = None,
    successes: ArrayLike | None = None,
    low: float | ArrayLike = -1.0,
    high: float | ArrayLike = 1.0,
) -> Dataset:
    """Any offline data as a `Dataset`.

    **Arguments:**

    - `observations`, `actions`, `rewards`, `masks`, `ends`, `goals`, `successes`: as in `Dataset`.
        Episodes follow one another; `ends` is true on the last row of each, which holds the final
        state: an episode of T steps has T + 1 rows. Of T rows, `from_transitions` makes them.
        Without rewards and masks the dataset has no task; one of them alone is an error. Without
        `ends`, all rows are one episode.
    - `low`, `high`: the bounds of the policy that will be trained. Actions outside them are kept,
        counted and warned of: the policy clips, and cannot reach them.

    **Returns:**

    A `Dataset` on JAX's default device, in float32; integers and booleans in a dictionary of
    observations, such as images and tokens, keep their type.

    **Raises:**

    `ValueError` for an empty set, arrays that do not fit each other, values that are not finite, or
    masks, ends and successes other than 0 or 1.
    """
    rows = as_rows(observations)
    seen = named(rows)
    given = {
        "actions": (actions, 2),
        "rewards": (rewards, 1),
        "masks": (masks, 1),
        "goals": (goals, 2),
    }
    if (rewards is None) != (masks is None):
        raise ValueError("rewards and masks make a task together: got one without the other.")
    arrays = {name: (x, 2 if name == "observations" else None) for name, x in seen.items()}
    arrays |= {
        name: (np.asarray(x, np.float32), n) for name, (x, n) in given.items() if x is not None
    }
    num_rows = len(np.atleast_1d(next(iter(seen.values())))) if seen else 0
    if not num_rows:
        raise ValueError("The dataset is empty.")
    if successes is not None:
        arrays["successes"] = as_flags("successes", successes), 1
    is_end = np.arange(num_rows) == num_rows - 1 if ends is None else as_flags("ends", ends)
    if is_end.shape != (num_rows,):
        raise ValueError(
            f"ends has shape {is_end.shape}: expected one entry for each of the {num_rows} rows of "
            "observations."
        )
    for name, (array, ndim) in arrays.items():
        fits = array.ndim > 0 if ndim is None else array.ndim == ndim
        if not fits or len(array) != num_rows:
            dimensions = "" if ndim is None else f"{ndim} dimensions and "
            raise ValueError(
                f"{name} has shape {array.shape}: expected {dimensions}one row for each of the "
                f"{num_rows} rows of ends."
            )
        bad = np.flatnonzero(~np.isfinite(array).reshape(num_rows, -1).all(axis=1))
        if len(bad):
            raise ValueError(
                f"{name} holds values that are not finite in {len(bad)} of {num_rows} rows, "
                f"first in row {bad[0]}."
            )
    if not is_end[-1]:
        raise ValueError("The last row is not the end of an episode: ends[-1] is False.")
    if "masks" in arrays:
        is_over = ~as_flags("masks", arrays["masks"][0])
        _warn_of_unseen("rows where the task is over (masks of 0)", is_over, is_end)
        _warn_of_unseen("rewards other than 0", arrays["rewards"][0] != 0, is_end)
    _warn_of_actions_outside(arrays["actions"][0], low, high)
    # As they are: `jnp.asarray` runs a compiled copy, which on a GPU waits for what runs there.
    placed = {
        name: jax.device_put(array) for name, (array, _) in arrays.items() if name not in seen
    }
    return Dataset(jax.device_put(rows), **placed, ends=jax.device_put(is_end))


def split_episodes(
    dataset: Dataset, share: float = 0.1, *, seed: int = 0
) -> tuple[Dataset, Dataset]:
    """Holds whole episodes back, for validation.

    Rows of one episode are alike: with some of them in each part, a critic that remembers would
    look like one that understands.

    **Arguments:**

    - `dataset`: at least two episodes.
    - `share`: how much of the episodes is held back, in (0, 1); at least one is, and one is not.
    - `seed`: which ones.

    **Returns:**

    `(train, validation)`, the episodes of each in their old order.

    **Raises:**

    `ValueError` for fewer than two episodes, or a share outside (0, 1).
    """
    ends = np.asarray(dataset.ends)
    count = int(ends.sum())
    if count < 2 or not 0 < share < 1:
        raise ValueError(
            f"Expected at least 2 episodes and a share in (0, 1), got {count} and {share}."
        )
    held_back = np.random.default_rng(seed).permutation(count)
    held_back = held_back[: min(max(round(share * count), 1), count - 1)]
    is_held_back = np.isin(np.cumsum(ends) - ends, held_back)

    def part(rows: np.ndarray) -> Dataset:
        return jax.tree.map(lambda x: jax.device_put(np.asarray(x)[rows]), dataset)

    return part(~is_held_back), part(is_held_back)


def as_rows(observations: PyTree) -> PyTree:
    """Observations as arrays, in a dictionary with the types of their entries."""
    if not isinstance(observations, dict):
        return np.asarray(observations, np.float32)
    return jax.tree.map(as_float, observations)


def named(observations: PyTree) -> dict[str, np.ndarray]:
    """The arrays of observations by what errors call them."""
    leaves = jax.tree_util.tree_leaves_with_path(observations)
    return {f"observations{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}


def _warn_of_unseen(what: str, chosen: np.ndarray, is_end: np.ndarray) -> None:
    """Data of T rows for T steps look like this: the steps that end the task are in no window."""
    count = int(np.sum(chosen))
    # One alone can be chance, and of episodes of one row nothing is in a window anyway.
    if count > 1 and np.all(is_end[chosen]) and not np.all(is_end):
        warnings.warn(
            f"All {count:,} {what} are in the last rows of their episodes. Such a row holds the "
            "final state, and its action and reward are in no window: no critic learns of them. If "
            "your data have a row for each step and none for the final state, as D4RL, robomimic "
            "and LeRobot have, use flowguide.data.from_transitions.",
            stacklevel=3,
        )


def _warn_of_actions_outside(actions: np.ndarray, low: object, high: object) -> None:
    lowest, highest = (np.asarray(x, np.float32) for x in as_bounds(low, high, actions.shape[1:]))
    count = int(np.sum(np.any((actions < lowest) | (actions > highest), axis=1)))
    if count:
        warnings.warn(
            f"{count} of {len(actions)} actions lie outside the bounds [{low}, {high}]: a policy "
            "with these bounds cannot reach them. Rescale the actions, or pass the bounds that you "
            "give to FlowPolicy as low and high.",
            stacklevel=3,
        )
