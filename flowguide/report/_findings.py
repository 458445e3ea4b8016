import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence

from .._agent.finished import versions_note
from .._results.compare import compare, Comparison
from .._results.conditions import Condition, UNGUIDED
from .._results.episodes import Episode
from .._results.iqm import interquartile_difference, interquartile_mean, Scores
from .._results.statistics import Estimate
from ._read import Group, Kind, Results, TunedFolder


@dataclasses.dataclass(frozen=True)
class Overall:
    """What a condition reached over several tasks.

    **Attributes:**

    - `condition`: what was played; of a tuned method, on one of the tasks.
    - `name`: how it is called. A tuned method has another weight on each task.
    - `iqm`: the interquartile mean of its success rates; its count is the number of runs.
    - `difference`: to that of the unguided policy; None for itself, and without the same runs.
    """

    condition: Condition
    name: str
    iqm: Estimate
    difference: Estimate | None


@dataclasses.dataclass(frozen=True)
class Tasks:
    """All tasks that one way of training was played on.

    **Attributes:**

    - `training`, `kind`: as of the groups.
    - `tasks`: their names.
    - `overall`: the conditions that were played on all of them, by two training seeds or more.
    - `left_out`: how many others there are.
    """

    training: str
    kind: Kind
    tasks: tuple[str, ...]
    overall: list[Overall]
    left_out: int


@dataclasses.dataclass(frozen=True)
class Compared:
    """A group of episodes and what follows from it."""

    group: Group
    rows: list[Comparison]


@dataclasses.dataclass(frozen=True)
class Findings:
    """All numbers of a report, before they are written.

    **Attributes:**

    - `compared`: for each task and training the conditions.
    - `tasks`: for each training with several tasks what was reached over them.
    - `tuned`: with the comparison of the validation episodes of each.
    - `errors`: the episodes that ended in one.
    - `duplicates`: how many lines count once though they were there twice.
    - `doubts`: what is doubtful about some of the episodes, in sentences.
    """

    compared: list[Compared]
    tasks: list[Tasks]
    tuned: list[tuple[TunedFolder, list[Comparison]]]
    errors: list[Episode]
    duplicates: int
    doubts: list[str]


def find(results: Results) -> Findings:
    """Computes everything that a report shows."""
    compared = [Compared(group, compare(group.episodes)) for group in results.groups]
    played = [e for group in results.groups for e in group.episodes]
    played += [e for tuned in results.tuned for e in tuned.validation]
    return Findings(
        compared,
        _over_tasks(compared, results.tuned),
        [(tuned, compare(tuned.validation)) for tuned in results.tuned],
        sorted((e for e in played if e.error is not None), key=lambda e: e.key),
        results.duplicates,
        _doubts(played),
    )


def _doubts(episodes: Sequence[Episode]) -> list[str]:
    counts = Counter(doubt for episode in episodes for doubt in episode.doubts)
    sentences = [f"Of {count:,} episodes: {doubt}" for doubt, count in counts.items()]
    note = versions_note(episodes, _usual_versions(episodes))
    return sentences if note is None else [*sentences, note]


def _usual_versions(episodes: Sequence[Episode]) -> dict[str, str | None]:
    """What played most of the episodes."""
    counts = Counter(tuple((each.versions or {}).items()) for each in episodes)
    return dict(counts.most_common(1)[0][0]) if counts else {}


def _over_tasks(compared: Sequence[Compared], tuned: Sequence[TunedFolder]) -> list[Tasks]:
    chosen = {(each.task, each.training): set(each.chosen) for each in tuned}
    together: dict[tuple[str, Kind], list[Compared]] = {}
    for each in compared:
        together.setdefault((each.group.training, each.group.kind), []).append(each)
    several_tasks = []
    for (training, kind), several in together.items():
        if len(several) < 2:
            continue

        def name(condition: Condition, task: str, training=training, kind=kind) -> str:
            is_chosen = kind == "test" and condition in chosen.get((task, training), ())
            return f"{condition.series}, tuned" if is_chosen else str(condition)

        tasks = tuple(each.group.task for each in several)
        overall, left_out = _overall(several, name)
        several_tasks.append(Tasks(training, kind, tasks, overall, left_out))
    return several_tasks


def _overall(
    several: Sequence[Compared], name: Callable[[Condition, str], str]
) -> tuple[list[Overall], int]:
    """The conditions that all tasks have, over all of them, and the number of the others."""
    scores: dict[str, dict[str, dict[int, float]]] = {}
    conditions: dict[str, Condition] = {}
    for each in several:
        for row in each.rows:
            called = name(row.condition, each.group.task)
            conditions.setdefault(called, row.condition)
            by_seed = {seed: success.rate for seed, success in row.by_seed.items()}
            scores.setdefault(called, {})[each.group.task] = by_seed
    complete = {
        called: by_task
        for called, by_task in scores.items()
        if len(by_task) == len(several) and min(map(len, by_task.values())) > 1
    }
    baseline = complete.get(UNGUIDED)
    rows = []
    for called, by_task in complete.items():
        difference = None
        if baseline is not None and called != UNGUIDED and _runs(by_task) == _runs(baseline):
            difference = interquartile_difference(_in_order(by_task), _in_order(baseline))
        iqm = interquartile_mean(_in_order(by_task))
        rows.append(Overall(conditions[called], called, iqm, difference))
    return rows, len(scores) - len(complete)


def _runs(by_task: dict[str, dict[int, float]]) -> dict[str, list[int]]:
    return {task: sorted(by_seed) for task, by_seed in by_task.items()}


def _in_order(by_task: dict[str, dict[int, float]]) -> Scores:
    """The scores of each task in the order of the training seeds."""
    return {task: [by_seed[s] for s in sorted(by_seed)] for task, by_seed in by_task.items()}
