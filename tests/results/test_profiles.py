"""Performance profiles and probabilities of improvement: by hand, brute force and scipy."""

import itertools

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from flowguide.results import performance_profile, probability_of_improvement

BETTER = {"a": [0.5, 0.9, 0.7], "b": [0.2, 0.4, 0.4, 1.0]}
WORSE = {"a": [0.5, 0.6, 0.8], "b": [0.3, 0.4, 0.1, 0.2]}


def test_a_profile_by_hand():
    found = performance_profile({"a": [0.0, 0.2, 0.4], "b": [0.2, 1.0]}, [-0.1, 0.0, 0.2, 0.5, 1.0])
    # Above, and not at: of five runs three are above 0.1, two of these at 0.2.
    assert [x.value for x in found] == pytest.approx([1.0, 0.8, 0.4, 0.2, 0.0])
    assert all(x.low <= x.value <= x.high and x.count == 5 for x in found)
    # Every run is above -0.1 and none above 1, whatever is drawn.
    assert (found[0].low, found[-1].high) == (1.0, 0.0)


def test_the_interval_of_a_profile_is_stratified():
    # Which task a run is of decides alone: drawing within tasks changes nothing.
    (found,) = performance_profile({"easy": [0.9] * 4, "hard": [0.1] * 4}, [0.5])
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)
    (found,) = performance_profile({"one": [0.9, 0.1] * 4}, [0.5])
    assert found.low < 0.5 < found.high


def test_a_probability_of_improvement_is_mann_whitneys():
    found = probability_of_improvement(BETTER, WORSE)
    shares = [
        mannwhitneyu(BETTER[task], WORSE[task]).statistic / (len(BETTER[task]) * len(WORSE[task]))
        for task in BETTER
    ]
    assert found.value == pytest.approx(np.mean(shares)) and found.count == 7
    # By hand, on the first task: 0.5 ties once, 0.9 wins three times, 0.7 twice.
    assert shares[0] == pytest.approx((0.5 + 3 + 2) / 9)
    assert found.low <= found.value <= found.high
    back = probability_of_improvement(WORSE, BETTER)
    ends = (back.low, back.value, back.high)
    assert ends == pytest.approx((1 - found.high, 1 - found.value, 1 - found.low))


def test_the_interval_of_a_probability_against_all_resamples():
    """Two runs of one task: the four draws can be written down."""
    first, second = [0.2, 0.8], [0.1, 0.5]
    found = probability_of_improvement({"a": first}, {"a": second})
    each = []
    for draw in itertools.product(range(2), repeat=2):
        pairs = itertools.product((first[i] for i in draw), (second[i] for i in draw))
        each.append(np.mean([x > y for x, y in pairs]))
    assert sorted(each) == [0.75, 0.75, 1.0, 1.0]
    assert (found.low, found.high) == (0.75, 1.0)


def test_what_does_not_differ_is_at_one_half():
    found = probability_of_improvement(BETTER, BETTER)
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


def test_runs_that_do_not_fit():
    with pytest.raises(ValueError, match="at least two runs"):
        performance_profile({"a": [0.5]}, [0.1])
    with pytest.raises(ValueError, match="the same runs on the same tasks"):
        probability_of_improvement(BETTER, {"a": [0.1, 0.2, 0.3], "c": [0.1, 0.2, 0.3, 0.4]})
