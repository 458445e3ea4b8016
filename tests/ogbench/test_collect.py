"""Real collections, of short episodes."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import ogbench
import pytest

from flowguide._rollout import environments
from flowguide._system.locks import alone_with
from flowguide.ogbench import _collect, collect
from flowguide.ogbench._generate import _cells_at, _is_corridor, _MazePlayer, Generator, RECIPES

STEPS = 25
KEYS = ["observations", "actions", "terminals", "qpos", "qvel"]


def quick(dataset, out, **kwargs):
    kwargs = {"episodes": 3, "max_episode_steps": STEPS, "progress": False, **kwargs}
    return collect(dataset, kwargs.pop("episodes"), out, **kwargs)


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """One small set that several tests read."""
    return quick("cube-single-noisy-v0", tmp_path_factory.mktemp("cubes"))


# What is in the files.


def test_format(cubes):
    assert cubes.name == "cube-single-noisy-v0.npz"
    for file, episodes in ((cubes, 3), (cubes.with_name("cube-single-noisy-v0-val.npz"), 1)):
        with np.load(file) as data:
            assert list(data) == KEYS
            assert data["observations"].shape == (episodes * STEPS, 28)
            assert data["actions"].shape == (episodes * STEPS, 5)
            assert data["qpos"].shape == (episodes * STEPS, 21)
            assert data["qvel"].shape == (episodes * STEPS, 20)
            dtypes = {key: data[key].dtype.name for key in KEYS}
            assert dtypes == {**dict.fromkeys(KEYS, "float32"), "terminals": "bool"}
            ends = np.flatnonzero(data["terminals"])
            np.testing.assert_array_equal(ends, STEPS * np.arange(1, episodes + 1) - 1)
            # The state of each row is that of its observation, not of the one after it.
            np.testing.assert_array_equal(data["observations"][:, :6], data["qpos"][:, :6])
            assert np.abs(data["actions"]).max() <= 1
    assert sorted(os.listdir(cubes.parent)) == [f"{cubes.stem}-val.npz", cubes.name]


@pytest.mark.parametrize(
    "dataset, task",
    [
        ("cube-single-noisy-v0", "cube-single-noisy-singletask-task1-v0"),
        ("scene-play-v0", "scene-play-singletask-task2-v0"),
        ("pointmaze-medium-navigate-v0", "pointmaze-medium-navigate-singletask-task1-v0"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*precision lowered by casting")
def test_ogbench_reads_it(dataset, task, cubes, tmp_path):
    file = cubes if dataset in cubes.name else quick(dataset, tmp_path)
    make: Any = ogbench.make_env_and_datasets
    env, train, val = make(dataset, dataset_path=str(file))
    assert train["observations"].shape == (3 * (STEPS - 1), *env.observation_space.shape)
    assert train["actions"].shape == (3 * (STEPS - 1), *env.action_space.shape)
    assert len(val["observations"]) == STEPS - 1

    _, train, _ = make(task, dataset_path=str(file), add_info=True)
    assert train["rewards"].shape == train["masks"].shape == (3 * (STEPS - 1),)
    assert train["rewards"].max() <= 0
    if "scene" in dataset:
        assert train["button_states"].dtype == np.int64
        assert train["button_states"].shape == (3 * (STEPS - 1), 2)


# The same seed gives the same files.


def test_bytes_do_not_depend_on_the_workers(cubes, tmp_path):
    (tmp_path / cubes.name).write_text("an older set")
    (tmp_path / f"{cubes.name}.partial").write_text("what a killed process left")
    quick("cube-single-noisy-v0", tmp_path, workers=2)
    names = [f"{cubes.stem}-val.npz", cubes.name]
    assert sorted(os.listdir(tmp_path)) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (cubes.parent / name).read_bytes()


def test_fewer_episodes_are_the_first_of_more(cubes, tmp_path):
    other = quick("cube-single-noisy-v0", tmp_path, episodes=2)
    with np.load(cubes) as more, np.load(other) as fewer:
        for key in KEYS:
            np.testing.assert_array_equal(fewer[key], more[key][: 2 * STEPS])


def test_global_numpy_state_is_left_alone(tmp_path):
    np.random.seed(3)
    expected = np.random.uniform(size=3)
    np.random.seed(3)
    quick("pointmaze-medium-stitch-v0", tmp_path)
    np.testing.assert_array_equal(np.random.uniform(size=3), expected)


# Every family, without processes: those are tested above.

FAMILIES = [
    "cube-double-play-v0",
    "cube-octuple-noisy-v0",
    "scene-play-v0",
    "scene-noisy-v0",
    "puzzle-4x6-play-v0",
    "puzzle-3x3-noisy-v0",
    "pointmaze-giant-navigate-v0",
    "pointmaze-teleport-stitch-v0",
]


@pytest.mark.parametrize("dataset", FAMILIES)
def test_episode_follows_from_seed_and_index(dataset):
    steps = 60
    generator = Generator(RECIPES[dataset], steps)
    first = generator.episode(0, 0)
    others = [generator.episode(0, 1), generator.episode(1, 0)]
    again = generator.episode(0, 0)
    for key, rows in first.items():
        assert len(rows) == steps
        assert np.isfinite(rows).all()
        np.testing.assert_array_equal(rows, again[key])
    for other in others:
        assert not np.array_equal(first["actions"], other["actions"])
        assert not np.array_equal(first["qpos"][0], other["qpos"][0])
    assert first["terminals"].sum() == 1 and first["terminals"][-1]


def test_every_recipe_has_an_environment():
    import gymnasium

    assert len(RECIPES) == 28
    for name in RECIPES:
        *environment, _, version = name.split("-")
        assert gymnasium.spec("-".join([*environment, version]))


# Against the published sets: mean and standard deviation of their actions.


def test_distribution_of_a_published_cube_set():
    generator = Generator(RECIPES["cube-single-play-v0"], 1001)
    actions = np.concatenate([generator.episode(0, index)["actions"] for index in range(3)])
    assert np.allclose(actions.mean(axis=0), [0.020, -0.006, 0.054, 0.001, 0.174], atol=0.05)
    assert np.allclose(actions.std(axis=0), [0.303, 0.422, 0.643, 0.393, 0.254], rtol=0.15)


def test_distribution_of_a_published_maze_set():
    generator = Generator(RECIPES["pointmaze-medium-navigate-v0"], 1001)
    episodes = [generator.episode(0, index) for index in range(30)]
    actions = np.concatenate([episode["actions"] for episode in episodes])
    positions = np.concatenate([episode["observations"] for episode in episodes])
    assert np.allclose(actions.mean(axis=0), [-0.003, -0.003], atol=0.02)
    assert np.allclose(actions.std(axis=0), [0.705, 0.700], rtol=0.03)
    assert np.allclose(positions.mean(axis=0), [10.38, 9.69], atol=2.0)
    assert np.allclose(positions.std(axis=0), [5.79, 5.25], rtol=0.2)


def test_scene_without_its_block_is_played_again(monkeypatch):
    generator = Generator(RECIPES["scene-play-v0"], 10)
    first = generator.episode(0, 0)
    verdicts = iter([False, True])
    monkeypatch.setattr(generator._player, "keeps", lambda episode: next(verdicts))
    retried = generator.episode(0, 0)
    assert not np.array_equal(first["qpos"], retried["qpos"])


@pytest.mark.parametrize(
    "y, z, kept",
    [(0, 0.02, True), (0.3, 0.02, False), (-0.31, 0.07, True), (-0.31, 0.02, False)],
)
def test_where_the_scenes_block_may_be(y, z, kept):
    player = Generator(RECIPES["scene-play-v0"], 10)._player
    qpos = np.zeros((3, 30))
    qpos[:, 16] = 0.02
    qpos[1, 15:17] = y, z
    assert player.keeps({"qpos": qpos}) == kept


def test_cells_of_a_maze():
    maze = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 1, 1, 1], [1] * 5])
    assert _cells_at(maze, (3, 1), distance=4) == [(1, 3)]
    assert _cells_at(maze, (3, 1), distance=9) == []
    cells = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 3), (3, 1)]
    assert [cell for cell in cells if _is_corridor(maze, cell)] == [(1, 2), (2, 1)]


def test_maze_goals_leave_the_marker_finite():
    player = Generator(RECIPES["pointmaze-medium-navigate-v0"], 10)._player
    assert isinstance(player, _MazePlayer)
    environments.reset(player._env, 0)
    player._set_goal((1, 1))
    maze = player._env.unwrapped
    assert np.isfinite(maze.model.geom("target").pos).all()
    assert np.abs(np.array(maze.cur_goal_xy) - maze.ij_to_xy((1, 1))).max() <= 1


# Whatever happens, no file looks finished that is not.

KILLED = """
import multiprocessing, sys, threading, time
from flowguide.ogbench import collect

