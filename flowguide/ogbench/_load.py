import contextlib
import functools
import http.client
import os
import shlex
import traceback
import types
import urllib.error
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import as_flags
from .._rollout import environments
from .._system.npz import npz_header
from ..data import Dataset, from_arrays
from ._generate import RECIPES
from ._names import check_name, dataset_name, is_goal_conditioned

DEFAULT_DATASET_DIR = "~/.ogbench/data"
"""Where OGBench keeps its datasets."""


def load_ogbench(
    name: str,
    dataset_dir: str | os.PathLike = DEFAULT_DATASET_DIR,
    *,
    download: bool = True,
    bootstrap_through_success: bool = False,
    sparse_rewards: bool = False,
) -> tuple[Dataset, Dataset]:
    """Loads the dataset of any state-based OGBench name, and downloads it if it is missing.

    NumPy's global random state, which OGBench draws from, is left as it was.

    **Arguments:**

    - `name`: of a single task (`cube-single-play-singletask-task1-v0`), whose rewards and masks the
        dataset gets; of a goal-conditioned dataset (`cube-single-play-v0`), without a task; or of
        one with oracle representations (`cube-single-play-oraclerep-v0`), which are its `goals`.
    - `dataset_dir`: the folder that holds `<dataset>.npz` and `<dataset>-val.npz`.
    - `download`: whether to download missing files into that folder, with OGBench's progress bar.
    - `bootstrap_through_success`, `sparse_rewards`: see `load_ogbench_file`.

    **Returns:**

    `(train, validation)`.

    **Raises:**

    `FileNotFoundError` if a file is missing and cannot be downloaded, naming it, the folder and
    what to do; `ValueError` for a name that is not a state-based dataset's, or a file that is
    damaged or does not fit the name. Warns if no training row solves the task.
    """
    loaded = load_ogbench_arrays(
        name,
        dataset_dir,
        download=download,
        bootstrap_through_success=bootstrap_through_success,
        sparse_rewards=sparse_rewards,
    )
    train, validation = (ogbench_dataset(name, *each) for each in loaded)
    return train, validation


def load_ogbench_arrays(
    name: str,
    dataset_dir: str | os.PathLike,
    *,
    download: bool = True,
    bootstrap_through_success: bool = False,
    sparse_rewards: bool = False,
) -> list[tuple[Path, dict[str, np.ndarray]]]:
    """What `load_ogbench` loads before it goes to the device.

    **Arguments:**

    - `name`, `dataset_dir`, `download`, `bootstrap_through_success`, `sparse_rewards`: as for
        `load_ogbench`.

    **Returns:**

    The training and the validation file, each with its arrays as `load_ogbench_file` gives them.

    **Raises:**

    As `load_ogbench`.
    """
    check_name(name)
    folder = Path(dataset_dir).expanduser()
    base = dataset_name(name)
    files = [folder / f"{base}.npz", folder / f"{base}-val.npz"]
    _find(base, folder, files, download)
    options = {
        "bootstrap_through_success": bootstrap_through_success,
        "sparse_rewards": sparse_rewards,
    }
    loaded = [load_ogbench_file(name, file, **options) for file in files]
    warn_of_no_success(name, files[0], loaded[0])
    return list(zip(files, loaded, strict=True))


def ogbench_dataset(name: str, file: Path, arrays: dict[str, np.ndarray]) -> Dataset:
    """The dataset of a file's arrays, on the device.

    **Arguments:**

    - `name`, `file`: of the dataset and of the file, for errors.
    - `arrays`: as `load_ogbench_file` gives them.

    **Returns:**

    A `Dataset`.

    **Raises:**

    `ValueError` naming the file whose arrays are none.
    """
    try:
        return from_arrays(**arrays)
    except ValueError as error:
        raise ValueError(f"{file} holds no dataset of {name!r}: {error}") from error


