import dataclasses
import re
from collections.abc import Callable, Sequence

from .._results.between import best_of_series, Between, between, merit
from .._results.compare import compare, Comparison
from .._results.conditions import Condition
from .._results.episodes import Episode
from .._results.verdict import verdict
from ._compared import Compared, MAX_BETWEEN
from ._read import Group


@dataclasses.dataclass(frozen=True)
class Pooled:
    """Several tasks, their episodes taken as one: what also one training seed can say.

    **Attributes:**

    - `baseline`: what the conditions are compared with.
    - `rows`: of each condition that every task has, over all of them.
    - `domains`: of each domain, such as `scene-play`, the same in the same order; empty if each
        task is one of its own.
    - `between`: the best of each method against each other and the baseline.
    - `left_out`: how many conditions some task lacks.
    - `verdict`: the answer, in a sentence.
    """

    baseline: Condition
    rows: list[Comparison]
    domains: dict[str, list[Comparison]]
    between: list[Between]
    left_out: int
    verdict: str


def pooled_of(
    several: Sequence[Compared], name: Callable[[Condition, Group], str], *, baseline: str
) -> Pooled | None:
    """What follows from the episodes of several tasks together.

    **Arguments:**

    - `several`: the tasks, of one way of training.
    - `name`: as of `namer`; conditions of one name are the same one.
    - `baseline`: the name of what the others are compared with.

    **Returns:**

    None where the tasks have no two conditions in common, not the baseline, or no success: returns
    of different tasks do not add up.
    """
    by_task = {
        each.group.task: [renamed(e, name(e.condition, each.group)) for e in each.group.episodes]
        for each in several
    }
    names = [{e.condition for e in episodes} for episodes in by_task.values()]
    common = set.intersection(*names)
    base = Condition(baseline) if baseline else None
    if base is None or base not in common or len(common) < 2:
        return None
    kept = {task: [e for e in found if e.condition in common] for task, found in by_task.items()}
    domains: dict[str, list[Episode]] = {}
    for task, episodes in kept.items():
        domains.setdefault(domain_of(task), []).extend(episodes)
    everything = [episode for episodes in kept.values() for episode in episodes]
    rows = compare(everything, base, over_tasks=True)
    if any(row.success is None for row in rows):
        return None
    best = sorted(best_of_series(rows), key=merit, reverse=True)[:MAX_BETWEEN]
    is_test = several[0].group.kind == "test"
    return Pooled(
        base,
        # What the others are compared with comes first.
        sorted(rows, key=lambda row: row.condition != base),
        {
            domain: sorted(
                compare(episodes, base, over_tasks=True), key=lambda row: row.condition != base
            )
            for domain, episodes in domains.items()
            if len(domains) < len(kept)
        },
        between(everything, [row.condition for row in best], over_tasks=True),
        len(set.union(*names) - common),
        verdict(everything, rows, base, is_chosen_elsewhere=is_test),
    )


def domain_of(task: str) -> str:
    """`scene-play` of `scene-play-singletask-task2-v0`; other names as they are."""
    return re.sub(r"(-singletask)?-task\d+(-v\d+)?$", "", task)


def renamed(episode: Episode, name: str) -> Episode:
    """The episode with the name that its condition has over several tasks."""
    if name == str(episode.condition):
        return episode
    condition = Condition(name, episode.condition.curve, unit=episode.condition.unit)
    return dataclasses.replace(episode, condition=condition)
