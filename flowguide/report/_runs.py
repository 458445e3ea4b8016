"""The training runs that played, where their folders are at hand."""

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .._agent.agents import load_agents
from .._results.tables import mark, number, Table
from .._run_folder import RunFolder
from ..runs import WATCHING
from ._read import Group, Results

# They have a column of their own, or say nothing of what was learnt.
_UNTOLD = {*WATCHING, "task", "steps", "data_sha256", "versions", "log_every", "keep"}


@dataclasses.dataclass(frozen=True)
class FoundRun:
    """A training run that played episodes of a report.

    **Attributes:**

    - `folder`: of the run.
    - `task`, `training`: as of the episodes.
    - `seeds`: of its training seeds those that played.
    """

    folder: Path
    task: str
    training: str
    seeds: tuple[int, ...]


def find_runs(results: Results, given: Iterable[str | os.PathLike] | None) -> list[FoundRun]:
    """The runs whose policies and critics are those that played.

    **Arguments:**

    - `results`: what was read. Lines of flowguide 0.1.0 name no model, so their runs are not found.
    - `given`: folders of runs; None for those near the files: at most two folders down in their
        folders, or else in the folders above these.

    **Raises:**

    `ValueError` for a given folder that is no finished run, or none that played.
    """
    if given is None:
        return _beside(results)
    found = []
    for folder in (Path(each).expanduser() for each in given):
        matching = _matching(folder, results.groups, is_given=True)
        if not matching:
            raise ValueError(
                f"{folder} is no finished run whose policies and critics played these episodes."
            )
        found += matching
    return found


def _beside(results: Results) -> list[FoundRun]:
    """The runs in the folders of the files; where there are none, in the folders above these."""
    found: dict[tuple[str, str, int], FoundRun] = {}
    folders = dict.fromkeys(Path(file.path).resolve().parent for file in results.files)
    for folder in folders:
        for base in (folder, folder.parent):
            near = sorted(
                settings.parent
                for below in ("", "*/", "*/*/")
                for settings in base.glob(below + RunFolder(base).settings_file.name)
            )
            matching = [run for each in near for run in _matching(each, results.groups)]
            for run in matching:
                # A copy of a run is the same run.
                for seed in run.seeds:
                    found.setdefault((run.task, run.training, seed), run)
            if matching:
                break
    unique = {(run.folder, run.task, run.training): run for run in found.values()}
    return list(unique.values())


def _matching(folder: Path, groups: Sequence[Group], *, is_given: bool = False) -> list[FoundRun]:
    run = RunFolder(folder)
    try:
        task, seeds = run.settings().get("task"), run.seeds()
        # Loading takes a while: of what lies near, only what was trained for the task.
        mine = [group for group in groups if seeds and (is_given or group.task == task)]
        models = {agent.train_seed: agent.model for agent in load_agents(folder)} if mine else {}
    except (ValueError, OSError, AttributeError):
        # Whatever else is called settings.json, or a run that this flowguide cannot read.
        return []
    found: dict[tuple[str, str], set[int]] = {}
    for group in mine:
        played = {(e.train_seed, e.model) for e in group.episodes if e.model}
        same = {seed for seed, model in models.items() if (seed, model) in played}
        if same:
            found.setdefault((group.task, group.training), set()).update(same)
    return [FoundRun(folder, *name, tuple(sorted(same))) for name, same in found.items()]


def runs_table(runs: Sequence[FoundRun]) -> Table:
    """What the runs were trained with, as their folders say."""
    rows = []
    for run in runs:
        settings = RunFolder(run.folder).settings()
        data = str(settings.get("data_sha256") or "-")[:12]
        seeds = ", ".join(map(str, run.seeds))
        steps = number(settings.get("steps"))
        rows.append((str(run.folder), run.task, seeds, steps, data, _told(settings)))
    return Table(
        "Training runs",
        ("run", "task", "training seeds", "updates", "SHA-256 of the data", "settings"),
        rows,
        tuple(mark(None) for _ in rows),
        (
            "Folders whose policies and critics are those that played, by their hashes. Settings "
            "that are off are not listed.",
        ),
    )


def _told(settings: dict[str, Any]) -> str:
    told = {k: v for k, v in settings.items() if k not in _UNTOLD and v not in (None, False, [])}
    return ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in told.items()
    )
