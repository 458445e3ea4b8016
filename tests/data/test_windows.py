import contextlib
import warnings

import jax
import numpy as np
import pytest
from hypothesis import given, strategies as st

from flowguide.data import from_arrays, split_episodes, Windows


def make_dataset(seed, lengths):
    """Episodes of the given numbers of actions; observations tell episode and step apart."""
    rng = np.random.default_rng(seed)
    size = sum(lengths) + len(lengths)
    ends = np.zeros(size, bool)
    ends[np.cumsum(np.array(lengths) + 1) - 1] = True
    episode = np.cumsum(ends) - ends
    observations = np.stack([np.arange(size), episode, rng.normal(size=size)], axis=1)
    with warnings.catch_warnings():
        # Of random data, some end with the task by chance.
        warnings.filterwarnings("ignore", message="All .* rows where the task is over")
        return from_arrays(
            observations,
            rng.uniform(-1, 1, (size, 2)),
            rng.normal(size=size),
            rng.random(size) > 0.2,
            ends,
        )


def slow_window(dataset, start, horizon, gamma):
    """The obvious version: walk on until the task ends or the window does."""
    reward, discount = 0.0, 1.0
    for i in range(horizon):
        reward += discount * float(dataset.rewards[start + i])
        discount *= gamma * float(dataset.masks[start + i])
        if discount == 0:
            break
    return reward, discount


def too_short(lengths, horizon):
    """Expects the warning about episodes with fewer actions than the horizon, with their count."""
    count = sum(0 < length < horizon for length in lengths)
    if not count:
        return contextlib.nullcontext()
    return pytest.warns(
        match=f"^{count} of {len(lengths)} episodes have fewer than {horizon} actions"
    )


def slow_to_go(dataset, row, gamma, returns):
    """The obvious version: walk on until the task or the episode ends."""
    total, factor = 0.0, 1.0
    while True:
        solved = float(dataset.masks[row]) == 0
        total += factor * (float(dataset.rewards[row]) if returns == "monte_carlo" else solved)
        if solved or dataset.ends[row]:
            return total
        row, factor = row + 1, factor * gamma


@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=4).filter(max),
    gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    returns=st.sampled_from(["monte_carlo", "success_to_go"]),
)
def test_returns_to_the_end_equal_the_slow_version(seed, lengths, gamma, returns):
    dataset = make_dataset(seed, lengths)
    windows = Windows(dataset, 1, gamma, returns=returns)
    starts = windows.starts[: len(windows)]
    batch = jax.vmap(windows.at)(starts)
    slow = [slow_to_go(dataset, row, gamma, returns) for row in np.asarray(starts)]
    np.testing.assert_allclose(batch.reward, slow, rtol=1e-4, atol=1e-5)
    assert np.all(batch.discount == 0)


def test_a_dataset_without_a_task(key):
    with_task = make_dataset(0, [5])
    dataset = from_arrays(with_task.observations, with_task.actions, ends=with_task.ends)
    batch = Windows(dataset, 2).sample(key, 3)
    # A policy can learn from it; a critic's loss says at once that it cannot.
    assert np.all(np.isnan(batch.reward)) and np.all(np.isfinite(batch.action))
    with pytest.raises(ValueError, match="no rewards and masks"):
        Windows(dataset, 1, returns="monte_carlo")
    with pytest.raises(ValueError, match="no rewards and masks"):
        dataset.success_share  # noqa: B018
    with pytest.raises(ValueError, match="one without the other"):
        from_arrays(with_task.observations, with_task.actions, with_task.rewards)


@given(
    lengths=st.lists(st.integers(0, 5), min_size=2, max_size=8),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 100),
)
def test_split_holds_whole_episodes_back(lengths, share, seed):
    dataset = make_dataset(0, lengths)
    parts = split_episodes(dataset, share, seed=seed)
    rows = [np.asarray(part.observations[:, 0]) for part in parts]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(len(dataset)))
    episodes = [set(np.asarray(part.observations[:, 1]).tolist()) for part in parts]
    assert not episodes[0] & episodes[1]
    assert len(episodes[1]) == min(max(round(share * len(lengths)), 1), len(lengths) - 1)
    for part, found in zip(parts, episodes, strict=True):
        assert part.num_episodes == len(found) and bool(part.ends[-1])
        rows = np.asarray(part.observations[:, 0], int)
        np.testing.assert_array_equal(part.rewards, np.asarray(dataset.rewards)[rows])
    for bad in (0.0, 1.0):
        with pytest.raises(ValueError, match="a share in"):
            split_episodes(dataset, bad)
    with pytest.raises(ValueError, match="at least 2 episodes"):
        split_episodes(make_dataset(0, [3]))


