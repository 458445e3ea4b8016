"""Over-optimisation, where it is known how wrong a critic is."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg
from flowguide.diagnose import over_optimisation
from flowguide.evaluate import cross
from flowguide.results import across_runs, compare, Condition, Episode

from ..helpers import mlp_critic, mlp_policy, observation

NUMBERS = [1, 4, 16, 256]


def truth(observation, action):
    """Best at 1, in each entry."""
    return -jnp.sum((action - 1) ** 2)


def wrong(observation, action):
    """The truth and an error that grows with the action: best at 9."""
    return truth(observation, action) + 16 * jnp.sum(action)


@pytest.fixture
def policy():
    """A standard Gaussian of one entry, the same at every time: noise is the action."""
    return fg.FlowPolicy(lambda t, a, o: jnp.zeros(1), (1,), low=-99.0, high=99.0)


@pytest.fixture
def some(key):
    return jax.vmap(observation)(jr.split(key, 500))


def by_label(found, means):
    return dict(zip([c.label for c in found.conditions], means.value, strict=True))


def test_a_wrong_critic_gains_where_the_judge_loses(key, policy, some):
    """Euler's steps with a constant velocity add up: the action of `qgf` has a closed form."""
    weights = [0.01, 0.05, 0.2, 1.0]
    guidances = cross(["qgf"], weights=weights)
    found = over_optimisation(policy, wrong, truth, some, guidances, key=key)
    gain, judged = by_label(found, found.gain), by_label(found, found.judged)
    assert gain["unguided"] == judged["unguided"] == 0
    labels = [f"qgf {w:g}" for w in weights]
    claims = [gain[label] for label in labels]
    assert claims == sorted(claims)
    # Of ten steps, each goes 2 w / 10 of the way towards 9 from where the one before has come.
    for weight, label in zip(weights, labels, strict=True):
        # The estimate one Euler step ahead is the action itself: the policy's velocity is 0.
        left = (1 - 2 * weight / 10) ** 10
        mean, variance = 9 * (1 - left), left**2
        expected = -((mean - 1) ** 2) - variance + 2
        np.testing.assert_allclose(judged[label], expected, rtol=0.03, atol=0.15)
    # Up to 1 the error helps, and beyond it the judge falls while the claim goes on rising.
    assert judged["qgf 0.05"] > 0 > judged["qgf 0.2"] > judged["qgf 1"]


def test_of_a_critic_that_is_right_more_is_better(key, policy, some):
    guidances = cross(["best_of_n"], best_of_n=NUMBERS)
    right = over_optimisation(policy, truth, truth, some, guidances, key=key)
    np.testing.assert_array_equal(right.gain.value, right.judged.value)
    assert np.all(np.diff(right.judged.value) > 0)
    mistaken = over_optimisation(policy, wrong, truth, some, guidances, key=key)
    # The best of 256 by it is their largest, of about 2.8, as bad as -0.8 is.
    assert np.all(np.diff(mistaken.gain.value) > 0)
    judged = by_label(mistaken, mistaken.judged)
    assert judged["best of 4"] > judged["best of 16"] > judged["best of 256"]
    largest = np.random.default_rng(0).normal(size=(4000, 256)).max(1)
    expected = np.mean(-((largest - 1) ** 2)) + 2
    np.testing.assert_allclose(judged["best of 256"], expected, atol=0.25)


def test_distances_are_from_the_policy_at_that_observation(key, some):
    """The policy's actions lie at the observation's first entry: those of others are no use."""
    policy = fg.FlowPolicy(
        lambda t, a, o: (100 * o[:1] - a) / (1 - t), (1,), low=-999.0, high=999.0
    )
    found = over_optimisation(
        policy, lambda o, a: 5 * a[0], truth, some[:20], {"qgf 1": fg.qgf(1.0)}, key=key
    )
    # All its actions are one; what guidance added in the last step is there, the rest forgotten.
    np.testing.assert_allclose(found.to_policy.value, [0.0, 5 / 10], atol=1e-3)
    assert found.num_unguided == 64


def test_is_drawn_and_told_with_and_without_success(key, tmp_path, some):
    policy, critic, judge = mlp_policy(key), mlp_critic(key), mlp_critic(jr.fold_in(key, 1))
    guidances = cross(["qgf", "best_of_n"], local=[1.0, 5.0], best_of_n=[1, 4])
    found = over_optimisation(policy, critic, judge, some[:8], guidances, num_unguided=4, key=key)
    episodes = [
        Episode(condition, 0, seed, bool(seed % 2), 0.0, 1)
        for condition in [*found.conditions, Condition("another")]
        for seed in range(4)
    ]
    plain, full = found.plot(), found.plot(compare(episodes))
    assert len(plain.axes) == 6 and len(full.axes) == 8
    for figure in (plain, full):
        below = [axes.get_xlabel() for axes in figure.axes]
        assert below[-2:] == ["actions to choose from", below[-1]] and "local" in below[-1]
        assert not any(below[:-2])
        figure.savefig(tmp_path / "picture.png")
        assert (tmp_path / "picture.png").stat().st_size > 5000
    labels = full.axes[-2].get_legend_handles_labels()[1]
    assert labels == ["unguided, best of n", "qgf local 1, best of n", "qgf local 5, best of n"]
    lines = str(found).splitlines()
    assert len(lines) == 2 + len(found.conditions) and "the judge's gain" in lines[0]
    assert re.search(r"qgf, best of 4 local 5\D", lines[-1])
    assert "<table" in found._repr_html_()
    together = across_runs([found, dataclasses.replace(found, gain=found.value)])
    assert together.gain.samples == "training runs"


def test_weights_alone_and_nothing_at_all(key, some):
    policy, critic = mlp_policy(key), mlp_critic(key)
    for guidances, columns in (
        (cross(["qgf"], weights=[0.1], kappas=[1.0], observations=some[:8]), 2),
        ({"mine": fg.qgf(lambda t: t)}, 1),
    ):
        found = over_optimisation(policy, critic, critic, some[:4], guidances, key=key)
        assert len(found.plot().axes) == 3 * columns
