import os
from pathlib import Path
from typing import Any

import numpy as np

from .._environments import quiet
from ._dataset import Dataset, from_arrays

DEFAULT_DATASET_DIR = "~/.ogbench/data"


def dataset_name(name: str) -> str:
    """The name of the dataset behind a task: `cube-single-play-singletask-task1-v0` has
    `cube-single-play-v0`."""
    parts = name.split("-")
    if "singletask" not in parts:
        return name
    return "-".join([*parts[: parts.index("singletask")], parts[-1]])


def load_ogbench(
    name: str, dataset_dir: str | os.PathLike = DEFAULT_DATASET_DIR
) -> tuple[Dataset, Dataset]:
    """Loads the dataset of an OGBench single task, with that task's rewards.

    **Arguments:**

    - `name`: such as `cube-single-play-singletask-task1-v0`.
    - `dataset_dir`: the folder that holds `<dataset>.npz` and `<dataset>-val.npz`.

    **Returns:**

    `(train, validation)`. OGBench computes reward and mask from the state of the row, not from
    the one after it.

    **Raises:**

    `FileNotFoundError` if a file is missing, naming it; `ValueError` if the name has no task.
    """
    if "singletask" not in name.split("-"):
        raise ValueError(
            f"{name!r} names no single task, so it has no rewards: expected a name such as "
            "'cube-single-play-singletask-task1-v0'."
        )
    folder = Path(dataset_dir).expanduser()
    base = dataset_name(name)
    for file in (folder / f"{base}.npz", folder / f"{base}-val.npz"):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file.name} is not in {folder}. Download it with "
                f"`ogbench.download_datasets([{base!r}], {str(folder)!r})`, or make it: "
                f"`flowguide collect {base} --episodes 200 --out {folder}`."
            )
    with quiet():
        import ogbench

        loaded: Any = ogbench.make_env_and_datasets(
            name, dataset_path=str(folder / f"{base}.npz"), compact_dataset=True
        )
    env, *parts = loaded
    env.close()
    train, validation = (
        from_arrays(
            part["observations"],
            part["actions"],
            part["rewards"],
            part["masks"],
            np.asarray(part["valids"]) == 0,
        )
        for part in parts
    )
    return train, validation
