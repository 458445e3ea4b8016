import dataclasses
from collections.abc import Iterable, Sequence

from ._conditions import Condition, UNGUIDED
from ._episodes import Episode

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Success:
    """How often a task was solved, with its 95% Wilson interval and its count.

    **Attributes:**

    - `count`: the number of episodes.
    - `rate`: the share of them that succeeded.
    - `low`, `high`: the ends of the interval.
    """

    count: int
    rate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.rate:.2f} [{self.low:.2f}, {self.high:.2f}]"


def success(outcomes: Iterable[bool]) -> Success:
    """The success rate of some episodes with its 95% Wilson score interval.

    **Raises:**

    `ValueError` for no episodes.
    """
    from scipy.stats import binomtest

    outcomes = [bool(outcome) for outcome in outcomes]
    if not outcomes:
        raise ValueError("No episodes: a rate needs at least one.")
    test = binomtest(sum(outcomes), len(outcomes))
    interval = test.proportion_ci(CONFIDENCE, method="wilson")
    rate = sum(outcomes) / len(outcomes)
    return Success(len(outcomes), rate, float(interval.low), float(interval.high))


def summarise(episodes: Sequence[Episode]) -> dict[Condition, Success]:
    """The success of each condition among the episodes: unguided first, then by name and weight."""
    grouped: dict[Condition, list[bool]] = {}
    for episode in episodes:
        grouped.setdefault(episode.condition, []).append(episode.success)
    ordered = sorted(grouped, key=lambda condition: (condition.method != UNGUIDED, condition))
    return {condition: success(grouped[condition]) for condition in ordered}
