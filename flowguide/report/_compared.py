import dataclasses

from .._results.between import best_of_series, Between, between, merit
from .._results.compare import compare, Comparison
from .._results.conditions import Condition
from .._results.verdict import verdict
from ._baseline import baseline_of
from ._read import Group

# Of so many methods every pair is compared: 28 pairs.
MAX_BETWEEN = 8


@dataclasses.dataclass(frozen=True)
class Compared:
    """A group of episodes and what follows from it.

    **Attributes:**

    - `group`: the episodes.
    - `rows`: of each condition, compared with the baseline.
    - `baseline`: what they are compared with, whether it was played or not.
    - `between`: the best of each method against each other, without the baseline.
    - `verdict`: the answer, in a sentence.
    """

    group: Group
    rows: list[Comparison]
    baseline: Condition
    between: list[Between]
    verdict: str

    @property
    def heading(self) -> str:
        return heading(self.group.task, self.group.training, self.group.kind)


def compared_of(group: Group, name: str) -> Compared:
    """What follows from the episodes of a group; `name` is that of the baseline."""
    baseline = baseline_of(group.episodes, name)
    rows = compare(group.episodes, baseline)
    # What the others are compared with comes first.
    rows.sort(key=lambda row: row.condition != baseline)
    others = [row for row in rows if row.condition != baseline]
    best = [row.condition for row in best_of_series(others)]
    # The strongest, where there are too many to show every pair.
    merits = {row.condition: merit(row) for row in others}
    best = sorted(best, key=lambda c: merits[c], reverse=True)[:MAX_BETWEEN]
    said = verdict(group.episodes, rows, baseline, is_chosen_elsewhere=group.kind == "test")
    return Compared(group, rows, baseline, between(group.episodes, best), said)


def heading(task: str, training: str, kind: str) -> str:
    """What a task and a training are called in a report."""
    name = task or "A task without a name"
    if training:
        name += f", training {training}"
    return name + (", test episodes" if kind == "test" else "")
