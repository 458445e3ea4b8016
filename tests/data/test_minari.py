"""Minari's datasets: small ones made here, and stand-ins where minari is not installed."""

import sys
import types

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from flowguide.data import Windows
from flowguide.data._minari import load_minari


def episode(steps, *, terminated, number=0, size=3):
    """Rows that tell themselves apart: observation `10 * number + t`, reward `t + 1`."""
    return types.SimpleNamespace(
        id=number,
        observations=10.0 * number + np.arange(steps + 1)[:, None] * np.ones(size),
        actions=np.arange(steps, dtype=np.float32)[:, None] / 10,
        rewards=np.arange(1.0, steps + 1),
        terminations=(np.arange(1, steps + 1) == steps) & terminated,
        truncations=(np.arange(1, steps + 1) == steps) & ~np.bool_(terminated),
    )


def stand_in(*episodes, observations=None, actions=None):
    return types.SimpleNamespace(
        observation_space=observations or Box(-np.inf, np.inf, (3,)),
        action_space=actions or Box(-2.0, 2.0, (1,)),
        iterate_episodes=lambda: iter(episodes),
    )


def test_rows():
    data = load_minari(
        stand_in(episode(3, terminated=True), episode(2, terminated=False, number=1))
    )
    np.testing.assert_array_equal(data.observations[:, 0], [0, 1, 2, 3, 10, 11, 12])
    np.testing.assert_allclose(data.actions[:, 0], [0, 0.1, 0.2, 0.2, 0, 0.1, 0.1])
    np.testing.assert_array_equal(data.ends, [0, 0, 0, 1, 0, 0, 1])
    assert data.rewards is not None
    np.testing.assert_array_equal(data.rewards, [1, 2, 3, 0, 1, 2, 0])
    # The step that terminated, and not the one that was cut off.
    assert data.masks is not None
    np.testing.assert_array_equal(data.masks, [1, 1, 0, 1, 1, 1, 1])


@pytest.mark.parametrize("terminated", [True, False])
def test_returns(terminated):
    """The reward of the step that terminates counts, and nothing is bootstrapped from after it."""
    data = load_minari(stand_in(episode(3, terminated=terminated)))
    batch = Windows(data, 2, 0.5).at(jnp.array(1))
    assert batch.reward == 2 + 0.5 * 3
    assert batch.discount == (0 if terminated else 0.25)
    assert batch.next_observation[0] == 3
    to_go = Windows(data, 1, 0.5, returns="monte_carlo").to_go
    np.testing.assert_array_equal(to_go, [1 + 0.5 * 2 + 0.25 * 3, 2 + 0.5 * 3, 3, 0])


def test_actions_outside_the_action_space():
    data = stand_in(episode(3, terminated=True), actions=Box(0.0, 0.1, (1,)))
    with pytest.warns(UserWarning, match=r"2 of 4 actions lie outside the bounds \[\[0.\], \[0.1"):
        load_minari(data)


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ({"observations": Dict(a=Box(0, 1, (3,)))}, r"observations .* are of Dict\('a': Box"),
        ({"observations": Box(0, 255, (8, 8, 3), np.uint8)}, r"observations .* of Box\(0, 255"),
        (
            {"actions": Discrete(4)},
            r"actions of this Minari dataset are of Discrete\(4\): expected",
        ),
    ],
)
def test_spaces_that_are_no_vectors(spaces, message):
    with pytest.raises(ValueError, match=message):
        load_minari(stand_in(episode(2, terminated=True), **spaces))


def test_episodes_that_do_not_fit():
    short = episode(4, terminated=True, number=7)
    short.observations = short.observations[:-1]
    with pytest.raises(ValueError, match="Episode 7 .* has 4 observations and 4 actions"):
        load_minari(stand_in(episode(2, terminated=True), short))
    with pytest.raises(ValueError, match="no episodes with actions"):
        load_minari(stand_in())


def test_without_minari(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ImportError, match=r"needs minari: pip install 'flowguide\[minari\]'"):
        load_minari("mujoco/hopper/medium-v0")


@pytest.mark.filterwarnings("ignore:.*is set to None")  # What one may tell about a dataset.
def test_dataset_of_minari(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = gymnasium.make("Pendulum-v1", max_episode_steps=5)
    env.action_space.seed(0)
    episodes, observations, rewards = [], [], []
    for seed in range(2):
        played = minari.data_collector.EpisodeBuffer(observations=[], actions=[])
        played.observations.append(env.reset(seed=seed)[0])
        for _ in range(5):
            played.actions.append(env.action_space.sample())
            observation, reward, terminated, truncated, _ = env.step(played.actions[-1])
            played.observations.append(observation)
            played.rewards.append(reward)
            played.terminations.append(terminated)
            played.truncations.append(truncated)
        episodes.append(played)
        observations += played.observations
        rewards += [*played.rewards, 0.0]
    minari.create_dataset_from_buffers("pendulum/random-v0", episodes, env)
    env.close()

    data = load_minari("pendulum/random-v0")
    np.testing.assert_allclose(data.observations, np.array(observations), rtol=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(data.ends), [5, 11])
    assert data.actions.shape == (12, 1)
    assert data.rewards is not None and data.masks is not None
    np.testing.assert_allclose(data.rewards, rewards, rtol=1e-6)
    np.testing.assert_array_equal(data.masks, np.ones(12))

    same = load_minari(minari.load_dataset("pendulum/random-v0"))
    np.testing.assert_array_equal(same.actions, data.actions)
    with pytest.raises(FileNotFoundError, match="pendulum/expert-v0"):
        load_minari("pendulum/expert-v0")
