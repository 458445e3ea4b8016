import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from scipy import stats

from .statistics import CONFIDENCE

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Means:
    """Means over samples with their 95% intervals, arrays of one shape.

    The interval is Student's, of independent samples.

    **Attributes:**

    - `value`: the means; NaN where nothing counted.
    - `low`, `high`: the ends of the intervals; NaN for fewer than two samples.
    - `count`: how many samples each is made of. Those that are not finite do not count.
    - `samples`: what they are.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray
    samples: str = "observations"

    def __getitem__(self, index: Any) -> "Means":
        value, low, high, count = (
            np.asarray(x[index]) for x in (self.value, self.low, self.high, self.count)
        )
        return Means(value, low, high, count, self.samples)

    def __str__(self) -> str:
        """How many samples there are, and of what."""
        return f"{int(np.max(self.count, initial=0))} {self.samples}"


def means(samples: Any, what: str = "observations") -> Means:
    """The means over the first axis.

    **Arguments:**

    - `samples`: an array, one sample a row; what is not finite does not count.
    - `what`: they are.
    """
    samples = np.asarray(samples, np.float64)
    counts = np.isfinite(samples)
    count = counts.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(counts, samples, 0).sum(0) / count
        square = np.where(counts, (samples - value) ** 2, 0).sum(0) / (count - 1)
        length = stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(count - 1, 1)) * np.sqrt(
            square / count
        )
    length = np.where(count > 1, length, np.nan)
    # Scalars become arrays of no axis.
    value, length, count = map(np.asarray, (value, length, count))
    return Means(value, np.asarray(value - length), np.asarray(value + length), count, what)


def across_runs(results: Sequence[Result]) -> Result:
    """One instrument's results for several training runs as one, with intervals for other runs.

    **Arguments:**

    - `results`: of one instrument with one set of arguments, one for each run, at least two.

    **Returns:**

    A result of the same kind whose means are those of the runs' means, and whose intervals are
    Student's over runs. What else it holds is the first one's.

    **Raises:**

    `ValueError` for fewer than two results, or results of different shapes.
    """
    first: Any = results[0] if results else None
    if len(results) < 2:
        raise ValueError(f"Expected the results of at least two runs, got {len(results)}.")
    merged = {}
    for field in dataclasses.fields(first):
        several: list[Any] = [getattr(result, field.name) for result in results]
        if isinstance(several[0], Means):
            shapes = sorted({x.value.shape for x in several})
            if len(shapes) > 1:
                raise ValueError(f"The results differ in shape: {field.name} has {shapes}.")
            merged[field.name] = means(np.stack([x.value for x in several]), "training runs")
    return dataclasses.replace(first, **merged)
