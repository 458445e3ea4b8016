import jax
import numpy as np
import pytest
from hypothesis import given, strategies as st

from flowguide.data import from_arrays, Windows


def make_dataset(seed, lengths):
    """Episodes of the given numbers of actions; observations tell episode and step apart."""
    rng = np.random.default_rng(seed)
    size = sum(lengths) + len(lengths)
    ends = np.zeros(size, bool)
    ends[np.cumsum(np.array(lengths) + 1) - 1] = True
    episode = np.cumsum(ends) - ends
    observations = np.stack([np.arange(size), episode, rng.normal(size=size)], axis=1)
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
    windows = Windows(dataset, horizon, gamma)
    # Each episode of n actions holds n - horizon + 1 of them, and no more.
    assert len(windows) == sum(max(0, length - horizon + 1) for length in lengths)
    batch = jax.vmap(windows.at)(windows.starts)
    np.testing.assert_array_equal(batch.observation[:, 1], batch.next_observation[:, 1])
    for i, start in enumerate(np.asarray(windows.starts)):
        reward, discount = slow_window(dataset, start, horizon, gamma)
        np.testing.assert_allclose(batch.reward[i], reward, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(batch.discount[i], discount, rtol=1e-5)
        assert int(batch.observation[i, 0]) == start
        assert int(batch.next_observation[i, 0]) == start + horizon
        np.testing.assert_array_equal(batch.action[i], dataset.actions[start : start + horizon])


def test_sampling_reaches_every_window_evenly(key):
    windows = Windows(make_dataset(0, [5, 9]), 3)
    batch = windows.sample(key, 20_000)
    starts, counts = np.unique(np.asarray(batch.observation[:, 0]), return_counts=True)
    np.testing.assert_array_equal(starts, windows.starts)
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
