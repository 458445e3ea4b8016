"""The experiments on MetaWorld: the simulator, and a run of everything on a small scale."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("lerobot")
pytest.importorskip("metaworld")

# MuJoCo reads it when it is imported first, which other tests have done by now.
HAS_CAMERA = "MUJOCO_GL" in os.environ

from examples.lerobot.demonstrate import demonstrate
from examples.lerobot.metaworld import MetaWorld
from examples.lerobot.simulator import make_tasks
from flowguide._rollout import environments


def played(env, seed, actions):
    observation, _ = environments.reset(env, seed)
    seen = [observation]
    for action in actions:
        observation, *_ = env.step(action)
        seen.append(observation)
    return {name: np.stack([each[name] for each in seen]) for name in seen[0]}


def check_follows_from_seed(image_every):
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (2, 20, 4)).astype(np.float32)
    env, other = (MetaWorld("push-v3", 150, image_every) for _ in range(2))
    expected = played(env, 3, actions[0])
    # After another episode, with another simulation between.
    played(env, 5, actions[1])
    played(other, 7, actions[1])
    found = played(env, 3, actions[0])
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    env.close()
    other.close()
    return expected


def test_an_episode_follows_from_its_seed():
    seen = check_follows_from_seed(0)
    assert seen["agent_pos"].shape == (21, 39)
    np.testing.assert_array_equal(seen["agent_pos"], seen["environment_state"])
    assert np.all(seen["pixels"] == 127)


@pytest.mark.skipif(not HAS_CAMERA, reason="MUJOCO_GL says with what to render")
def test_images_follow_from_the_seed_and_are_as_old_as_they_may_be():
    seen = check_follows_from_seed(8)
    assert seen["agent_pos"].shape == (21, 4)
    images = seen["pixels"]
    assert images.std() > 10
    changes = np.any(images[1:] != images[:-1], axis=(1, 2, 3))
    assert np.flatnonzero(changes).tolist() == [7, 15]


def test_several_tasks_are_played_by_turns():
    names = ("reach-v3", "window-open-v3", "window-close-v3")
    several, alone = make_tasks(names, 150, 0), MetaWorld("window-close-v3", 150, 0)
    action = np.full(4, 0.5, np.float32)
    for seed in (3, 5):
        observation, _ = several.reset(seed=seed)
        which = np.eye(3)[seed % 3]
        np.testing.assert_array_equal(observation["environment_state"][39:], which)
        assert several.observation_space.contains(observation)
    # The last is the task's own episode of that seed.
    assert several.task_description == "Push and close a window"
    expected, _ = alone.reset(seed=5)
    for _ in range(3):
        found = observation["environment_state"][:39]
        np.testing.assert_array_equal(found, expected["environment_state"])
        observation, expected = several.step(action)[0], alone.step(action)[0]


def test_demonstrations_succeed_and_follow_from_their_seed():
    shown = demonstrate(MetaWorld("reach-v3", 200, 0), 3, noise=0.1, seed=1)
    again = demonstrate(MetaWorld("reach-v3", 200, 0), 3, noise=0.1, seed=1)
    np.testing.assert_array_equal(shown.actions, again.actions)
    assert shown.tried >= 3 and len(np.unique(shown.last)) == 3
    assert np.all(np.abs(shown.actions) <= 1)
    # Each row's episode ends where the row that it names is its own last.
    ends = np.unique(shown.last)
    assert np.all(shown.last[ends] == ends) and ends[-1] == len(shown.actions) - 1


def test_the_experiment_runs_and_goes_on_where_it_was(tmp_path):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}

    def run(name, *arguments):
        command = [sys.executable, "-m", f"examples.lerobot.{name}", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    first = run("reproduce", "--quick", "--out", tmp_path)
    assert "windows of 2 episodes: correlation" in first
    folder = tmp_path / "quick" / "peg-insert-side-v3"
    table = (folder / "state" / "table.md").read_text()
    # Unguided, four with a weight, and three of the best of several, against three of them.
    assert len(table.splitlines()) == 3 * (2 + 8) + 2 and "| best of 16 |" in table
    played = (folder / "state" / "test.jsonl").read_text()
    second = run("reproduce", "--quick", "--out", tmp_path)
    assert "update" not in second and "in validation" in second
    assert (folder / "state" / "test.jsonl").read_text() == played
    run("draw", "--runs", tmp_path / "quick", "--out", tmp_path)
    assert {f.name for f in tmp_path.glob("*.svg")} == {"metaworld.svg", "metaworld-dark.svg"}
    if HAS_CAMERA:
        said = run("film", "--runs", tmp_path / "quick", "--episodes", 1, "--out", tmp_path)
        assert "unguided 0, qgf 0" in said
        for kind in ("mp4", "webp"):
            assert (tmp_path / f"peg-insert-side-v3.{kind}").stat().st_size > 1000
