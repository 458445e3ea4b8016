import contextlib
import hashlib
import importlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .._system.files import replace_file
from .._system.json_lines import read_json_lines

Tracker = Literal["wandb", "tensorboard"]


class Metrics:
    """The metrics of a training run: JSON Lines first, and trackers where asked for.

    A line has `step`, `seed` and numbers by name. A line that could not be written (a full disk) is
    tried again with the next.

    **Arguments:**

    - `file`: lines of updates after `step` are dropped from it: training goes on from there.
    - `step`: the number of updates done.
    - `trackers`: names of trackers that see every line too; each has to be installed.
    - `settings`: what the trackers record about the run.
    - `on_message`: called with a sentence when a line could not be written.
    """

    def __init__(
        self,
        file: Path,
        *,
        step: int,
        trackers: Sequence[Tracker] = (),
        settings: dict[str, Any],
        on_message: Callable[[str], Any],
    ):
        self._file = file
        self._on_message = on_message
        self._waiting: list[str] = []
        kept = [line for line in read_metrics(file) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        replace_file(file, lambda path: path.write_text(text))
        self._trackers = {name: _connected(name, file.parent, settings, step) for name in trackers}

    def write(self, step: int, seed: int, values: dict[str, float]) -> None:
        """One line."""
        self._waiting.append(json.dumps({"step": step, "seed": seed, **values}) + "\n")
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.log(step, {f"seed_{seed}/{key}": value for key, value in values.items()})
            except Exception as error:  # Whatever a service raises; training outlives it.
                del self._trackers[name]
                self._on_message(f"Tracking with {name} failed and was stopped: {error}")
        size = self._file.stat().st_size if self._file.exists() else 0
        try:
            with self._file.open("a") as file:
                file.write("".join(self._waiting))
            self._waiting.clear()
        except OSError as error:
            # Half a line may be there: without it, the next attempt starts clean.
            with contextlib.suppress(OSError):
                os.truncate(self._file, size)
            self._on_message(
                f"{self._file} could not be written: {error}. Its lines wait for the next."
            )

    def close(self) -> None:
        for tracker in self._trackers.values():
            tracker.close()


def read_metrics(file: str | os.PathLike) -> list[dict[str, Any]]:
    """The lines of a metrics file.

    **Arguments:**

    - `file`: the `metrics.jsonl` of a run.

    **Returns:**

    A dictionary for each line, with `step`, `seed` and the losses; none if there is no such file.
    A last line without its end is what a killed process leaves: it is left out.
    """
    return [line for _, line in read_json_lines(Path(file), "line of metrics")]


class _Connection(NamedTuple):
    log: Callable[[int, dict[str, float]], Any]
    close: Callable[[], Any]


def _wandb(folder: Path, settings: dict[str, Any], step: int) -> _Connection:
    del step  # It ignores steps that it has seen.
    run = _imported("wandb").init(
        project="flowguide",
        name=folder.name,
        dir=folder,
        config=settings,
        # One run of the tracker for one folder, however often training was interrupted.
        id=hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16],
        resume="allow",
    )
    return _Connection(lambda step, values: run.log(values, step=step), run.finish)


def _tensorboard(folder: Path, settings: dict[str, Any], step: int) -> _Connection:
    # What an interrupted run wrote after its last checkpoint is written again.
    writer = _imported("tensorboard").SummaryWriter(
        str(folder / "tensorboard"), purge_step=step + 1 if step else None
    )
    writer.add_text("settings", json.dumps(settings, indent=2))

    def log(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return _Connection(log, writer.close)


# Of each tracker: its package, and what connects to it.
_TRACKERS = {
    "wandb": ("wandb", _wandb),
    "tensorboard": ("tensorboardX", _tensorboard),
}


def _connected(tracker: Tracker, folder: Path, settings: dict[str, Any], step: int) -> _Connection:
    try:
        return _TRACKERS[tracker][1](folder, settings, step)
    except Exception as error:  # Of a class of its own, such as for a key that is missing.
        raise RuntimeError(
            f"{tracker} could not be started: {type(error).__name__}: {error}. Without --track "
            f"{tracker} training goes on from where it is; metrics.jsonl has every number."
        ) from error


def check_trackers(trackers: Sequence[Tracker]) -> None:
    """Refuses a tracker that is not installed with a `ModuleNotFoundError` that says how to."""
    for name in trackers:
        _imported(name)


def _imported(tracker: Tracker) -> Any:
    package, _ = _TRACKERS[tracker]
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Tracking with {tracker} needs the package {package}: "
            f"pip install 'flowguide[{tracker}]'. Without it, metrics.jsonl has every number."
        ) from error
