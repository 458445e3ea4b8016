import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._cost import Cost
from .bootstrap import mean_intervals
from .conditions import Condition, without_hashes
from .episodes import Episode
from .statistics import Estimate, Success, success_of
from .tables import amount, change, html, mark, markdown, number, rate, solved, Table


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What a condition reached, and how it differs from the baseline on the same episodes.

    **Attributes:**

    - `condition`: what was played.
    - `train_seeds`: the training seeds that it was played with.
    - `episodes`: how many count.
    - `errors`: how many ended in an error, and count for nothing.
    - `success`: its rate; None where the environment does not report it.
    - `by_seed`: the success of each training seed.
    - `episode_return`: the mean return; None with fewer than two episode seeds, of which no
        interval can be made.
    - `pairs`: how many episodes have a partner of the baseline.
    - `unpaired`: how many have none, and are left out of the differences.
    - `gained`, `lost`: pairs in which only this condition succeeded, or only the baseline.
    - `difference`: of the success rate; None without pairs, and for the baseline itself.
    - `return_difference`: of the mean return.
    - `guidance`: what was played, as `flowguide.describe` has it; empty if the lines do not say.
    - `steps`, `cost`: of an action; None if the lines do not say, or not the same.
    - `dropped`: the share of the flow's steps that were left unguided because a gradient was not
        finite, a mean over episodes; None if the lines do not say.
    """

    condition: Condition
    train_seeds: tuple[int, ...]
    episodes: int
    errors: int
    success: Success | None
    by_seed: dict[int, Success]
    episode_return: Estimate | None
    pairs: int
    unpaired: int
    gained: int | None
    lost: int | None
    difference: Estimate | None
    return_difference: Estimate | None
    guidance: str = ""
    steps: int | None = None
    cost: Cost | None = None
    dropped: float | None = None


class Comparisons(list[Comparison]):
    """What `compare` returns: a list that is a table where it is printed, and in a notebook.

    **Arguments:**

    - `iterable`: a `Comparison` for each condition.
    """

    def __str__(self) -> str:
        return markdown(self._table())

    def _repr_html_(self) -> str:
        return html(self._table())

    def _table(self) -> Table:
        has_success = any(row.success for row in self)
        columns = ("condition", "solved" if has_success else "episodes")
        columns += ("success", "difference", "gained, lost") if has_success else ()
        columns += ("mean return",) if has_success else ("mean return", "difference")
        columns += ("forward passes",)
        judged = [row.difference if has_success else row.return_difference for row in self]
        rows = [self._cells(row, has_success) for row in self]
        return Table("", columns, rows, tuple(mark(difference) for difference in judged))

    def _cells(self, row: Comparison, has_success: bool) -> tuple[str, ...]:
        returned = amount(row.episode_return)
        spent = number(None if row.cost is None else row.cost.forwards())
        if not has_success:
            texts = number(row.episodes), returned, amount(row.return_difference, "+")
            return str(row.condition), *texts, spent
        pairs = "-" if row.gained is None else f"{row.gained}, {row.lost}"
        texts = solved(row.success), rate(row.success), change(row.difference), pairs, returned
        return str(row.condition), *texts, spent


def compare(
    episodes: Sequence[Episode], baseline: Condition | None = None, *, over_tasks: bool = False
) -> Comparisons:
    """Compares the conditions of one task with a baseline, paired by episode.

    Two episodes are a pair if they share the task, the training seed and the episode seed. The
    intervals are of a bootstrap over *episode seeds*: every training seed meets the same ones, so
    what it meets there is not independent, and an episode seed of a task is drawn with the episodes
    of all training seeds.
    They cover which episodes were played, given these training seeds; another training seed may
    differ by more. Their spread is in `flowguide.results.interquartile_mean`.

    The interval of a difference in success is that of the pairs and two more, one gained and one
    lost. Without these, ten pairs of which none differs would have the interval [0, 0].

    **Arguments:**

    - `episodes`: of one task, unless `over_tasks`, and one way of training, each once.
    - `baseline`: what to compare with, by default the unguided policy.
    - `over_tasks`: takes the episodes of several tasks as one, for these tasks and training seeds
        with other episodes.

    **Returns:**

    One comparison for each condition: unguided first, then curve by curve, by weight. The list is
    a table where it is printed, and in a notebook.

    **Raises:**

    `ValueError` for episodes of several tasks or ways of training, or one that is there twice.

    ??? cite "Reference"

        The two more pairs are those of this interval:

        ```bibtex
        @article{bonett2012adjusted,
            title={Adjusted Wald Confidence Interval for a Difference of Binomial Proportions
                   Based on Paired Data},
            author={Bonett, Douglas G. and Price, Robert M.},
            journal={Journal of Educational and Behavioral Statistics},
            year={2012},
        }
        ```
    """
    kinds = {("" if over_tasks else episode.task, episode.training) for episode in episodes}
    if len(kinds) > 1:
        raise ValueError(
            f"Episodes of one task and one training are compared, got {sorted(kinds)}."
        )
    counts = Counter(episode.key for episode in episodes if episode.error is None)
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        _, _, condition, train_seed, episode_seed = twice[0]
        raise ValueError(
            f"{len(twice)} episodes are there more than once, such as {condition} with training "
            f"seed {train_seed} and episode seed {episode_seed}: expected each once."
        )
    baseline = Condition() if baseline is None else baseline
    grid = _Grid(episodes)
    successes, returns = grid.success, grid.episode_return
    row = grid.conditions.index(baseline) if baseline in grid.conditions else None
    nothing = np.full_like(returns, np.nan)
    gains = nothing if row is None else successes - successes[row]
    return_gains = nothing if row is None else returns - returns[row]
    return_means = grid.means(returns)
    differences = grid.means(gains, made_up=1.0)
    return_differences = grid.means(return_gains)
    comparisons = Comparisons()
    for i, condition in enumerate(grid.conditions):
        known = ~np.isnan(successes[i])
        compared = row is not None and i != row
        judged = compared and bool(np.any(~np.isnan(gains[i])))
        # Where success is not known, pairs are those of returns.
        pairs = int(np.sum(~np.isnan(gains[i] if judged else return_gains[i]))) if compared else 0
        count = int(grid.played[i].sum())
        comparisons.append(
            Comparison(
                condition,
                grid.train_seeds(grid.played[i]),
                count,
                grid.errors[condition],
                success_of(int(successes[i, known].sum()), int(known.sum()))
                if known.any()
                else None,
                grid.by_seed(successes[i]),
                return_means[i],
                pairs,
                count - pairs if i != row else 0,
                int(np.sum(gains[i] > 0)) if judged else None,
                int(np.sum(gains[i] < 0)) if judged else None,
                differences[i] if compared else None,
                return_differences[i] if compared else None,
                **_recorded(grid.of[condition]),
            )
        )
    return comparisons


def _recorded(episodes: Sequence[Episode]) -> dict[str, Any]:
    """What the lines of a condition say of its guidance."""
    counted = [episode for episode in episodes if episode.error is None]
    dropped = [episode.dropped for episode in counted if episode.dropped is not None]
    return {
        "guidance": _common(without_hashes(e.guidance) or None for e in episodes) or "",
        "steps": _common(episode.steps for episode in episodes),
        "cost": _common(episode.cost for episode in episodes),
        "dropped": float(np.mean(dropped)) if dropped else None,
    }


def _common(values: Iterable[Any]) -> Any:
    """What those that are not None have in common; None if they differ."""
    different = {value for value in values if value is not None}
    return different.pop() if len(different) == 1 else None


class _Grid:
    """The episodes as arrays `(conditions, units)`; NaN for what was not played or not reported.

    A unit is a task, an episode seed and a training seed. Those of one episode seed of a task lie
    side by side.
    """

    def __init__(self, episodes: Sequence[Episode]):
        self.conditions = sorted({episode.condition for episode in episodes})
        self.units = sorted({(e.task, e.episode_seed, e.train_seed) for e in episodes})
        rows = {condition: i for i, condition in enumerate(self.conditions)}
        columns = {unit: i for i, unit in enumerate(self.units)}
        shape = (len(rows), len(columns))
        self.success, self.episode_return = np.full(shape, np.nan), np.full(shape, np.nan)
        self.played = np.zeros(shape, bool)
        self.errors = dict.fromkeys(self.conditions, 0)
        self.of: dict[Condition, list[Episode]] = {each: [] for each in self.conditions}
        for episode in episodes:
            self.of[episode.condition].append(episode)
            if episode.error is not None:
                self.errors[episode.condition] += 1
                continue
            unit = episode.task, episode.episode_seed, episode.train_seed
            at = rows[episode.condition], columns[unit]
            self.played[at] = True
            if episode.success is not None:
                self.success[at] = episode.success
            if np.isfinite(episode.episode_return):
                self.episode_return[at] = episode.episode_return
        drawn = [unit[:2] for unit in self.units]
        self._starts = [i for i, unit in enumerate(drawn) if i == 0 or unit != drawn[i - 1]]

    def means(self, values: np.ndarray, *, made_up: float = 0.0) -> list[Estimate | None]:
        """The mean of each row with its interval; None where there is no interval."""
        if not values.size:
            return [None] * len(values)
        present = ~np.isnan(values)
        counts = present.sum(axis=1)
        totals: Any = np.where(present, values, 0.0)
        sums = np.add.reduceat(totals, self._starts, axis=1)
        sizes = np.add.reduceat(present.astype(float), self._starts, axis=1)
        low, high = mean_intervals(sums, sizes, made_up=made_up)
        return [
            None
            if np.isnan(low[i])
            else Estimate(
                float(totals[i].sum() / counts[i]), float(low[i]), float(high[i]), int(counts[i])
            )
            for i in range(len(values))
        ]

    def train_seeds(self, played: np.ndarray) -> tuple[int, ...]:
        return tuple(sorted({self.units[i][2] for i in np.flatnonzero(played)}))

    def by_seed(self, successes: np.ndarray) -> dict[int, Success]:
        seeds = np.array([seed for _, _, seed in self.units])
        known = ~np.isnan(successes)
        return {
            int(seed): success_of(
                int(successes[known & (seeds == seed)].sum()), int(np.sum(known & (seeds == seed)))
            )
            for seed in np.unique(seeds[known])
        }
