import functools
import os
from collections import deque
from collections.abc import Callable, Generator as Yields
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

import numpy as np

from .._checks import as_positive_int
from .._near import did_you_mean
from .._random import as_seed
from .._system.locks import alone_with
from .._system.processes import start_worker, why_it_died, without_interrupts, worker_context
from .._system.progress import progress_bar
from ._generate import Episode, Generator, Recipe, RECIPES, SUPPORTED
from ._names import dataset_name


def collect(
    dataset: str,
    episodes: int,
    out: str | os.PathLike,
    *,
    workers: int = 1,
    seed: int = 0,
    max_episode_steps: int | None = None,
    progress: bool = True,
) -> Path:
    """Makes an OGBench dataset with the oracles inside the ogbench package, without a network.

    Writes `<dataset>.npz` and `<dataset>-val.npz` in OGBench's format, which `load_ogbench` and
    `ogbench.make_env_and_datasets` read. Files of that name are replaced. The same seed gives the
    same bytes for any number of workers.

    The workers are processes that import the calling script: call this under
    `if __name__ == "__main__":`. All episodes are held in memory until they are written.

    **Arguments:**

    - `dataset`: such as `cube-single-play-v0`, `scene-noisy-v0`, `puzzle-3x3-play-v0` or
        `pointmaze-medium-navigate-v0`.
    - `episodes`: of the training file. The validation file has a tenth of it, at least 1.
    - `out`: the folder for the files; made if missing.
    - `workers`: how many processes play episodes.
    - `seed`: an integer from 0 to 2**31 - 1. Episode number `i` follows from `(seed, i)` alone;
        those of the validation file are numbered after those of the training file.
    - `max_episode_steps`: the length of an episode; by default that of the published dataset.
    - `progress`: whether to show a progress bar.

    **Returns:**

    The path of the training file.

    **Raises:**

    `ValueError` for a dataset that cannot be made this way (saying which can) or an argument out of
    range, `NotADirectoryError` if `out` is a file, `RuntimeError` if a worker process dies.
    """
    recipe = _recipe(dataset)
    train = as_positive_int("episodes", episodes)
    workers = as_positive_int("workers", workers)
    seed = as_seed("seed", seed)
    steps = recipe.steps
    if max_episode_steps is not None:
        steps = as_positive_int("max_episode_steps", max_episode_steps)
    file = _folder(out) / f"{dataset}.npz"
    total = train + max(train // 10, 1)
    play = functools.partial(_play, recipe, steps, seed)
    done: list[Episode] = []
    with (
        alone_with(file, "collecting into"),
        # Closed at once, also on Ctrl-C: else Python would play all episodes before it exits.
        closing(_in_processes(play, total, min(workers, total))) as played,
        progress_bar("episodes", enabled=progress) as bar,
    ):
        task = bar.add_task(dataset, total=total, note="")
        for episode in played:
            done.append(episode)
            bar.advance(task)
        _write_both(file, done[:train], done[train:])
    return file


def _write_both(file: Path, train: list[Episode], validation: list[Episode]) -> None:
    """Whenever this process is killed: where there is a training file, it is whole, and there is
    the validation file that belongs to it. So an older one goes first and the new one comes last.
    """
    validation_file = file.with_name(f"{file.stem}-val.npz")
    _write(_partial(validation_file), validation)
    _write(_partial(file), train)
    file.unlink(missing_ok=True)
    os.replace(_partial(validation_file), validation_file)
    os.replace(_partial(file), file)


def check_collectable(dataset: str) -> None:
    """Refuses a dataset that `collect` cannot make.

    **Arguments:**

    - `dataset`: its name.

    **Raises:**

    `ValueError` that says why, and which it can make.
    """
    _recipe(dataset)


def _recipe(dataset: str) -> Recipe:
    if dataset in RECIPES:
        return RECIPES[dataset]
    hint = ""
    if dataset_name(dataset) in RECIPES:
        reason = f"is a task. Its dataset is {dataset_name(dataset)!r}"
    elif dataset.startswith(("visual-", "powderworld-")):
        reason = "is made of pixels, not of states, and cannot be made here"
    elif dataset.startswith(("ant", "humanoid")):
        reason = (
            "was played by trained networks that are not in the ogbench package, and cannot be "
            "made here: download it with `ogbench.download_datasets`"
        )
    else:
        reason = "is no dataset that can be made here"
        hint = did_you_mean(dataset, RECIPES)
    raise ValueError(f"{dataset!r} {reason}. Expected one of {SUPPORTED}.{hint}")


def _folder(out: str | os.PathLike) -> Path:
    folder = Path(out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"out must be a folder, but {folder} is a file.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.cache
def _generator(recipe: Recipe, steps: int) -> Generator:
    """This process's only environment: to build one takes longer than an episode."""
    return Generator(recipe, steps)


def _play(recipe: Recipe, steps: int, seed: int, index: int) -> Episode:
    return _generator(recipe, steps).episode(seed, index)


def _in_processes(
    play: Callable[[int], Episode], total: int, workers: int
) -> Yields[Episode, None, None]:
    """Yields `play(0)`, `play(1)`, ... in order.

    One worker is a process, too: `play` reseeds NumPy's global state, which the caller's process
    may be using. They are never forked from the caller: it may hold JAX's threads, and a fork of
    those can hang.
    """
    pool = ProcessPoolExecutor(
        workers,
        mp_context=worker_context(),
        initializer=start_worker,
    )
    try:
        # Not `map`: it would cancel what the pool's thread is just declaring broken.
        with without_interrupts():
            played = deque(pool.submit(play, index) for index in range(total))
        while played:
            yield played.popleft().result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"A worker process died, and no file was written. {why_it_died('the collection')}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _partial(file: Path) -> Path:
    return file.with_name(file.name + ".partial")


def _write(file: Path, episodes: list[Episode]) -> None:
    """Joins the episodes, emptying them, in a file that is on the disk when this returns."""
    # Key by key, so that the data are never in memory twice.
    arrays = {
        key: np.concatenate([episode.pop(key) for episode in episodes]) for key in list(episodes[0])
    }
    with open(file, "wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
