from collections.abc import Callable, Sequence

from .._results.conditions import Condition
from ._read import Group, TunedFolder


def namer(tuned: Sequence[TunedFolder]) -> Callable[[Condition, Group], str]:
    """What a condition of a group is called over several tasks: a tuned method, which has another
    weight on each, has no weight in its name."""
    chosen = {(each.task, each.training): set(each.chosen) for each in tuned}

    def name(condition: Condition, group: Group) -> str:
        of_group = chosen.get((group.task, group.training), ())
        if group.kind == "test" and condition.has_weight and condition in of_group:
            return f"{condition.series}, tuned"
        return str(condition)

    return name
