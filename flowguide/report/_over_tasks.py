import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

from .._results.conditions import Condition, guided_among, is_choice
from .._results.iqm import interquartile_difference, interquartile_mean, Scores
from .._results.profiles import probability_of_improvement
from .._results.statistics import Estimate
from .._results.tables import change, judged
from .._results.verdict import answer, ANSWERS, seeds_text
from ._compared import Compared, MAX_BETWEEN
from ._pooled import Pooled, pooled_of
from ._read import Group, Kind

SeedScores: TypeAlias = dict[str, dict[int, float]]
"""The score of each training seed on each task."""


@dataclasses.dataclass(frozen=True)
class Overall:
    """What a condition reached over several tasks.

    **Attributes:**

    - `condition`: what was played; of a tuned method, on one of the tasks.
    - `name`: how it is called. A tuned method has another weight on each task.
    - `iqm`: the interquartile mean of its success rates; its count is the number of runs.
    - `difference`: to that of the baseline; None for itself, and without the same runs.
    - `scores`: the success rate of each training seed on each task.
    """

    condition: Condition
    name: str
    iqm: Estimate
    difference: Estimate | None
    scores: SeedScores


@dataclasses.dataclass(frozen=True)
class Tasks:
    """All tasks that one way of training was played on.

    **Attributes:**

    - `training`, `kind`: as of the groups.
    - `tasks`: their names.
    - `overall`: the conditions that were played on all of them, by two training seeds or more.
    - `left_out`: how many others there are.
    - `baseline`: the name of what they are compared with.
    - `between`: the best of each method against each other and the baseline.
    - `pooled`: their episodes taken as one; None where they have too little in common.
    - `verdict`: the answer, in a sentence.
    """

    training: str
    kind: Kind
    tasks: tuple[str, ...]
    overall: list[Overall]
    left_out: int
    baseline: str
    between: list["OverallBetween"]
    pooled: Pooled | None
    verdict: str

    @property
    def name(self) -> str:
        return f"Over {len(self.tasks)} tasks"

    @property
    def about(self) -> str:
        """What its verdict is about, besides the tasks."""
        training = f"Training {self.training}" if self.training else "All tasks"
        return f"{training}, test episodes" if self.kind == "test" else training


@dataclasses.dataclass(frozen=True)
class OverallBetween:
    """Two methods over several tasks; the first has the higher interquartile mean.

    **Attributes:**

    - `first`, `second`: their names.
    - `probability`: that a run of the first is better than one of the second on the same task.
    - `difference`: of their interquartile means.
    """

    first: str
    second: str
    probability: Estimate
    difference: Estimate


def over_tasks(
    compared: Sequence[Compared], name: Callable[[Condition, Group], str]
) -> list[Tasks]:
    """Where a way of training was played on several tasks: what it reached over them. `name` is as
    of `namer`."""
    together: dict[tuple[str, Kind], list[Compared]] = {}
    for each in compared:
        together.setdefault((each.group.training, each.group.kind), []).append(each)
    several_tasks = []
    for (training, kind), several in together.items():
        if len(several) < 2:
            continue
        tasks = tuple(each.group.task for each in several)
        baselines = {name(each.baseline, each.group) for each in several}
        baseline = baselines.pop() if len(baselines) == 1 else ""
        overall, left_out = _overall(several, name, baseline)
        pooled = pooled_of(several, name, baseline=baseline)
        if overall:
            said = _verdict(several, overall, baseline)
        else:
            said = pooled.verdict if pooled else _each(several)
        several_tasks.append(
            Tasks(
                *(training, kind, tasks, overall, left_out, baseline),
                *(_between(overall), pooled, said),
            )
        )
    return several_tasks