def report():
    while len(multiprocessing.active_children()) < 2:
        time.sleep(0.01)
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)

if __name__ == "__main__":
    threading.Thread(target=report, daemon=True).start()
    collect("pointmaze-medium-navigate-v0", 100_000, sys.argv[1], workers=2)
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_kill_leaves_no_finished_file_and_no_process(tmp_path):
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(KILLED)
    with subprocess.Popen(
        [sys.executable, script, out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None and run.stderr is not None
        workers = [int(pid) for pid in run.stdout.readline().split()]
        # Workers say nothing: the time that they take to import and to play some episodes.
        time.sleep(4)
        assert len(workers) == 2 and all(map(is_running, workers))
        run.kill()
    assert run.returncode == -signal.SIGKILL
    assert list(out.glob("*.npz")) == []

    limit = time.monotonic() + 10
    while any(map(is_running, workers)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(is_running, workers))


def test_worker_that_dies(tmp_path):
    def kill():
        while not multiprocessing.active_children():
            time.sleep(0.01)
        multiprocessing.active_children()[0].kill()

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(RuntimeError, match="A worker process died, and no file was written"):
        quick("pointmaze-medium-navigate-v0", tmp_path, episodes=1000)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("failing", [0, 1])
def test_disk_that_fills_up(failing, tmp_path, monkeypatch):
    dataset = "pointmaze-medium-stitch-v0"
    for name in (f"{dataset}.npz", f"{dataset}-val.npz"):
        (tmp_path / name).write_text("an older set")
    sync, calls = os.fsync, iter(range(10))

    def full(descriptor):
        if next(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(_collect.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        quick(dataset, tmp_path)
    for name in (f"{dataset}.npz", f"{dataset}-val.npz"):
        assert (tmp_path / name).read_text() == "an older set"


def test_one_process_collects_into_a_file(tmp_path):
    name = "pointmaze-medium-stitch-v0"
    with alone_with(tmp_path / f"{name}.npz", "collecting into"):
        with pytest.raises(RuntimeError, match="Another process is collecting into"):
            quick(name, tmp_path)
    assert list(tmp_path.glob("*.npz*")) == []


def test_kill_between_the_two_files(tmp_path, monkeypatch):
    dataset = "pointmaze-medium-stitch-v0"
    (tmp_path / f"{dataset}.npz").write_text("an older set")
    replace, calls = os.replace, iter(range(2))

    def killed(source, target):
        if next(calls) == 1:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(_collect.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        quick(dataset, tmp_path)
    # A training file would promise that the validation file belongs to it.
    assert not (tmp_path / f"{dataset}.npz").exists()
    assert (tmp_path / f"{dataset}-val.npz").exists()


# What cannot be made says so.


@pytest.mark.parametrize(
    "dataset, reason",
    [
        ("cube-single-play-singletask-task1-v0", "is a task. Its dataset is 'cube-single-play-v0'"),
        ("antmaze-medium-navigate-v0", "trained networks that are not in the ogbench package"),
        ("humanoidmaze-large-stitch-v0", "trained networks that are not in the ogbench package"),
        ("visual-scene-play-v0", "is made of pixels"),
        ("powderworld-easy-play-v0", "is made of pixels"),
        ("cube-single-v0", "is no dataset that can be made here"),
        ("pointmaze-medium-explore-v0", "is no dataset that can be made here"),
    ],
)
def test_unsupported_dataset(dataset, reason, tmp_path):
    supported = r"Expected one of cube-\{single,.*pointmaze-\{medium,.*\{navigate,stitch\}-v0"
    with pytest.raises(ValueError, match=f"{dataset}.*{reason}") as error:
        quick(dataset, tmp_path)
    assert error.match(supported)


@pytest.mark.parametrize(
    "argument, value",
    [("episodes", 0), ("episodes", -3), ("workers", 0), ("max_episode_steps", 0)],
)
def test_numbers_below_one(argument, value, tmp_path):
    with pytest.raises(ValueError, match=f"{argument} must be an integer of at least 1"):
        quick("scene-play-v0", tmp_path, **{argument: value})


def test_negative_seed(tmp_path):
    with pytest.raises(ValueError, match=r"seed must be an integer from 0 to 2\*\*31 - 1, got -1"):
        quick("scene-play-v0", tmp_path, seed=-1)


def test_out_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="out must be a folder"):
        quick("scene-play-v0", tmp_path / "file")


def test_out_is_made(tmp_path):
    file = quick("pointmaze-large-stitch-v0", tmp_path / "a" / "b", episodes=1)
    assert file.is_file()
