import functools
from typing import Any

import numpy as np

from .statistics import CONFIDENCE

RESAMPLES = 4000
# A constant: the same episodes have the same intervals on every machine and every day.
SEED = 0


def mean_intervals(
    sums: np.ndarray, counts: np.ndarray, *, made_up: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    r"""95% percentile bootstrap intervals of many means at once, resampling clusters.

    A mean is $\sum_e s_e / \sum_e c_e$ over clusters $e$, such as episode seeds, each of which
    several training seeds met. Clusters are drawn with replacement, each with all that it holds, as
    many as there are. All rows share their draws.

    A bootstrap cannot show what it has not seen: where all values are equal its interval has no
    length. For values of known bounds, `made_up` puts two clusters of one value each before the
    resampling, `made_up` and `-made_up`; they widen the interval and leave the mean alone.

    **Arguments:**

    - `sums`: of the values in each cluster, shape `(rows, clusters)`.
    - `counts`: the number of values in each, the same shape; a row's clusters without any are no
        clusters of that row.
    - `made_up`: the size of the added values; 0 for none.

    **Returns:**

    The lower and the upper ends, each of shape `(rows,)`; NaN for a row that has nothing to
    resample, which are fewer than two clusters.
    """
    low, high = np.full(len(sums), np.nan), np.full(len(sums), np.nan)
    patterns, rows_of = np.unique(counts > 0, axis=0, return_inverse=True)
    for i, pattern in enumerate(patterns):
        (rows,) = np.nonzero(rows_of.reshape(-1) == i)
        added = 2 if made_up else 0
        clusters = int(pattern.sum())
        if clusters == 0 or clusters + added < 2:
            continue
        draws = _draws(clusters + added)
        # In blocks: a thousand conditions need not be in memory at a time.
        for block in np.array_split(rows, -(-len(rows) // 256)):
            s, c = sums[np.ix_(block, pattern)], counts[np.ix_(block, pattern)]
            if made_up:
                s = np.pad(s, ((0, 0), (0, 2)))
                s[:, -2:] = made_up, -made_up
                c = np.pad(c, ((0, 0), (0, 2)), constant_values=1)
            means = (draws @ s.T) / (draws @ c.T)
            low[block], high[block] = percentiles(means, axis=0)
    return low, high


def percentiles(values: np.ndarray, *, axis: int) -> tuple[Any, Any]:
    """The ends of the interval that holds 95% of the values."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=axis)
    return low, high


@functools.lru_cache(maxsize=8)
def _draws(clusters: int) -> np.ndarray:
    """How often each cluster is drawn in each resample, shape `(RESAMPLES, clusters)`."""
    generator = np.random.default_rng(SEED)
    drawn = generator.multinomial(clusters, np.full(clusters, 1 / clusters), RESAMPLES)
    return drawn.astype(float)
