"""Times training on slices that stream in the background against training on one resident slice.

Both train flow matching and IQL together, in turns. The slices are made here: npz files of random
numbers, which compress as badly as data can.

    python benchmarks/streaming.py
"""

import dataclasses
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import tyro
from measure import print_machine
from training import ACTION, GAMMA, HORIZON, make_learner, OBSERVATION

from flowguide.data import SliceStream, Windows
from flowguide.train import (
    init,
    Jointly,
    train,
    TrainState,
)

MEBI = 2**20


@dataclasses.dataclass(frozen=True)
class Settings:
    """Times training on streaming slices."""

    slices: int = 4
    """Files in the dataset."""

    episodes: int = 1000
    """Episodes of 1000 actions in each."""

    every: int = 1000
    """Updates on each slice."""

    visits: int = 2
    """Slices in each turn."""

    rounds: int = 3
    """Turns of each kind."""

    batch_size: int = 256
    """Windows in a batch."""

    hidden: tuple[int, ...] = (256, 256, 256)
    """Hidden sizes of all networks."""

    compressed: bool = True
    """Whether the files are compressed, as OGBench's are."""

    all_slices: int = 100
    """Slices in the dataset whose size is printed for comparison."""


def write_slice(file: Path, seed: int, episodes: int, compressed: bool, length: int = 1000) -> None:
    rng = np.random.default_rng(seed)
    size = episodes * (length + 1)
    ends = np.zeros(size, bool)
    ends[length :: length + 1] = True
    save = np.savez_compressed if compressed else np.savez
    save(
        file,
        observations=rng.standard_normal((size, OBSERVATION), np.float32),
        actions=2 * rng.random((size, ACTION), np.float32) - 1,
        rewards=-np.ones(size, np.float32),
        masks=np.ones(size, np.float32),
        ends=ends,
    )


def write_slices(folder: Path, settings: Settings) -> list[Path]:
    """In another process, so that this one's peak memory is that of training alone."""
    files = [folder / f"slice-{i}.npz" for i in range(settings.slices)]
    for i, file in enumerate(files):
        process = multiprocessing.get_context("spawn").Process(
            target=write_slice, args=(file, i, settings.episodes, settings.compressed)
        )
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f"{file} could not be written.")
    return files


def load(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as arrays:
        return dict(arrays)


def bytes_on_device(tree: object) -> int:
    return sum(array.nbytes for array in jax.tree.leaves(eqx.filter(tree, eqx.is_array)))


@dataclasses.dataclass(frozen=True)
class Turn:
    seconds: float
    waited: float
    first_load: float
    slice_bytes: int


def turn(
    learner: Jointly, files: list[Path], state: TrainState, settings: Settings
) -> tuple[TrainState, Turn]:
    """Trains for that many visits, on a slice that stays where there is one file."""
    key = jax.random.key(1)
    start = int(state.step)
    stop = start + settings.visits * settings.every
    options = {"every": settings.every, "num_rows": settings.episodes * 1001}
    with SliceStream(files, load, lambda d: Windows(d, HORIZON, GAMMA), **options) as stream:
        size = bytes_on_device(stream.at(start))
        before = time.perf_counter()
        state = train(
            learner,
            stream,
            steps=stop,
            batch_size=settings.batch_size,
            key=key,
            log_every=settings.every,
            state=state,
        )
        jax.block_until_ready(state)
        # There are as many waits as visits: the one after the last visit belongs to it.
        stream.at(stop)
        seconds = time.perf_counter() - before
        return state, Turn(seconds, stream.waited, stream.first_load, size)


def peak_memory() -> float:
    """The most memory that this process ever had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEBI if sys.platform == "darwin" else peak / 1024


def main(settings: Settings) -> None:
    print_machine()
    learner = make_learner(settings.hidden)
    updates = settings.visits * settings.every
    with tempfile.TemporaryDirectory() as folder:
        files = write_slices(Path(folder), settings)
        on_disk = sum(file.stat().st_size for file in files) / len(files)
        at_start = peak_memory()
        state = init(learner, jax.random.key(0))
        # Compiles.
        state, _ = turn(learner, files[:1], state, dataclasses.replace(settings, visits=1))
        resident_peak = peak_memory()
        print(f"{'':>10} {'ms/update':>10} {'waiting':>8} {'first load':>12}")
        found: dict[str, list[Turn]] = {"streaming": [], "resident": []}
        for _ in range(settings.rounds):
            for name, some in (("streaming", files), ("resident", files[:1])):
                state, one = turn(learner, some, state, settings)
                found[name].append(one)
                print(
                    f"{name:>10} {one.seconds / updates * 1e3:10.2f} "
                    f"{one.waited / one.seconds:8.2%} {one.first_load:10.2f} s",
                    flush=True,
                )
    peak = peak_memory()

    size = found["streaming"][0].slice_bytes
    waiting = sum(t.waited for t in found["streaming"]) / sum(t.seconds for t in found["streaming"])
    ratio = np.median([s.seconds / r.seconds for s, r in zip(*found.values(), strict=True)])
    print(
        f"\n{settings.rounds} rounds of {settings.visits} visits of {settings.every} updates, "
        f"batch {settings.batch_size}, {settings.slices} slices of {settings.episodes * 1001} rows"
        f" ({on_disk / MEBI:.0f} MiB on disk)\n"
        f"time spent waiting for data: {waiting:.2%} (to reach: under 2%); "
        f"streaming takes {ratio:.2f} times as long as resident data\n"
        f"device memory: {size / MEBI:.0f} MiB for a slice, {2 * size / MEBI:.0f} MiB for two, "
        f"{settings.all_slices * size / MEBI:.0f} MiB for {settings.all_slices} resident slices\n"
        f"peak memory of the process: {peak:.0f} MiB ({resident_peak:.0f} MiB with one resident "
        f"slice, {at_start:.0f} MiB before any)"
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
