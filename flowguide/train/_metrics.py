import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from .._files import replace_file

Tracker = Literal["wandb", "tensorboard", "trackio"]
Log = Callable[[int, dict[str, float]], None]


class Metrics:
    """The metrics of a training run: JSON Lines first, and trackers where asked for.

    A line has `step`, `seed` and numbers by name. A line that could not be written (a full disk) is
    tried again with the next.

    **Arguments:**

    - `file`: lines of updates after `step` are dropped from it: training goes on from there.
    - `step`: the number of updates done.
    - `trackers`: names of trackers that see every line too; each has to be installed.
    - `settings`: what the trackers record about the run.
    - `tell`: called with a sentence when a line could not be written.

    **Raises:**

    `ModuleNotFoundError` for a tracker that is not installed, saying how to install it.
    """

    def __init__(
        self,
        file: Path,
        *,
        step: int,
        trackers: Sequence[Tracker] = (),
        settings: dict[str, Any],
        tell: Callable[[str], Any],
    ):
        self._file = file
        self._tell = tell
        self._waiting: list[str] = []
        kept = [line for line in read_metrics(file) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        replace_file(file, lambda path: path.write_text(text))
        self._logs = [_TRACKERS[name](file.parent, settings) for name in trackers]

    def write(self, step: int, seed: int, values: dict[str, float]) -> None:
        """One line."""
        self._waiting.append(json.dumps({"step": step, "seed": seed, **values}) + "\n")
        for log in self._logs:
            log(step, {f"seed_{seed}/{name}": value for name, value in values.items()})
        size = self._file.stat().st_size if self._file.exists() else 0
        try:
            with self._file.open("a") as file:
                file.write("".join(self._waiting))
            self._waiting.clear()
        except OSError as error:
            # Half a line may be there: without it, the next attempt starts clean.
            with contextlib.suppress(OSError):
                os.truncate(self._file, size)
            self._tell(f"{self._file} could not be written: {error}. Its lines wait for the next.")


def read_metrics(file: str | os.PathLike) -> list[dict[str, Any]]:
    """The lines of a metrics file; none if there is no such file. A last line without its end is
    what a killed process leaves: it is left out."""
    path = Path(file)
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def _wandb(folder: Path, settings: dict[str, Any]) -> Log:
    wandb = _imported("wandb", "wandb")
    run = wandb.init(
        project="flowguide",
        name=folder.name,
        dir=folder,
        config=settings,
        # One run of the tracker for one folder, however often training was interrupted.
        id=hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16],
        resume="allow",
    )
    return lambda step, values: run.log(values, step=step)


def _trackio(folder: Path, settings: dict[str, Any]) -> Log:
    trackio = _imported("trackio", "trackio")
    trackio.init(project="flowguide", name=folder.name, config=settings, resume="allow")
    return lambda step, values: trackio.log(values, step=step)


def _tensorboard(folder: Path, settings: dict[str, Any]) -> Log:
    tensorboard = _imported("tensorboardX", "tensorboard")
    writer = tensorboard.SummaryWriter(folder / "tensorboard")
    writer.add_text("settings", json.dumps(settings, indent=2))

    def log(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return log


_TRACKERS = {"wandb": _wandb, "tensorboard": _tensorboard, "trackio": _trackio}


def _imported(module: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Tracking with {extra} needs the package {module}: pip install 'flowguide[{extra}]'. "
            "Without it, metrics.jsonl has every number."
        ) from error
