"""Evaluation, on a real maze with a policy that needs no training."""

import json
from pathlib import Path

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg
from flowguide import _environments
from flowguide.evaluate import (
    ActionChunks,
    Condition,
    Episode,
    evaluate,
    plot_success,
    read_episodes,
    success,
    summarise,
    write_episodes,
)

TASK = "pointmaze-medium-navigate-singletask-task1-v0"
CONDITIONS = [
    Condition(),
    Condition("qgf", 0.5),
    Condition("qgf", 2.0),
    Condition("best_of_n", 0.0, 2),
]


def policy_and_critic():
    """Noisy steps that drift up the maze, and a critic that likes to go right."""
    policy = fg.FlowPolicy(lambda t, a, o: jnp.ones_like(a) - a, (4, 2), num_steps=4)
    return policy, lambda o, a: jnp.sum(a[:, 0]) + 0 * jnp.sum(o)


@pytest.fixture(scope="module")
def episodes():
    policy, critic = policy_and_critic()
    return {
        num_envs: evaluate(policy, critic, TASK, CONDITIONS, [3, 1, 2], num_envs=num_envs)
        for num_envs in (2, 3)
    }


def test_every_condition_meets_every_seed_once(episodes):
    for found in episodes.values():
        assert len({episode.key for episode in found}) == len(found) == 12
        assert {episode.episode_seed for episode in found} == {1, 2, 3}
        assert all(episode.length <= 1000 for episode in found)
        # The task's reward is -1 until the goal.
        assert all(e.episode_return == e.success - e.length for e in found if not e.success)


def test_the_same_episodes_whatever_the_number_of_environments(episodes):
    first, second = (sorted(found, key=lambda e: e.key) for found in episodes.values())
    assert first == second


def test_finished_episodes_are_not_played_again(episodes):
    policy, critic = policy_and_critic()
    finished = [episode for episode in episodes[2] if episode.episode_seed != 3]
    seen = []
    played = evaluate(
        policy,
        critic,
        TASK,
        CONDITIONS,
        [1, 2, 3],
        num_envs=2,
        finished=finished,
        on_episode=seen.append,
    )
    assert seen == played
    assert {episode.episode_seed for episode in played} == {3}
    assert sorted(played + finished, key=lambda e: e.key) == sorted(
        episodes[2], key=lambda e: e.key
    )
    assert evaluate(policy, critic, TASK, CONDITIONS, [1], finished=episodes[2]) == []


def test_a_chunk_is_its_actions_one_by_one():
    chunked = ActionChunks(_environments.make(TASK), 3)
    assert chunked.action_space.shape == (3, 2)
    alone = _environments.make(TASK)
    chunked.reset(seed=7)
    _environments.reset(alone, 7)
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 3, 2)).astype(np.float32)
    info = {}
    for chunk in actions:
        observation, *_, info = chunked.step(chunk)
        expected = [alone.step(action)[0] for action in chunk]
        np.testing.assert_array_equal(observation, expected[-1])
    assert info["length"] == 15 and info["return"] == -15
    with pytest.raises(ValueError, match="needs a seed"):
        chunked.reset()


def test_a_chunk_stops_at_the_end_of_the_episode():
    env = gymnasium.wrappers.TimeLimit(_environments.make(TASK), 4)
    chunked = ActionChunks(env, 3)
    chunked.reset(seed=0)
    chunk = np.zeros((3, 2), np.float32)
    assert chunked.step(chunk)[3] is False
    end = chunked.step(chunk)
    assert end[3] is True and end[4]["length"] == 4
    # And nothing happens after it.
    assert chunked.step(chunk)[4] == end[4]


def test_actions_must_be_in_a_box():
    with pytest.raises(ValueError, match="Actions must be in a Box"):
        ActionChunks(gymnasium.make("CartPole-v1"), 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("qfg",), "Unknown method 'qfg'"),
        (("unguided", 0.1), "'unguided' has no weight"),
        (("unguided", 0.0, 4), "1 for"),
        (("qgf", 0.1, 0), "best_of_n is 0"),
    ],
)
def test_conditions_that_contradict_themselves(arguments, message):
    with pytest.raises(ValueError, match=message):
        Condition(*arguments)


def some_episodes(rates):
    return [
        Episode(condition, 0, seed, seed < rate * 20, -float(seed), seed + 1)
        for condition, rate in rates.items()
        for seed in range(20)
    ]


def test_results_survive_the_file(tmp_path):
    file = tmp_path / "results.jsonl"
    assert read_episodes(file) == []
    episodes = some_episodes({Condition(): 0.2, Condition("qgf", 0.1, 4): 0.8})
    write_episodes(file, reversed(episodes))
    # In order, whatever order they ended in: unguided comes after qgf in the alphabet.
    assert sorted(read_episodes(file), key=lambda e: e.key) == sorted(episodes, key=lambda e: e.key)
    line = json.loads(file.read_text().splitlines()[0])
    fields = "method weight best_of_n train_seed episode_seed success return length versions"
    assert sorted(line) == sorted(fields.split())
    assert sorted(line["versions"]) == sorted(
        "flowguide jax equinox diffrax ogbench mujoco".split()
    )
    # A killed process leaves half a line.
    whole = file.read_text()
    file.write_text(whole[:-5])
    assert len(read_episodes(file)) == len(episodes) - 1
    file.write_text("{}\n" + whole)
    with pytest.raises(ValueError, match="line 1, is no episode"):
        read_episodes(file)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_success_is_wilsons(outcomes):
    n, rate, z = len(outcomes), np.mean(outcomes), 1.959963984540054
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    found = success(outcomes)
    assert found.count == n
    np.testing.assert_allclose(found.rate, rate)
    np.testing.assert_allclose([found.low, found.high], [centre - half, centre + half], atol=1e-9)


def test_summary_and_picture(tmp_path: Path):
    rates = {
        Condition("qgf", 0.1): 0.5,
        Condition("qgf", 0.3): 0.75,
        Condition("best_of_n", best_of_n=4): 0.4,
        Condition(): 0.1,
        Condition("qgf", 0.1, 4): 0.6,
    }
    episodes = some_episodes(rates)
    found = summarise(episodes)
    assert next(iter(found)) == Condition()
    assert {condition: rate.rate for condition, rate in found.items()} == pytest.approx(rates)
    plot_success(episodes, tmp_path / "success.png", "a task")
    assert (tmp_path / "success.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="at least one"):
        success([])
