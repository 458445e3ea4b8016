import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from .._system.processes import cores
from .._system.progress import make_console, printer
from ._terminal import next_command


@dataclasses.dataclass(frozen=True)
class Collect:
    """Makes an OGBench dataset with the oracles inside the ogbench package, without a network.

    Writes DATASET.npz and DATASET-val.npz (a tenth of the episodes) in OGBench's own format. The
    same seed gives the same files, whatever the number of workers.
    """

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
    """The dataset's name, such as cube-single-play-v0, scene-play-v0, puzzle-3x3-noisy-v0 or
    pointmaze-medium-navigate-v0."""

    episodes: int
    """Episodes of the training file (the published sets have 1000 and more)."""

    out: Path
    """The folder that the files go into; made if missing."""

    workers: int | None = None
    """Worker processes. By default one for each core."""

    seed: int = 0
    """Every random number follows from it."""

    def run(self) -> None:
        from ..ogbench import collect

        on_message = printer(make_console())
        workers = cores() if self.workers is None else self.workers
        file = collect(self.dataset, self.episodes, self.out, workers=workers, seed=self.seed)
        on_message(f"Wrote {file} and {file.with_name(file.stem + '-val.npz').name}.")
        name = self.dataset.removesuffix("-v0")
        options = ("--dataset-dir", self.out, "--preset", "small", "--out", f"runs/{name}")
        on_message(next_command("train", f"{name}-singletask-task1-v0", *options))
