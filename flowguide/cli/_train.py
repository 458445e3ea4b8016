import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from .._run_folder import RunFolder
from .._system.progress import make_console, printer
from ..runs import preset, Settings
from ._terminal import next_command


@dataclasses.dataclass(frozen=True)
class Train:
    """Trains a flow policy and a critic on an OGBench task, offline, and can be killed at any time.

    The folder OUT gets the settings, metrics.jsonl, checkpoints, and the finished policy and critic
    of each seed, which flowguide.load(OUT) gives back. The same command goes on from the last
    checkpoint. Data that are missing are downloaded; `flowguide collect` makes them without a
    network.
    """

    settings: Settings

    out: Path
    """The folder of the run; made if missing."""

    preset: Literal["default", "paper", "small"] = "default"
    """Other defaults for the flags below: paper (1024x4, batch 1024, discount 0.999, 500,000 steps)
    or small (256x3, discount 0.98, 16,000 steps). `--preset paper --help` shows them."""

    def run(self) -> None:
        from ..runs import run

        on_message = printer(make_console())
        # Of a run that was finished before, the library says the same.
        is_new = not RunFolder(self.out.expanduser()).finished()
        run(self.settings, self.out, on_message=on_message)
        if is_new:
            on_message(f"Done: flowguide.load({str(self.out)!r}) gives policy and critic.")
        on_message(next_command(*self._next()))

    def _next(self) -> list[str | Path]:
        settings, out = self.settings, self.out
        if settings.critic == "none":
            # Chunks of a critic are those of its policy.
            options = ["--horizon", str(settings.horizon), "--dataset-dir", settings.dataset_dir]
            return ["train", settings.task, "--frozen", out, *options, "--out", out / "critic"]
        method = [] if settings.method == "qgf" else ["--method", settings.method]
        return ["evaluate", out, *method, "--out", out / "results.jsonl"]


def train_default(arguments: Sequence[str]) -> Train:
    """The command with the defaults of the preset that the arguments name."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--preset", default="default")
    name = parser.parse_known_args(arguments)[0].preset
    # A wrong name is refused with the other flags.
    name = name if name in ("paper", "small") else "default"
    missing = tyro.MISSING
    return Train(preset(name, missing), missing, name)