def warn_of_no_success(name: str, file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Warns where a task has no success to learn from.

    **Arguments:**

    - `name`, `file`: of the task and of the file, for the warning.
    - `arrays`: as `load_ogbench_file` gives them.
    """
    # OGBench's reward counts what is not yet solved, whatever the masks are.
    if "rewards" in arrays and not np.any(arrays["rewards"] == 0):
        warnings.warn(
            f"0 of {len(arrays['rewards'])} rows of {file.name} solve {name}: a critic has nothing "
            f"to learn from. Take another task of {dataset_name(name)}, or more data.",
            stacklevel=3,
        )


def load_ogbench_file(
    name: str,
    file: str | os.PathLike,
    *,
    bootstrap_through_success: bool = False,
    sparse_rewards: bool = False,
) -> dict[str, np.ndarray]:
    """One file in OGBench's format as the arguments of `from_arrays`.

    The first file of a name takes about a second longer, for the environment that knows the task.
    Only then is NumPy's global random state touched, and put back: later files of the same name can
    be loaded from another thread while episodes are played.

    **Arguments:**

    - `name`: as for `load_ogbench`. The 100M sets have the names of the smaller ones, such as
        `cube-quadruple-play-singletask-task1-v0`.
    - `file`: a training or validation file, or a slice of a 100M set.
    - `bootstrap_through_success`: masks that are 0 at the end of each episode instead of where the
        task is solved, so that the value of a solved state is bootstrapped from what follows in the
        data. For reproduction: `masks = 1 - terminals` after relabelling is what the published
        QGF pipeline for the 100M sets does (its `make_ogbench_env_and_datasets`). `success_share`
        then says nothing; rewards of 0 are still the successes.
    - `sparse_rewards`: rewards of -1 wherever the task is not solved, as the published QGF code's
        `--sparse` has them. OGBench's own count what is left to do on puzzle and scene, so that
        a critic may prefer much that is right soon to all that is right later.

    **Returns:**

    - `observations`, shape `(N, observation)`, `actions`, shape `(N, action)`, and `ends`, shape
        `(N,)`, as in `Dataset`;
    - for a single task `rewards` and `masks`, shape `(N,)`, as OGBench relabels them: of the state
        in that row, not of the one after it. Its single-task environments since 1.2 agree;
    - for oracle representations `goals`, shape `(N, goal)`.

    **Raises:**

    `ValueError` for a name that is not a state-based dataset's, or a file that is damaged, lacks a
    key or has rows of another size than the environment's.
    """
    env = _environment(name)
    file = Path(file).expanduser()
    has_task, has_goals = not is_goal_conditioned(name), "oraclerep" in name.split("-")
    rows = _read(file, has_state=has_task or has_goals)
    for key, space in (("observations", env.observation_space), ("actions", env.action_space)):
        if rows[key].shape[1:] != space.shape:
            raise ValueError(
                f"{file} does not fit {name!r}: a row of {key!r} has shape {rows[key].shape[1:]}, "
                f"and the environment's has {space.shape}."
            )
    arrays = {key: rows[key] for key in ("observations", "actions")}
    arrays["ends"] = rows["valids"] == 0

    from ogbench import relabel_utils

    try:
        if has_task:
            # OGBench resets what it gets, to set the task. Ours is, and stays as it is.
            placed = types.SimpleNamespace(unwrapped=env.unwrapped, reset=lambda: None)
            relabel_utils.relabel_dataset(name, placed, rows)
            rewards = rows["rewards"]
            arrays["rewards"] = np.where(rewards == 0, 0.0, -1.0) if sparse_rewards else rewards
            # Here, terminals mark the last row of an episode and the last one that an action led
            # on from: nothing is bootstrapped from beyond an episode.
            arrays["masks"] = 1 - rows["terminals"] if bootstrap_through_success else rows["masks"]
        if has_goals:
            relabel_utils.add_oracle_reps(name, env, rows)
            arrays["goals"] = rows["oracle_reps"]
    except KeyError as error:
        raise ValueError(f"{file} does not fit {name!r}: it has no {error}.") from error
    return arrays


def ogbench_slices(
    folder: str | os.PathLike, name: str | None = None
) -> tuple[list[Path], list[Path]]:
    """The files of a 100M set, such as those in a folder `cube-quadruple-play-100m-v0`.

    **Arguments:**

    - `folder`: where they are.
    - `name`: what every file's name begins with, such as `cube-quadruple-play`. Without it every
        npz file of the folder is taken.

    **Returns:**

    `(training, validation)`: sorted by name, files that end in `-val.npz` apart.

    **Raises:**

    `FileNotFoundError` if there is no training file, naming the folder.
    """
    folder = Path(folder).expanduser()
    pattern = f"{name or ''}*.npz"
    files = sorted(folder.glob(pattern))
    validation = [file for file in files if file.name.endswith("-val.npz")]
    training = [file for file in files if file not in validation]
    if not training:
        raise FileNotFoundError(
            f"No training slices in {folder}: expected files {pattern}, as a folder of OGBench's "
            "100M sets has."
        )
    return training, validation


def _read(file: Path, *, has_state: bool) -> dict[str, np.ndarray]:
    import ogbench

    try:
        if not zipfile.is_zipfile(file):
            raise zipfile.BadZipFile("not a zip file")  # noqa: TRY301
        with open(file, "rb") as stream:  # NumPy leaves a damaged file open.
            _check_columns(file)
            rows = ogbench.load_dataset(stream, compact_dataset=True, add_info=has_state)
            as_flags("terminals", 1 - rows["valids"])
            return rows
    except KeyError as error:
        raise ValueError(f"{file} is no OGBench dataset: {error.args[0]}.") from error
    # What was written by somebody else is as it should be for them: nothing to be deleted.
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{file} is no OGBench dataset: {error}. Expected arrays of numbers: observations (N, "
            "observation), actions (N, action) and terminals (N,), 1 on the last row of each "
            "episode. For data in another layout there are flowguide.data.from_arrays and "
            "flowguide.data.from_transitions."
        ) from error
    # OGBench does not compare what it downloaded with the announced length.
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"{file} is damaged, perhaps by a download that was cut off ({error}). Delete it and "
            "download it again."
        ) from error


def _check_columns(file: Path) -> None:
    """What OGBench does not look at: arrays of numbers with one row for each step."""
    count = None
    for name, ndim in (("observations", 2), ("actions", 2), ("terminals", 1)):
        with contextlib.suppress(KeyError):
            shape, dtype = npz_header(file, name)
            if dtype.kind not in "biuf":
                raise ValueError(f"{name} is of {dtype}, which are no numbers")
            count = shape[0] if count is None and shape else count
            if len(shape) != ndim or shape[0] != count:
                raise ValueError(f"{name} has the shape {shape}")


@functools.lru_cache(maxsize=1)
def _environment(name: str) -> Any:
    """The name's environment, after a reset: at its task, where it has one."""
    check_name(name)
    with environments.global_state_kept():
        env = environments.make(name)
        environments.reset(env, 0)
    return env


def _find(base: str, folder: Path, files: list[Path], download: bool) -> None:
    """Makes sure that both files are there."""
    cause, outcome = None, ""
    if download and not all(map(Path.is_file, files)):
        import ogbench

        # OGBench leaves its files to the garbage collector, which an error's traceback keeps off.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                ogbench.download_datasets([base], str(folder))
            except (OSError, http.client.HTTPException) as error:
                traceback.clear_frames(error.__traceback__)
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                cause = error
                outcome = f", and the download failed ({type(error).__name__}: {error})"
    missing = [file.name for file in files if not file.is_file()]
    if not missing:
        return
    if base in RECIPES:
        command = f"flowguide collect {base} --episodes 200 --out {shlex.quote(str(folder))}"
        advice = f"Make the dataset here with `{command}`"
        if len(missing) < len(files):
            advice += ", which replaces the other file, too"
    else:
        import ogbench.utils

        advice = (
            "It cannot be made with `flowguide collect`. Get it from "
            f"{' and '.join(f'{ogbench.utils.DATASET_URL}/{name}' for name in missing)}"
        )
    raise FileNotFoundError(
        f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in {folder}{outcome}. "
        f"{advice}."
    ) from cause