def test_actions_outside_the_bounds_are_counted():
    arrays = np.zeros((4, 1)), np.array([[0.0, 1.5], [0, 0], [-2, -2], [1, -1]])
    with pytest.warns(match=r"^2 of 4 actions lie outside the bounds \[-1.0, 1.0\]"):
        from_arrays(*arrays)
    from_arrays(*arrays, low=np.array([-2.0, -2.0]), high=np.array([1.0, 1.5]))


@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=5),
    horizon=st.integers(1, 4),
    gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
)
def test_windows_equal_the_slow_version(seed, lengths, horizon, gamma):
    dataset = make_dataset(seed, lengths)
    if max(lengths) < horizon:
        with pytest.raises(ValueError, match=f"the longest has {max(lengths)}"):
            Windows(dataset, horizon, gamma)
        return
    with too_short(lengths, horizon):
        windows = Windows(dataset, horizon, gamma)
    # Each episode of n actions holds n - horizon + 1 of them, and no more.
    assert len(windows) == sum(max(0, length - horizon + 1) for length in lengths)
    starts = windows.starts[: len(windows)]
    batch = jax.vmap(windows.at)(starts)
    np.testing.assert_array_equal(batch.observation[:, 1], batch.next_observation[:, 1])
    for i, start in enumerate(np.asarray(starts)):
        reward, discount = slow_window(dataset, start, horizon, gamma)
        np.testing.assert_allclose(batch.reward[i], reward, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(batch.discount[i], discount, rtol=1e-5)
        assert int(batch.observation[i, 0]) == start
        assert int(batch.next_observation[i, 0]) == start + horizon
        np.testing.assert_array_equal(batch.action[i], dataset.actions[start : start + horizon])


@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(max),
    horizon=st.integers(1, 3),
)
def test_next_actions_are_those_that_follow(seed, lengths, horizon):
    dataset = make_dataset(seed, lengths)
    masks = np.asarray(dataset.task[1])
    expected = [
        row
        for row in range(len(dataset))
        if not dataset.ends[row : row + horizon].any()
        and (
            not masks[row : row + horizon].all()
            or (
                row + 2 * horizon < len(dataset) and not dataset.ends[row : row + 2 * horizon].any()
            )
        )
    ]
    if not expected:
        with pytest.raises(ValueError, match=f"No episode has {2 * horizon} actions in a row"):
            Windows(dataset, horizon, next_actions=True)
        return
    with too_short(lengths, horizon):
        windows = Windows(dataset, horizon, next_actions=True)
    np.testing.assert_array_equal(windows.starts[: len(windows)], expected)
    batch = jax.vmap(windows.at)(windows.starts[: len(windows)])
    for i, start in enumerate(expected):
        if batch.discount[i] > 0:
            following = dataset.actions[start + horizon : start + 2 * horizon]
            assert batch.next_action is not None
            np.testing.assert_array_equal(batch.next_action[i], following)
    with too_short(lengths, horizon):
        plain = Windows(dataset, horizon)
    assert plain.at(plain.starts[0]).next_action is None


def test_sampling_reaches_every_window_evenly(key):
    windows = Windows(make_dataset(0, [5, 9]), 3)
    batch = windows.sample(key, 20_000)
    starts, counts = np.unique(np.asarray(batch.observation[:, 0]), return_counts=True)
    np.testing.assert_array_equal(starts, windows.starts[:10])
    # 2000 expected in each of 10 bins: five standard deviations are 212.
    assert np.all(np.abs(counts - 2000) < 212)
    again = windows.sample(key, 20_000)
    np.testing.assert_array_equal(batch.observation, again.observation)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.zeros(3)}, r"rewards has shape \(3,\)"),
        ({"actions": np.zeros(4)}, "expected 2 dimensions"),
        (
            {"observations": np.array([[0.0], [np.nan], [np.inf], [0.0]])},
            "in 2 of 4 rows, first in row 1",
        ),
        ({"ends": np.array([0, 1, 0, 0])}, "last row is not the end"),
    ],
)
def test_bad_arrays(change, message):
    arrays = {
        "observations": np.zeros((4, 1)),
        "actions": np.zeros((4, 2)),
        "rewards": np.zeros(4),
        "masks": np.ones(4),
        "ends": np.array([0, 1, 0, 1]),
    }
    from_arrays(**arrays)
    with pytest.raises(ValueError, match=message):
        from_arrays(**{**arrays, **change})
    empty = {name: array[:0] for name, array in arrays.items()}
    with pytest.raises(ValueError, match="empty"):
        from_arrays(**empty)


def test_window_arguments():
    dataset = make_dataset(0, [5])
    with pytest.raises(ValueError, match="horizon must be an integer of at least 1"):
        Windows(dataset, 0)
    with pytest.raises(ValueError, match="discount must be in"):
        Windows(dataset, 1, 1.5)
