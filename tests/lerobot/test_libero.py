"""LIBERO's tasks in the experiments: an episode follows from its seed, and a script solves it."""

# pyright: reportMissingImports=false

import numpy as np
import pytest

pytest.importorskip("lerobot")
pytest.importorskip("libero")

from examples.lerobot.demonstrate import demonstrate
from examples.lerobot.libero import Libero
from examples.lerobot.simulator import make_tasks


def states(env, seed, actions):
    first, _ = env.reset(seed=seed)
    rest = [env.step(action)[0] for action in actions]
    return np.stack([each["environment_state"] for each in (first, *rest)])


def test_an_episode_follows_from_its_seed_and_leaves_numpys_generator_alone():
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (2, 20, 7)).astype(np.float32)
    env = Libero("libero_object-0", 250, 0)
    np.random.seed(7)
    expected = states(env, 3, actions[0])
    drawn = np.random.random()
    another = states(env, 5, actions[1])
    np.testing.assert_array_equal(states(env, 3, actions[0]), expected)
    # The basket stands elsewhere in another episode.
    assert np.abs(another[0, 16:] - expected[0, 16:]).max() > 1e-3
    np.random.seed(7)
    assert drawn == np.random.random()
    env.close()


def test_the_script_puts_the_object_into_the_basket():
    env = Libero("libero_object-0", 250, 0)
    assert env.task_description == "pick up the alphabet soup and place it in the basket"
    shown = demonstrate(env, 1, noise=0.0, seed=0)
    assert shown.tried == 1 and 80 < len(shown.actions) < 150
    assert shown.agent_pos.shape[1] == 19 and np.all(np.abs(shown.actions) <= 1)
    # It is up there, above the basket, before it falls.
    thing, basket = shown.environment_state[:, 9:12], shown.environment_state[:, 16:18]
    assert np.ptp(thing[:, 2]) > 0.2
    assert np.linalg.norm(thing[-1, :2] - basket[-1]) < 0.05


def test_tasks_share_actions_and_say_their_own_instruction():
    env = make_tasks(("libero_object-0", "libero_object-8"), 250, 0)
    said = []
    for seed in (4, 5):
        observation, _ = env.reset(seed=seed)
        assert env.observation_space.contains(observation)
        said.append(env.get_wrapper_attr("task_description"))
    assert [each.split(" and ")[0] for each in said] == [
        "pick up the alphabet soup",
        "pick up the chocolate pudding",
    ]
    env.close()
