"""Data with a row for each step: D4RL's layout, and robomimic's and LeRobot's."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from flowguide import data, nn, train


def steps(lengths, *, seed=0):
    """Walks on a line, one number a state, and which row each step begins in."""
    rng = np.random.default_rng(seed)
    states = [np.cumsum(rng.normal(size=(length + 1, 2)), axis=0) for length in lengths]
    return {
        "observations": np.concatenate([s[:-1] for s in states]),
        "actions": np.concatenate([np.tanh(s[1:] - s[:-1]) for s in states]),
        "rewards": np.arange(sum(lengths)) + 1.0,
        "next_observations": np.concatenate([s[1:] for s in states]),
    }


def marks(lengths, which):
    found = np.zeros(sum(lengths), bool)
    found[np.cumsum(lengths)[list(which)] - 1] = True
    return found


def windows(dataset, horizon=1):
    sampler = data.Windows(dataset, horizon, 0.9)
    return jax.vmap(sampler.at)(jnp.sort(sampler.starts[: len(sampler)]))


@given(
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=6),
    st.booleans(),
)
def test_every_step_is_in_a_window(episodes, has_next):
    lengths = [length for length, _ in episodes]
    rows = steps(lengths)
    terminal = [i for i, (_, is_over) in enumerate(episodes) if is_over]
    terminals = marks(lengths, terminal)
    timeouts = marks(lengths, [i for i in range(len(lengths)) if i not in terminal])
    after = rows.pop("next_observations")
    if not has_next and all(length == 1 for length, is_over in episodes if not is_over):
        # Nothing is known of what followed these.
        timeouts |= False
    given = {**rows, "terminals": terminals, "timeouts": timeouts}
    with warnings.catch_warnings():
        # Of episodes of one step that were cut off, nothing is left.
        warnings.filterwarnings("ignore", message="All .* rewards other than 0")
        dataset = data.from_transitions(**given, next_observations=after if has_next else None)
    # Without the next observation, an episode that was cut off ends one step earlier.
    kept = np.ones(len(terminals), bool) if has_next else ~timeouts
    if not kept.any():
        return
    found = windows(dataset)
    np.testing.assert_allclose(found.observation, rows["observations"][kept], rtol=1e-6)
    np.testing.assert_allclose(found.action[:, 0], rows["actions"][kept], rtol=1e-6)
    np.testing.assert_allclose(found.reward, rows["rewards"][kept])
    np.testing.assert_allclose(found.discount, np.where(terminals, 0, 0.9)[kept], rtol=1e-6)
    goes_on = ~terminals[kept]
    expected = after[kept][goes_on]
    np.testing.assert_allclose(found.next_observation[goes_on], expected, rtol=1e-6)


def test_the_reward_of_the_last_step_reaches_the_critic():
    """D4RL's layout: 3 steps, of which the last solves the task."""
    count = 50
    observations = np.tile(np.eye(3), (count, 1))
    actions = np.zeros((3 * count, 1))
    rewards, terminals = (np.tile([0.0, 0.0, 1.0], count) for _ in range(2))
    dataset = data.from_transitions(observations, actions, rewards, terminals)
    learner = train.IQL(
        lambda key: nn.critic_ensemble(2, 3, (1, 1), (32,), key=key),
        lambda key: nn.ValueMLP(3, (32,), key=key),
        target_rate=0.05,
    )
    sampler = data.Windows(dataset, 1, 0.9)
    # optax.adam raises a float to its integer step count, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        state = train.train(learner, sampler, steps=1500, key=jax.random.key(0), batch_size=64)
    critic = state.result(learner)
    values = [float(critic(jnp.eye(3)[i], jnp.zeros((1, 1)))) for i in range(3)]
    np.testing.assert_allclose(values, [0.81, 0.9, 1.0], atol=0.05)


def test_rows_for_steps_given_as_rows_for_states_are_warned_of():
    rows = steps([3, 4])
    terminals = marks([3, 4], [0, 1])
    given = rows["observations"], rows["actions"], rows["rewards"], 1.0 - terminals, terminals
    with pytest.warns(UserWarning, match="All 2 rows where the task is over.*from_transitions"):
        data.from_arrays(*given)


