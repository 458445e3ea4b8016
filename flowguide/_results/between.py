"""Methods against each other, and not against the baseline alone."""

import dataclasses
import itertools
from collections.abc import Sequence

from .compare import compare, Comparison
from .conditions import Condition
from .episodes import Episode


@dataclasses.dataclass(frozen=True)
class Between:
    """Two conditions on the same episodes.

    **Attributes:**

    - `row`: the first one, compared with the second as a baseline.
    - `other`: the second.
    """

    row: Comparison
    other: Condition


def merit(row: Comparison) -> tuple[float, float, float]:
    """What decides which condition is better: success, then return, then the smaller weight."""
    success = row.success.rate if row.success else 0.0
    returned = row.episode_return.value if row.episode_return else 0.0
    return success, returned, -(row.condition.weight or 0.0)


def best_of_series(rows: Sequence[Comparison]) -> list[Comparison]:
    """Of each series (a method and the unit of its weights) the best, in the order of the rows."""
    series: dict[str, list[Comparison]] = {}
    for row in rows:
        series.setdefault(row.condition.series, []).append(row)
    return [max(several, key=merit) for several in series.values()]


def between(
    episodes: Sequence[Episode], conditions: Sequence[Condition], *, over_tasks: bool = False
) -> list[Between]:
    """Every pair of the conditions, paired by episode as in `compare`; the better one first.

    **Arguments:**

    - `episodes`, `over_tasks`: as in `compare`.
    - `conditions`: which are compared; others among the episodes are ignored.
    """
    kept = [episode for episode in episodes if episode.condition in set(conditions)]
    rows = {row.condition: row for row in compare(kept, over_tasks=over_tasks)}
    order = sorted((c for c in conditions if c in rows), key=lambda c: merit(rows[c]), reverse=True)
    # By the second: one bootstrap for all that are compared with it.
    of_second = {
        second: {row.condition: row for row in compare(kept, second, over_tasks=over_tasks)}
        for second in order[1:]
    }
    return [
        Between(of_second[second][first], second)
        for first, second in itertools.combinations(order, 2)
    ]
