from typing import Any

import numpy as np

from ._dataset import Dataset, from_arrays


def load_minari(dataset: Any, *, download: bool = False) -> Dataset:
    """Loads a Minari dataset of vector observations and actions, with its rewards as the task.

    **Arguments:**

    - `dataset`: a `minari.MinariDataset`, or the id of one, such as `mujoco/hopper/medium-v0`.
    - `download`: whether `minari.load_dataset` may download the dataset of that id.

    **Returns:**

    A `Dataset`. An episode of `T` steps has `T + 1` rows. The last one holds its final state, and
    there the action repeats the one before it, the reward is 0 and the mask 1. The mask of any
    other row is 0 if its step terminated the episode, and 1 if not, also where it was cut off.
    A termination need not be a success: `success_share` and the returns `"success_to_go"` mean
    something only for a dataset where it is. A policy needs the bounds of the dataset's
    `action_space`; actions outside them are kept, counted and warned of.

    **Raises:**

    `ImportError` for an id where minari is not installed; `ValueError` if observations or actions
    are not vectors, or the episodes are none or do not fit. An id that is not found raises what
    `minari.load_dataset` does.
    """
    if isinstance(dataset, str):
        try:
            import minari  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(
                f"The Minari dataset {dataset!r} needs minari: pip install 'flowguide[minari]'."
            ) from error
        dataset = minari.load_dataset(dataset, download=download)

    from gymnasium.spaces import Box

    for name, space in (
        ("observations", dataset.observation_space),
        ("actions", dataset.action_space),
    ):
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise ValueError(
                f"The {name} of this Minari dataset are of {space}: expected vectors, of a Box "
                "with one dimension. Make vectors of them, and pass those to from_arrays."
            )

    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in ("observations", "actions", "rewards", "masks", "ends")
    }
    for episode in dataset.iterate_episodes():
        steps = len(episode.actions)
        if not steps:  # Nothing was done, so there is nothing to learn.
            continue
        if len(episode.observations) != steps + 1:
            raise ValueError(
                f"Episode {episode.id} of this Minari dataset has {len(episode.observations)} "
                f"observations and {steps} actions: expected one observation more than actions."
            )
        columns["observations"].append(episode.observations)
        columns["actions"].append(np.concatenate([episode.actions, episode.actions[-1:]]))
        columns["rewards"].append(np.append(episode.rewards, 0.0))
        columns["masks"].append(np.append(1.0 - np.asarray(episode.terminations), 1.0))
        columns["ends"].append(np.arange(steps + 1) == steps)
    if not columns["ends"]:
        raise ValueError("This Minari dataset has no episodes with actions.")
    space = dataset.action_space
    arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
    return from_arrays(**arrays, low=space.low, high=space.high)