def test_rewards_of_last_steps_given_as_rows_for_states_are_warned_of():
    """A reward at each success, and ends of which none says that the task was over."""
    rows = steps([3, 4])
    last = marks([3, 4], [0, 1])
    with pytest.warns(UserWarning, match="All 2 rewards other than 0.*from_transitions"):
        data.from_arrays(rows["observations"], rows["actions"], last, np.ones(7), last)
    given = rows["observations"], rows["actions"], last
    with pytest.warns(UserWarning, match="All 2 rewards other than 0 .* next_observations"):
        dataset = data.from_transitions(*given, timeouts=last)
    assert dataset.rewards is not None and not np.any(dataset.rewards)
    # With what follows nothing is lost.
    known = data.from_transitions(
        *given, timeouts=last, next_observations=rows["next_observations"]
    )
    assert known.rewards is not None and np.sum(known.rewards) == 2


def test_an_end_that_nobody_marked_is_found():
    rows = steps([3, 4])
    with pytest.warns(UserWarning, match=r"In 1 of 7 rows.*first is row 2.*cut off"):
        dataset = data.from_transitions(**rows)
    np.testing.assert_array_equal(np.flatnonzero(dataset.ends), [3, 8])
    assert dataset.masks is not None and dataset.masks.all()


def test_data_without_a_task_have_no_rewards():
    rows = steps([3, 4])
    del rows["rewards"]
    dataset = data.from_transitions(**rows, timeouts=marks([3, 4], [0, 1]))
    assert dataset.rewards is None and dataset.masks is None and len(dataset) == 9


@pytest.mark.parametrize(
    "flags", [[0, 2, 1], [0, -1, 1], [0.5, 0, 1], ["0", "0", "1"], [0, np.nan, 1]]
)
def test_flags_are_0_or_1(flags):
    rows = steps([3])
    with pytest.raises(ValueError, match="terminals must have True or False, or 0 or 1"):
        data.from_transitions(**rows, terminals=np.array(flags))
    with pytest.raises(ValueError, match="timeouts must have True or False"):
        data.from_transitions(**rows, timeouts=np.array(flags))
    named = {"ends": np.array(flags)}
    with pytest.raises(ValueError, match="ends must have True or False, or 0 or 1"):
        data.from_arrays(rows["observations"], rows["actions"], **named)


@pytest.mark.parametrize("masks", [[1, 2, 1], [1, -1, 1], [1, 0.5, 1]])
def test_masks_are_0_or_1(masks):
    rows = steps([3])
    with pytest.raises(ValueError, match="masks must have True or False, or 0 or 1"):
        data.from_arrays(rows["observations"], rows["actions"], rows["rewards"], np.array(masks))


def test_episode_numbers_are_no_ends():
    rows = steps([2, 2])
    with pytest.raises(ValueError, match=r"ends must have.*got np.int64\(2\)"):
        data.from_arrays(rows["observations"], rows["actions"], ends=np.array([1, 1, 2, 2]))


def test_arrays_of_other_lengths_are_refused():
    rows = steps([3])
    with pytest.raises(ValueError, match="terminals has 2 rows, observations 3"):
        data.from_transitions(**rows, terminals=np.array([0, 1]))
    with pytest.raises(ValueError, match="The dataset is empty"):
        data.from_transitions(np.zeros((0, 2)), np.zeros((0, 2)))


def test_the_last_episode_is_kept_though_nobody_marked_its_end():
    """Some files of D4RL stop in the middle of one."""
    rows = steps([3, 4])
    del rows["next_observations"]
    dataset = data.from_transitions(**rows, terminals=marks([3, 4], [0]))
    np.testing.assert_array_equal(windows(dataset).reward, rows["rewards"][:-1])


def test_episodes_of_one_step():
    rows = steps([1, 1, 2])
    dataset = data.from_transitions(**rows, terminals=marks([1, 1, 2], [0, 1, 2]))
    np.testing.assert_array_equal(windows(dataset).reward, rows["rewards"])
    assert dataset.num_episodes == 3


def test_columns_of_one_number_are_columns():
    rows = steps([3, 4])
    flat = data.from_transitions(**rows, terminals=marks([3, 4], [0, 1]))
    rows["rewards"] = rows["rewards"][:, None]
    column = data.from_transitions(**rows, terminals=marks([3, 4], [0, 1])[:, None])
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), flat, column))


def test_final_states_keep_their_fractions():
    found = data.from_transitions(
        np.array([[0], [1]]), np.zeros((2, 1)), next_observations=np.array([[1.0], [1.5]])
    )
    np.testing.assert_array_equal(found.observations[:, 0], [0, 1, 1.5])
