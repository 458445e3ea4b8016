from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from flowguide.data import CRITIC_GOALS, GoalRatios, GoalWindows, POLICY_GOALS

from .test_windows import make_dataset


def slow_window(start, goal, horizon, gamma):
    """The obvious version: walk on until the goal is reached or the window ends."""
    reward = 0.0
    for i in range(horizon):
        if start + i == goal:
            return reward, 0.0
        reward -= gamma**i
    return reward, gamma**horizon


def slow_goal(rng, dataset, start, ratios, gamma, first_rows):
    """OGBench's goal of a window, one choice after the other. The last row of an episode is not in
    its datasets: the state there is only ever a next state."""
    ends = np.flatnonzero(dataset.ends)
    last = ends[ends >= start][0] - 1
    kind = rng.choice(4, p=[ratios.current, ratios.geometric, ratios.uniform, ratios.random])
    if kind == 0:
        return start
    if kind == 1:
        return min(start + rng.geometric(1 - gamma), last)
    if kind == 2:
        distance = rng.random()
        return int(np.round(min(start + 1, last) * distance + last * (1 - distance)))
    return rng.choice(first_rows)


@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(3, 7), min_size=1, max_size=3),
    horizon=st.integers(1, 3),
    gamma=st.sampled_from([0.0, 0.5, 0.99]),
    offset=st.integers(0, 100),
)
def test_goal_windows_equal_the_slow_version(seed, lengths, horizon, gamma, offset):
    dataset = make_dataset(seed, lengths)
    windows = GoalWindows(dataset, horizon, gamma)
    start = int(windows.windows.starts[offset % len(windows.windows)])
    goals = jnp.arange(len(dataset))
    batch = jax.vmap(windows.at, (None, 0))(jnp.int32(start), goals)
    for goal in goals:
        reward, discount = slow_window(start, goal, horizon, gamma)
        np.testing.assert_allclose(batch.reward[goal], reward, rtol=1e-5)
        np.testing.assert_allclose(batch.discount[goal], discount, rtol=1e-5)
    observations = np.asarray(dataset.observations)
    np.testing.assert_array_equal(
        batch.observation[:, :3], np.tile(observations[start], (len(goals), 1))
    )
    np.testing.assert_array_equal(batch.observation[:, 3:], observations)
    np.testing.assert_array_equal(batch.next_observation[:, 3:], observations)
    np.testing.assert_array_equal(batch.next_observation[0, :3], observations[start + horizon])


@pytest.mark.parametrize(
    "ratios",
    [CRITIC_GOALS, POLICY_GOALS, GoalRatios(geometric=1.0), GoalRatios(current=0.5, random=0.5)],
)
def test_goals_are_drawn_as_often_as_by_the_slow_version(key, ratios):
    dataset = make_dataset(0, [6, 9])
    windows = GoalWindows(dataset, 2, 0.7, ratios=ratios)
    start, count = 2, 20_000
    keys = jax.random.split(key, count)
    fast = np.asarray(jax.vmap(windows.sample_goal, (None, 0))(jnp.int32(start), keys))
    rng = np.random.default_rng(0)
    first_rows = np.asarray(windows.windows.starts[: len(windows.windows)])
    slow = [slow_goal(rng, dataset, start, ratios, 0.7, first_rows) for _ in range(count)]
    rows = np.arange(len(dataset))
    counts = np.array([[np.sum(np.array(draws) == row) for row in rows] for draws in (fast, slow)])
    seen = counts.sum(axis=0) > 0
    # With fixed seeds: a threshold for a wrong distribution, not for chance.
    found: Any = stats.chi2_contingency(counts[:, seen])
    assert found.pvalue > 1e-4
    if ratios == POLICY_GOALS:
        assert set(fast) == set(range(start + 1, 6))


def test_sampled_goals_follow_their_windows(key):
    windows = GoalWindows(make_dataset(0, [6, 9]), 2, 0.9, ratios=POLICY_GOALS)
    batch = windows.sample(key, 500)
    start, goal = np.asarray(batch.observation[:, 0]), np.asarray(batch.observation[:, 3])
    assert np.all(goal > start) and np.all(batch.observation[:, 1] == batch.observation[:, 4])
    # Reached after one step, or not within the window.
    np.testing.assert_allclose(batch.reward, np.where(goal == start + 1, -1.0, -1.9), rtol=1e-6)
    np.testing.assert_allclose(batch.discount, np.where(goal == start + 1, 0.0, 0.81), rtol=1e-6)


def test_goals_of_their_own(key):
    dataset = make_dataset(0, [6])
    goals = jnp.stack([jnp.arange(7.0) * 10, jnp.zeros(7)], axis=1)
    dataset = type(dataset)(dataset.observations, dataset.actions, dataset.ends, goals=goals)
    batch = GoalWindows(dataset, 1, 0.9, ratios=GoalRatios(current=1.0)).sample(key, 20)
    assert batch.observation.shape == (20, 5)
    np.testing.assert_array_equal(batch.observation[:, 3], 10 * batch.observation[:, 0])
    assert np.all(batch.reward == 0) and np.all(batch.discount == 0)


def test_arguments():
    with pytest.raises(ValueError, match="sum to 1, got GoalRatios"):
        GoalRatios(current=0.5)
    with pytest.raises(ValueError, match="sum to 1"):
        GoalRatios(current=1.5, random=-0.5)
    dataset = make_dataset(0, [6])
    with pytest.raises(ValueError, match="discount below 1"):
        GoalWindows(dataset, 1, 1.0)
    GoalWindows(dataset, 1, 1.0, ratios=POLICY_GOALS)


def test_every_goal_of_an_episode_is_reached_by_a_window(key):
    """Else nothing anchors its value: reaching it would never be seen."""
    dataset = make_dataset(0, [9])
    for horizon in (1, 3):
        windows = GoalWindows(dataset, horizon, 0.9, ratios=GoalRatios(geometric=0.5, uniform=0.5))
        starts = windows.windows.starts[: len(windows.windows)]
        keys = jax.random.split(key, 2000)
        goals = np.unique(jax.vmap(windows.sample_goal, (0, 0))(jnp.resize(starts, (2000,)), keys))
        reached = {int(start) + i for start in starts for i in range(horizon)}
        assert set(goals.tolist()) <= reached
