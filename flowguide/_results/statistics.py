import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from .conditions import Condition
from .episodes import Episode

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

    @property
    def value(self) -> float:
        """The rate, under the name that every `Estimate` has for its number."""
        return self.rate

    @property
    def solved(self) -> int:
        """How many episodes succeeded."""
        return round(self.rate * self.count)

    def __str__(self) -> str:
        return f"{self.rate:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its 95% bootstrap interval and its count.

    **Attributes:**

    - `value`: the number.
    - `low`, `high`: the ends of the interval.
    - `count`: how many episodes, pairs or runs it is made of.
    """

    value: float
    low: float
    high: float
    count: int


def success(outcomes: Iterable[bool]) -> Success:
    """The success rate of some episodes with its 95% Wilson score interval.

    **Arguments:**

    - `outcomes`: for each episode whether it succeeded.

    **Raises:**

    `ValueError` for no episodes.
    """
    outcomes = [bool(outcome) for outcome in outcomes]
    return success_of(sum(outcomes), len(outcomes))


# Asked again and again for the same few counts; a binomial test is slow.
@functools.lru_cache(maxsize=4096)
def success_of(successes: int, count: int) -> Success:
    """The same from the number of successes and of episodes."""
    from scipy.stats import binomtest

    if count < 1:
        raise ValueError("No episodes: a rate needs at least one.")
    interval = binomtest(successes, count).proportion_ci(CONFIDENCE, method="wilson")
    return Success(count, successes / count, float(interval.low), float(interval.high))


def summarise(episodes: Sequence[Episode]) -> dict[Condition, Success]:
    """The success of each condition: unguided first, then curve by curve, by weight.

    **Arguments:**

    - `episodes`: of one task, or of several that are to count as one.

    Episodes with an error, and those whose environment does not report success, are left out;
    `flowguide.results.compare` counts them.
    """
    grouped: dict[Condition, list[bool]] = {}
    for episode in episodes:
        if episode.error is None and episode.success is not None:
            grouped.setdefault(episode.condition, []).append(episode.success)
    return {condition: success(grouped[condition]) for condition in sorted(grouped)}


def rank(condition: Condition, episodes: Sequence[Episode]) -> tuple[float, float, float]:
    """What decides which condition is better: success, then return, then the smaller weight.

    Without an episode that counts, a condition is the last.
    """
    smaller = -(condition.weight or 0.0)
    mine = [each for each in episodes if each.condition == condition and each.error is None]
    if not mine:
        return -math.inf, -math.inf, smaller
    solved = float(np.mean([bool(each.success) for each in mine]))
    return solved, float(np.mean([each.episode_return for each in mine])), smaller
