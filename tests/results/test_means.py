import dataclasses

import numpy as np
import pytest
from scipy import stats

from flowguide._results.means import means
from flowguide.results import across_runs, Means


def test_intervals_are_students():
    samples = np.random.default_rng(0).normal(size=(12, 3))
    found = means(samples)
    expected = stats.ttest_1samp(samples, 0).confidence_interval()
    np.testing.assert_allclose(found.value, samples.mean(0))
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high])
    np.testing.assert_array_equal(found.count, 12)


def test_what_is_not_finite_does_not_count():
    samples = np.array([[1.0, np.nan], [3.0, np.nan], [np.inf, 5.0]])
    found = means(samples)
    np.testing.assert_allclose(found.value, [2.0, 5.0])
    np.testing.assert_array_equal(found.count, [2, 1])
    assert np.isfinite(found.low[0]) and np.isnan(found.low[1])
    assert np.isnan(means(np.full((3, 1), np.nan)).value[0])


@dataclasses.dataclass(frozen=True)
class Found:
    names: tuple[str, ...]
    value: Means


def test_across_runs_the_runs_are_the_samples():
    runs = [Found(("a",), means(np.array([[x - 1.0], [x + 1.0]]))) for x in (1.0, 2.0, 6.0)]
    merged = across_runs(runs)
    expected = means(np.array([[1.0], [2.0], [6.0]]))
    np.testing.assert_allclose(
        [merged.value.value, merged.value.low], [expected.value, expected.low]
    )
    assert str(merged.value) == "3 training runs" and merged.names == ("a",)


def test_across_runs_refuses_what_cannot_be_merged():
    one, two = (Found(("a",), means(np.ones((4, n)))) for n in (1, 2))
    with pytest.raises(ValueError, match="at least two runs, got 1"):
        across_runs([one])
    with pytest.raises(ValueError, match=r"differ in shape: value has \[\(1,\), \(2,\)\]"):
        across_runs([one, two])
