"""`reset` leaves nothing to chance: not in the observation, not in what follows from it."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from flowguide._rollout import environments

# Goal-conditioned, single-task and data collection; every family; a random teleport.
CASES = {
    "cube": ("cube-double-play-v0", {}),
    "cube single task": ("cube-single-play-singletask-task2-v0", {}),
    "cube collecting": ("cube-single-noisy-v0", {"mode": "data_collection"}),
    "scene": ("scene-play-v0", {}),
    "scene single task": ("scene-play-singletask-v0", {}),
    "puzzle": ("puzzle-3x3-play-v0", {}),
    "maze": ("pointmaze-medium-navigate-v0", {}),
    "teleport": ("pointmaze-teleport-stitch-v0", {}),
    "ant": ("antmaze-medium-navigate-singletask-task1-v0", {}),
}


def trajectory(env, seed, steps=30, options=None):
    observation, info = environments.reset(env, seed, options)
    observations, rewards = [observation], []
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        action = rng.uniform(-1, 1, size=env.action_space.shape)
        observation, reward, *_ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    goal = info.get("goal", np.zeros(0))
    return np.array(observations), np.array(rewards, float), np.asarray(goal)


def is_same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.filterwarnings("ignore:.*precision lowered by casting")  # By `env.reset` alone.
@pytest.mark.parametrize("case", CASES)
def test_same_seed_same_trajectory_whatever_came_before(case):
    name, kwargs = CASES[case]
    env = environments.make(name, **kwargs)
    first = trajectory(env, seed=1)

    assert is_same(first, trajectory(env, seed=1))
    assert not is_same(first, trajectory(env, seed=2))

    # A history that touches every source of randomness.
    np.random.seed(None)
    np.random.uniform(size=7)
    env.action_space.seed(5)
    env.reset()
    env.step(env.action_space.sample())
    assert is_same(first, trajectory(env, seed=1))

    # Also without the reset that gymnasium's checker does when it makes the environment.
    fresh = environments.make(name, disable_env_checker=True, **kwargs)
    assert is_same(first, trajectory(fresh, seed=1))


def digest(names):
    found = hashlib.sha256()
    for name in names:
        for array in trajectory(environments.make(name), seed=3, steps=20):
            found.update(array.tobytes())
    return found.hexdigest()


def test_same_seed_same_trajectory_in_another_process():
    names = ["cube-single-play-v0", "pointmaze-teleport-navigate-v0"]
    code = f"from {__name__} import digest; print(digest({names!r}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(names)


def test_seeds_differ_from_each_other_in_the_goal_and_the_task():
    env = environments.make("cube-single-play-v0")
    goals, tasks = [], set()
    for seed in range(12):
        _, info = environments.reset(env, seed)
        goals.append(info["goal"])
        tasks.add(env.get_wrapper_attr("cur_task_id"))
    assert len(np.unique(goals, axis=0)) == 12
    assert len(tasks) > 1


def test_options_choose_the_task():
    env = environments.make("cube-single-play-v0")
    for task in (1, 4):
        environments.reset(env, 0, {"task_id": task})
        assert env.get_wrapper_attr("cur_task_id") == task


def test_reset_leaves_the_environment_as_it_was():
    env = environments.make("cube-single-play-v0")
    kind = type(env.unwrapped)
    environments.reset(env, 0)
    assert type(env.unwrapped) is kind
    with pytest.raises(AssertionError, match="Task ID"):
        environments.reset(env, 0, {"task_id": 99})
    assert type(env.unwrapped) is kind


def test_large_seeds():
    env = environments.make("pointmaze-medium-navigate-v0")
    assert not is_same(trajectory(env, 2**70), trajectory(env, 2**70 + 1))


@pytest.mark.parametrize("seed", [-1, True])
def test_a_seed_that_is_none(seed):
    env = environments.make("pointmaze-medium-navigate-v0")
    with pytest.raises(ValueError, match="seed must be an integer of at least 0"):
        environments.reset(env, seed)


@pytest.mark.parametrize(
    "name",
    [
        "cube-single-play-v0",
        "cube-single-play-singletask-v0",
        "cube-single-v0",
        "cube-single-singletask-task3-v0",
    ],
)
def test_names_of_datasets_tasks_and_environments(name):
    env = environments.make(name)
    assert env.observation_space.shape == (28,)
    assert env.action_space is env.action_space


@pytest.mark.parametrize("name", ["cube-singel-play-v0", "Ant-v5", "Ant-some-data-v5", "", "a b"])
def test_unknown_name(name):
    with pytest.raises(ValueError, match=f"'{name}' is no OGBench environment. Expected .*cube-"):
        environments.make(name)


@pytest.mark.parametrize("name", ["visual-cube-single-play-v0", "powderworld-easy-play-v0"])
def test_pixels(name):
    with pytest.raises(ValueError, match="observes pixels"):
        environments.make(name)


def test_importing_flowguide_imports_no_simulator():
    code = (
        "import sys, flowguide, flowguide.data, flowguide._rollout.environments; "
        "print(sorted({'gymnasium', 'ogbench', 'mujoco'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
