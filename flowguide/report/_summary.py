"""All numbers of a report, for other programs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from .._cost import CRITICS
from .._results.between import Between
from .._results.bootstrap import RESAMPLES
from .._results.compare import Comparison
from .._results.statistics import CONFIDENCE
from .._system.versions import versions
from ._findings import Findings
from ._sections import Section


def summary_of(findings: Findings, parts: Sequence[Section], images: Sequence[str]) -> dict:
    """What `summary.json` holds."""
    return {
        "verdicts": [{"about": about, "verdict": text} for about, text in findings.verdicts],
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "critic_networks": CRITICS,
        "groups": [
            {
                "task": each.group.task,
                "training": each.group.training,
                "kind": each.group.kind,
                "baseline": str(each.baseline),
                "verdict": each.verdict,
                "conditions": [_row(row) for row in each.rows],
                "between": [_between(pair) for pair in each.between],
            }
            for each in findings.compared
        ],
        "over_tasks": [dataclasses.asdict(each) for each in findings.tasks],
        "between_trainings": [dataclasses.asdict(each) for each in findings.trainings],
        "doubts": findings.doubts,
        "files": [dataclasses.asdict(file) for file in findings.files],
        "runs": [{**vars(run), "folder": str(run.folder)} for run in findings.runs],
        "tuned": [
            {
                "task": tuned.task,
                "training": tuned.training,
                "chosen": [str(condition) for condition in tuned.chosen],
                "rounds": [
                    {"conditions": conditions, "episodes": episodes}
                    for conditions, episodes in tuned.rounds
                ],
                "validation": [_row(row) for row in rows],
            }
            for tuned, rows in findings.tuned
        ],
        "errors": [
            {
                "task": e.task,
                "training": e.training,
                "condition": str(e.condition),
                "train_seed": e.train_seed,
                "episode_seed": e.episode_seed,
                "error": e.error,
            }
            for e in findings.errors
        ],
        "notes": {part.table.title: part.table.notes for part in parts},
        "pictures": [f"{name}.png" for name in images],
        "versions": versions(),
    }


def _row(row: Comparison) -> dict[str, Any]:
    spent: Any = None
    if row.cost is not None:
        spent = {**dataclasses.asdict(row.cost), "forwards": row.cost.forwards()}
    return {"name": str(row.condition), **dataclasses.asdict(row), "cost": spent}


def _between(pair: Between) -> dict[str, Any]:
    found = {name: getattr(pair.row, name) for name in ("pairs", "gained", "lost")}
    for name in ("difference", "return_difference"):
        estimate = getattr(pair.row, name)
        found[name] = estimate and dataclasses.asdict(estimate)
    return {"first": str(pair.row.condition), "second": str(pair.other), **found}
