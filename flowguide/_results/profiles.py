"""How whole distributions of runs compare, where one number for each hides too much."""

from collections.abc import Sequence

import numpy as np

from .bootstrap import percentiles
from .iqm import checked_pair, checked_runs, resampled_runs, Scores
from .statistics import Estimate


def performance_profile(scores: Scores, thresholds: Sequence[float]) -> list[Estimate]:
    r"""The share of all runs on all tasks whose score is above each threshold.

    The run-score distribution of Agarwal et al. (2021, section 4.2; the reference is that of
    `flowguide.results.interquartile_mean`): of a method whose curve lies above another's
    throughout, more runs reach any score. All runs count alike. The intervals hold at each
    threshold, and not for the whole curve.

    **Arguments:**

    - `scores`: for each task the scores of its training seeds, such as success rates; at least two.
    - `thresholds`: $\tau$, in the unit of the scores.

    **Returns:**

    For each threshold the share of runs above it, with its 95% stratified bootstrap interval, as in
    `interquartile_mean`.

    **Raises:**

    `ValueError` for no tasks, or a task with fewer than two runs.
    """
    runs = checked_runs(scores)
    together, drawn = np.concatenate(runs), np.concatenate(resampled_runs(runs), axis=1)
    found = []
    for threshold in thresholds:
        low, high = percentiles(np.mean(drawn > threshold, axis=1), axis=0)
        value = float(np.mean(together > threshold))
        found.append(Estimate(value, float(low), float(high), len(together)))
    return found


def probability_of_improvement(scores: Scores, baseline: Scores) -> Estimate:
    r"""How likely a run is better than one of a baseline on the same task, a mean over tasks.

    $P(X > Y)$ of Agarwal et al. (2021, section 4.3; the reference is that of
    `flowguide.results.interquartile_mean`), with half of the ties: on each task the Mann-Whitney U
    of the runs, as a share of all pairs. It says how often, and not by how much.
    0.5 is neither. Both are resampled with the same draws, because they share training seeds, as in
    `interquartile_difference`; rliable draws them apart.

    **Arguments:**

    - `scores`, `baseline`: as in `interquartile_difference`.

    **Returns:**

    The probability with its 95% stratified bootstrap interval; its count is the number of runs of
    each of the two.

    **Raises:**

    `ValueError` if they differ in tasks or numbers of runs, for no tasks, or a task with fewer than
    two runs.
    """
    first, second = checked_pair(scores, baseline)
    value = np.mean([_wins(x[None], y[None])[0] for x, y in zip(first, second, strict=True)])
    drawn = zip(resampled_runs(first), resampled_runs(second), strict=True)
    low, high = percentiles(np.mean([_wins(x, y) for x, y in drawn], axis=0), axis=0)
    return Estimate(float(value), float(low), float(high), sum(map(len, first)))


def _wins(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The share of pairs that the first wins, in each row; a tie is half of one."""
    x, y = first[:, :, None], second[:, None, :]
    return np.mean((x > y) + 0.5 * (x == y), axis=(1, 2))
