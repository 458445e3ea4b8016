import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from .bootstrap import percentiles, RESAMPLES, SEED
from .statistics import Estimate

TRIMMED = 0.25

Scores: TypeAlias = Mapping[str, Sequence[float] | np.ndarray]
"""The score of each training seed on each task."""


def interquartile_mean(scores: Scores) -> Estimate:
    """The mean of the middle half of all runs on all tasks, with a stratified bootstrap interval.

    Less noisy than the median, and not moved by a few outliers as the mean is. The bootstrap draws
    the runs (training seeds) of each task anew, with replacement and apart from the other tasks:
    the interval is for the same tasks with other training seeds.

    **Arguments:**

    - `scores`: for each task the scores of its training seeds, such as success rates; any number
        of them, at least two, and not the same for each task.

    **Returns:**

    The estimate; its count is the number of runs.

    **Raises:**

    `ValueError` for no tasks, or a task with fewer than two runs, which a bootstrap over runs
    would call certain.

    ??? cite "Reference"

        ```bibtex
        @inproceedings{agarwal2021deep,
            title={Deep Reinforcement Learning at the Edge of the Statistical Precipice},
            author={Agarwal, Rishabh and Schwarzer, Max and Castro, Pablo Samuel and
                    Courville, Aaron and Bellemare, Marc G.},
            booktitle={Advances in Neural Information Processing Systems},
            year={2021},
        }
        ```
    """
    runs = checked_runs(scores)
    low, high = percentiles(_resampled(runs), axis=0)
    return Estimate(float(_iqm(np.concatenate(runs))), float(low), float(high), sum(map(len, runs)))


def interquartile_difference(scores: Scores, baseline: Scores) -> Estimate:
    """How far the interquartile mean is above that of a baseline, paired by run.

    Both are resampled with the same draws, so that a training seed that is bad for both does not
    count as a difference.

    **Arguments:**

    - `scores`, `baseline`: as in `interquartile_mean`, with the same tasks and the same training
        seeds of each, in the same order.

    **Raises:**

    `ValueError` if they differ in tasks or numbers of runs; what `interquartile_mean` raises.
    """
    first, second = checked_pair(scores, baseline)
    low, high = percentiles(_resampled(first) - _resampled(second), axis=0)
    value = _iqm(np.concatenate(first)) - _iqm(np.concatenate(second))
    return Estimate(float(value), float(low), float(high), sum(map(len, first)))


def checked_runs(scores: Scores) -> list[np.ndarray]:
    """The runs of each task, at least two."""
    # By name: the draws must not depend on the order in which tasks were found.
    runs = [np.asarray(scores[task], float) for task in sorted(scores)]
    if not runs or min(map(len, runs)) < 2:
        raise ValueError(
            "Statistics over runs need at least two runs (training seeds) of each task, got "
            f"{ {task: len(scores[task]) for task in sorted(scores)} }."
        )
    return runs


def checked_pair(scores: Scores, baseline: Scores) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Both, of the same tasks with the same numbers of runs."""
    first, second = checked_runs(scores), checked_runs(baseline)
    if list(map(len, first)) != list(map(len, second)) or sorted(scores) != sorted(baseline):
        raise ValueError(
            "A paired difference needs the same runs on the same tasks, got "
            f"{ {task: len(runs) for task, runs in sorted(scores.items())} } and "
            f"{ {task: len(runs) for task, runs in sorted(baseline.items())} }."
        )
    return first, second


def resampled_runs(runs: list[np.ndarray]) -> list[np.ndarray]:
    """The runs of each task drawn anew, each `(RESAMPLES, runs)`. The draws follow from the numbers
    of runs alone."""
    draws = _draws(tuple(map(len, runs)))
    return [each[drawn] for each, drawn in zip(runs, draws, strict=True)]


def _resampled(runs: list[np.ndarray]) -> np.ndarray:
    """The interquartile means of the resamples."""
    return _iqm(np.concatenate(resampled_runs(runs), axis=1))


@functools.lru_cache(maxsize=8)
def _draws(counts: tuple[int, ...]) -> list[np.ndarray]:
    """Which runs of each task are drawn in each resample, for each `(RESAMPLES, runs)`."""
    generator = np.random.default_rng(SEED)
    return [generator.integers(count, size=(RESAMPLES, count)) for count in counts]


def _iqm(values: np.ndarray) -> Any:
    from scipy.stats import trim_mean

    return trim_mean(values, TRIMMED, axis=-1)
