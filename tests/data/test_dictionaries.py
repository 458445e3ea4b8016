"""Observations in parts: states, images and tokens, each of its own type."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flowguide import data

from .test_windows import make_dataset


def parts(count, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "state": rng.normal(size=(count, 3)),
        "images": {"top": rng.integers(0, 255, (count, 4, 4, 3), np.uint8)},
        "mask": rng.random((count, 5)) > 0.5,
    }


def arrays(lengths=(4, 2)):
    flat = make_dataset(0, list(lengths))
    names = ("actions", "rewards", "masks", "ends")
    return parts(len(flat)), {name: np.asarray(getattr(flat, name)) for name in names}


def test_windows_of_parts_are_those_of_one_array_part_by_part():
    observations, rest = arrays()
    dataset = data.from_arrays(observations, **rest)
    assert dataset.observations["state"].dtype == jnp.float32
    assert dataset.observations["images"]["top"].dtype == jnp.uint8
    assert dataset.observations["mask"].dtype == bool
    alone = data.Windows(data.from_arrays(observations["state"], **rest), 2)
    windows = data.Windows(dataset, 2)
    key = jax.random.key(0)
    batch, expected = windows.sample(key, 16), alone.sample(key, 16)
    np.testing.assert_array_equal(batch.observation["state"], expected.observation)
    np.testing.assert_array_equal(batch.next_observation["state"], expected.next_observation)
    assert batch.observation["images"]["top"].shape == (16, 4, 4, 3)
    learn, held_back = data.split_episodes(dataset, 0.5)
    assert len(learn) + len(held_back) == len(dataset)


def test_parts_that_do_not_fit_are_named():
    observations, rest = arrays()
    short = {**observations, "state": observations["state"][:-1]}
    with pytest.raises(ValueError, match=r"observations\['state'\] has shape \(7, 3\)"):
        data.from_arrays(short, **rest)
    wrong = {**observations, "state": np.full((8, 3), np.nan)}
    with pytest.raises(ValueError, match=r"observations\['state'\] holds values .* not finite"):
        data.from_arrays(wrong, **rest)
    with pytest.raises(ValueError, match="The dataset is empty"):
        data.from_arrays({}, **rest)
    with pytest.raises(ValueError, match="this dataset's are a dictionary of .*images"):
        data.GoalWindows(data.from_arrays(observations, **rest))


def test_rows_for_steps_become_episodes_part_by_part():
    before, after = parts(6), jax.tree.map(lambda x: np.roll(x, -1, axis=0), parts(6))
    terminals = np.arange(6) == 5
    steps = (np.zeros((6, 2)), np.ones(6), terminals, ~terminals & (np.arange(6) == 2))
    dataset = data.from_transitions(before, *steps, after)
    alone = data.from_transitions(before["state"], *steps, after["state"])
    np.testing.assert_array_equal(dataset.observations["state"], alone.observations)
    np.testing.assert_array_equal(dataset.ends, alone.ends)
    assert dataset.observations["images"]["top"].dtype == jnp.uint8
    with pytest.raises(ValueError, match="next_observations has .*expected the same arrays"):
        data.from_transitions(before, *steps, {"state": after["state"]})
    jumps = {**after, "state": after["state"] + 1.0}
    with pytest.warns(match="the next observation is not that of the next row"):
        data.from_transitions(before, *steps, jumps)


def test_success_to_go_counts_from_the_first_success_that_is_told():
    observations, rest = arrays((6,))
    rest = {**rest, "rewards": np.zeros(7), "masks": np.array([1, 1, 1, 1, 1, 0, 1.0])}
    # Solved in the third step and once more, and over, unsolved, in the last.
    solved = np.array([0, 0, 1, 1, 0, 0, 0], bool)
    with_success = data.from_arrays(observations, **rest, successes=solved)
    windows = data.Windows(with_success, 1, 0.5, returns="success_to_go")
    to_go = jax.vmap(windows.at)(jnp.arange(6)).reward
    assert to_go.tolist() == [0.25, 0.5, 1.0, 1.0, 0.0, 0.0]
    without = data.Windows(data.from_arrays(observations, **rest), 1, 0.5, returns="success_to_go")
    assert jax.vmap(without.at)(jnp.arange(6)).reward.tolist() == [
        0.5**5,
        *0.5 ** np.arange(4, -1, -1),
    ]
    with pytest.raises(ValueError, match="successes must have True or False"):
        data.from_arrays(observations, **rest, successes=solved + 2)


def test_windows_can_start_where_chunks_were_chosen():
    dataset = make_dataset(0, [7, 5])
    windows = data.Windows(dataset, 2, every=3)
    starts = sorted(np.asarray(windows.starts)[: len(windows)].tolist())
    assert starts == [0, 3, 8, 11]
    with pytest.raises(ValueError, match="every must be"):
        data.Windows(dataset, 2, every=0)
