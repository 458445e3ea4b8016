import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._run_folder import RunFolder
from .._save import save
from ..train import Report, TrainState
from ._claim import alone_in, check_same_run, is_finished, write_json
from ._metrics import check_trackers
from ._prepare import prepare, Prepared
from ._settings import Settings
from ._training import train_on


def run(
    settings: Settings,
    out: str | os.PathLike,
    *,
    on_message: Callable[[str], Any] = print,
    progress: bool = True,
    on_report: Callable[[Report], Any] | None = None,
) -> Path:
    """Trains what the settings say, into a folder. Called again, it goes on from what is there.

    Killed at any moment and called again with the same settings, it ends with the same parameters,
    bit for bit on one machine, as if it had never been killed.

    **Arguments:**

    - `settings`: everything that the result follows from.
    - `out`: the folder of the run. It gets `settings.json`, `metrics.jsonl`, `checkpoints/` and,
        for each seed, `seed_N/`, from where `flowguide.load(out)` takes policy and critic.
    - `on_message`: called with each sentence for the user.
    - `progress`: whether there is a progress bar.
    - `on_report`: called with each `flowguide.train.Report`, after its line is written: for
        trackers that `settings.track` does not know.

    **Returns:**

    The folder.

    **Raises:**

    `ValueError` for settings that make no sense or differ from the folder's earlier ones; what
    `load_ogbench` raises; `RuntimeError` while another process trains in the folder;
    `FloatingPointError` when a loss or a parameter is not finite, naming the update, the learner
    and the last good checkpoint.
    """
    settings.check()
    check_trackers(settings.track)
    folder = RunFolder(Path(out).expanduser())
    check_same_run(folder, settings.to_json(), settings)
    if is_finished(folder, settings):
        on_message(
            f"{folder.path} is finished already: flowguide.load({str(folder.path)!r}) has its "
            "policy and critic."
        )
        return folder.path
    prepared = prepare(settings, folder, on_message)
    folder.path.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        options = {"on_message": on_message, "progress": progress, "on_report": on_report}
        _write(prepared, folder, train_on(prepared, folder, **options))
    return folder.path


def _write(prepared: Prepared, folder: RunFolder, state: TrainState) -> None:
    """What was learnt; the file that says so comes last."""
    observations = prepared.some_observations()
    for seed, (policy, critic) in zip(prepared.seeds, prepared.models(state), strict=True):
        save(folder.of_seed(seed), policy, critic, observations=observations)
    finished = {"steps": prepared.settings.steps, "seeds": prepared.seeds}
    write_json(folder.finished_file, finished)