def _overall(
    several: Sequence[Compared], name: Callable[[Condition, Group], str], baseline: str
) -> tuple[list[Overall], int]:
    """The conditions that all tasks have, over all of them, and the number of the others."""
    scores: dict[str, SeedScores] = {}
    conditions: dict[str, Condition] = {}
    for each in several:
        for row in each.rows:
            called = name(row.condition, each.group)
            conditions.setdefault(called, row.condition)
            by_seed = {seed: success.rate for seed, success in row.by_seed.items()}
            scores.setdefault(called, {})[each.group.task] = by_seed
    complete = {
        called: by_task
        for called, by_task in scores.items()
        if len(by_task) == len(several) and min(map(len, by_task.values())) > 1
    }
    rows = []
    for called, by_task in complete.items():
        difference = None
        if called != baseline and baseline in complete:
            difference = _difference(by_task, complete[baseline])
        iqm = interquartile_mean(in_order(by_task))
        rows.append(Overall(conditions[called], called, iqm, difference, by_task))
    return rows, len(scores) - len(complete)


def _difference(first: SeedScores, second: SeedScores) -> Estimate | None:
    if _runs(first) != _runs(second):
        return None
    return interquartile_difference(in_order(first), in_order(second))


def _runs(by_task: SeedScores) -> dict[str, list[int]]:
    return {task: sorted(by_seed) for task, by_seed in by_task.items()}


def in_order(by_task: SeedScores) -> Scores:
    """The scores of each task in the order of the training seeds."""
    return {task: [by_seed[s] for s in sorted(by_seed)] for task, by_seed in by_task.items()}


def best_of_curves(overall: Sequence[Overall]) -> list[Overall]:
    """Of each method the weight with the highest interquartile mean; the highest first."""
    series: dict[str, list[Overall]] = {}
    for row in overall:
        series.setdefault(row.condition.series, []).append(row)
    best = [max(several, key=lambda row: row.iqm.value) for several in series.values()]
    return sorted(best, key=lambda row: row.iqm.value, reverse=True)


def _between(overall: Sequence[Overall]) -> list[OverallBetween]:
    best = best_of_curves(overall)[:MAX_BETWEEN]
    found = []
    for first, second in itertools.combinations(best, 2):
        difference = _difference(first.scores, second.scores)
        if difference is not None:
            scores = in_order(first.scores), in_order(second.scores)
            probability = probability_of_improvement(*scores)
            found.append(OverallBetween(first.name, second.name, probability, difference))
    return found


def _verdict(several: Sequence[Compared], overall: Sequence[Overall], baseline: str) -> str:
    """The sentence of `flowguide._results.verdict`, with interquartile means."""
    base = next((row for row in overall if row.name == baseline), None)
    others = [row for row in overall if row is not base]
    if base is None or not others:
        missing = baseline or "one baseline"
        return f"Undecided: {missing} was not played on every task beside another condition"
    kept = guided_among(row.condition for row in others)
    guided = [row for row in others if row.condition in kept]
    best = best_of_curves(guided)[0]
    counts = {len(by_seed) for by_seed in best.scores.values()}
    text = (
        f"{answer(best.difference)}: {best.name}, interquartile mean {best.iqm.value:.2f} against "
        f"{base.iqm.value:.2f} {base.name} over {len(several)} tasks, {change(best.difference)}"
    )
    parts = [text]
    rest = [row for row in others if row.condition.series != best.condition.series]
    rivals = [row for row in rest if is_choice(row.condition)] or rest
    if rivals:
        rival = best_of_curves(rivals)[0]
        difference = _difference(best.scores, rival.scores)
        parts.append(f"against {rival.name} {change(difference)}, {judged(difference)}")
    if len(guided) > 1:
        parts.append(f"the best of {len(guided)}, chosen on these episodes")
    seeds = seeds_text(max(counts))
    parts.append(seeds if len(counts) == 1 else f"up to {seeds} for a task")
    return "; ".join(parts)


def _each(several: Sequence[Compared]) -> str:
    """Where tasks have too little in common: on how many of them which answer holds."""
    answers = Counter(each.verdict.partition(":")[0] for each in several)
    counts = ", ".join(f"{name} on {answers[name]}" for name in ANSWERS if answers[name])
    return (
        f"{counts} of {len(several)} tasks, each with its best condition; no interval over tasks, "
        "which needs the baseline and one condition on each"
    )
