import dataclasses
from collections.abc import Callable, Sequence

from .._near import did_you_mean
from .._results.between import merit
from .._results.compare import compare, Comparison
from .._results.conditions import Condition
from .._results.episodes import Episode
from ._pooled import renamed
from ._read import Group, Kind


@dataclasses.dataclass(frozen=True)
class Trainings:
    """Ways of training against each other, on the tasks that all of them played.

    **Attributes:**

    - `kind`: of the episodes.
    - `tasks`: the tasks.
    - `reference`: the name of the training that the others are compared with.
    - `best`: what was played best with each training.
    - `of_best`: each training with that, compared with the reference; its name is the condition.
    - `of_condition`: the same for every condition that all trainings have.
    """

    kind: Kind
    tasks: tuple[str, ...]
    reference: str
    best: dict[str, Condition]
    of_best: list[Comparison]
    of_condition: dict[str, list[Comparison]]


def trainings_of(
    groups: Sequence[Group], name: Callable[[Condition, Group], str], reference: str | None
) -> list[Trainings]:
    """For each kind of episodes the trainings against each other.

    **Arguments:**

    - `groups`: tasks and trainings.
    - `name`: as of `namer`.
    - `reference`: the name of the training that the others are compared with; by default that with
        the highest success.

    **Raises:**

    `ValueError` for a reference that did not play.
    """
    played = sorted({group.training for group in groups})
    if reference is not None and reference not in played:
        raise ValueError(
            f"The training {reference!r} did not play; these did: {played}."
            f"{did_you_mean(reference, played)}"
        )
    found = []
    for kind in ("test", "played"):
        by_training: dict[str, dict[str, list[Episode]]] = {}
        for group in groups:
            if group.kind == kind:
                episodes = [renamed(e, name(e.condition, group)) for e in group.episodes]
                by_training.setdefault(group.training, {})[group.task] = episodes
        each = _of_kind(kind, by_training, reference)
        found += [each] if each else []
    return found


def _of_kind(
    kind: Kind, by_training: dict[str, dict[str, list[Episode]]], reference: str | None
) -> Trainings | None:
    tasks = set.intersection(*map(set, by_training.values())) if by_training else set()
    if len(by_training) < 2 or not tasks:
        return None
    episodes = {t: [e for task in sorted(tasks) for e in of[task]] for t, of in by_training.items()}
    conditions = {
        training: set.intersection(*({e.condition for e in of[task]} for task in tasks))
        for training, of in by_training.items()
    }
    best: dict[str, Comparison] = {}
    for training, several in episodes.items():
        rows = compare([e for e in several if e.condition in conditions[training]], over_tasks=True)
        # Returns of different tasks do not add up.
        if not rows or any(row.success is None for row in rows):
            return None
        best[training] = max(rows, key=merit)
    if reference not in best:
        reference = max(best, key=lambda training: merit(best[training]))

    def against(condition_of: Callable[[str], Condition]) -> list[Comparison]:
        kept = [
            # A training is what is compared.
            dataclasses.replace(e, condition=Condition(training or "-"), training="")
            for training, several in episodes.items()
            for e in several
            if e.condition == condition_of(training)
        ]
        rows = compare(kept, Condition(reference or "-"), over_tasks=True)
        rows.sort(key=merit, reverse=True)
        return rows

    shared = sorted(set.intersection(*conditions.values()))
    return Trainings(
        *(kind, tuple(sorted(tasks)), reference),
        {training: row.condition for training, row in best.items()},
        against(lambda training: best[training].condition),
        {str(condition): against(lambda _, c=condition: c) for condition in shared},
    )
