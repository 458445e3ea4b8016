"""Guidance beside policies that the same critic trained: one table from the plan's episodes, solved
in all and for each task, a training seed after the other.

Needs what `flowguide sweep examples/ogbench/rivals.toml --out runs/rivals` leaves.

    python examples/rivals.py --runs runs/rivals
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from flowguide.results import compare, Comparison, Condition, Episode, read_episodes

# Of guidance by costates each task has the weight that rivals_tuning.toml found.
COSTATE_WEIGHTS = {"cube-single": 0.1, "puzzle-3x3": 0.3, "pointmaze-medium": 1, "scene": 0.3}
UNGUIDED = Condition().label


@dataclasses.dataclass(frozen=True)
class Settings:
    """Prints a table of all ways of training and of guiding, on the same episodes."""

    runs: Path = Path("runs/rivals")
    """The folder of examples/ogbench/rivals.toml."""

    baseline: str = "cloned, qgf"
    """The row that differences are to."""


def main(settings: Settings) -> None:
    episodes = [
        arm
        for file in sorted((settings.runs / "evaluations").glob("*/*/*.jsonl"))
        for episode in read_episodes(file)
        if (arm := as_arm(episode)) is not None
    ]
    if not episodes:
        raise SystemExit(f"There are no episodes in {settings.runs / 'evaluations'}.")
    tasks = sorted({episode.task for episode in episodes})
    found = compare(episodes, Condition(settings.baseline), over_tasks=True)
    shown = ["all", f"difference to {settings.baseline}", "cost", *map(short, tasks)]
    print(f"| | {' | '.join(shown)} |\n{'|---' * (1 + len(shown))}|")
    for row in sorted(found, key=lambda row: -(row.success.rate if row.success else 0)):
        mine = [e for e in episodes if e.condition == row.condition and e.error is None]
        cells = [solved(mine), difference(row), cost(mine)]
        cells += [by_seed([e for e in mine if e.task == task]) for task in tasks]
        print(f"| {row.condition} | {' | '.join(cells)} |")


def as_arm(episode: Episode) -> Episode | None:
    """The episode under one name for how its policy was trained and guided; None for one that
    another has already."""
    training, label = episode.training, episode.condition.label
    if training == "agf":
        if label != f"agf relative {COSTATE_WEIGHTS[short(episode.task)]:g}":
            return None
        name = "cloned, agf"
    else:
        name = training if label == UNGUIDED else f"{training}, {label.removesuffix(' kappa 5')}"
    return dataclasses.replace(episode, condition=Condition(name), training="")


def short(task: str) -> str:
    return next(name for name in COSTATE_WEIGHTS if task.startswith(name))


def solved(episodes: Sequence[Episode]) -> str:
    return f"{sum(bool(e.success) for e in episodes)} of {len(episodes)}"


def by_seed(episodes: Sequence[Episode]) -> str:
    """How many were solved, of each training seed."""
    seeds = sorted({e.train_seed for e in episodes})
    counts = [sum(bool(e.success) for e in episodes if e.train_seed == seed) for seed in seeds]
    return " + ".join(map(str, counts))


def difference(row: Comparison) -> str:
    found = row.difference
    return "" if found is None else f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def cost(episodes: Sequence[Episode]) -> str:
    """Forward passes of one network for an action, critics of two."""
    costs = {e.cost.forwards() for e in episodes if e.cost is not None}
    return " to ".join(str(each) for each in sorted({min(costs), max(costs)})) if costs else ""


if __name__ == "__main__":
    main(tyro.cli(Settings))
