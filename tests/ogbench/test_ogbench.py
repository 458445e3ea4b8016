"""Loading OGBench's files, made here, and what is damaged."""

from typing import Any

import gymnasium
import numpy as np
import ogbench
import pytest

from flowguide._rollout import environments
from flowguide.ogbench import _load, _names, load_ogbench
from flowguide.ogbench._load import (
    dataset_name,
    is_goal_conditioned,
    load_ogbench_file,
    ogbench_slices,
)
from flowguide.runs import Settings
from flowguide.runs._sources import load_data

from .conftest import MAZE, MAZE_TASK, STEPS


def rewrite(file, drop=(), **changes):
    with np.load(file) as data:
        arrays: dict[str, Any] = {key: data[key] for key in data if key not in drop} | changes
    np.savez(file, **arrays)


def solve(file, rows):
    """Puts the point on the goal of task 1 in some rows."""
    env = environments.make(MAZE_TASK)
    environments.reset(env, 0)
    with np.load(file) as data:
        qpos = data["qpos"]
    qpos[rows] = env.get_wrapper_attr("cur_goal_xy")
    rewrite(file, qpos=qpos)


def numpy_state():
    state: Any = np.random.get_state()
    return state[1].copy()


# Names.


def all_names():
    """Every state-based name: of datasets, tasks and oracle representations."""
    for env_name, spec in gymnasium.registry.items():
        entry_point = str(spec.entry_point)
        if not entry_point.startswith("ogbench.") or env_name.startswith(("visual", "powderworld")):
            continue
        kinds = (
            ["navigate", "stitch", "explore"] if "locomaze" in entry_point else ["play", "noisy"]
        )
        parts = env_name.split("-")
        tail = 2 if parts[-2] == "singletask" else 3 if "singletask" in parts else 1
        for kind in kinds:
            dataset = "-".join([*parts[:-tail], kind, parts[-1]])
            yield "-".join([*parts[:-tail], kind, *parts[-tail:]]), env_name, dataset
            if tail == 1:
                oracle = "-".join([*parts[:-1], kind, "oraclerep", parts[-1]])
                yield oracle, env_name, dataset


def test_every_state_based_name(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(gymnasium, "make", lambda env_name, **kwargs: made.append(env_name))
    names = list(all_names())
    families = {name.split("-")[0] for name, *_ in names}
    assert families == {
        *("pointmaze", "antmaze", "humanoidmaze", "antsoccer"),
        *("cube", "scene", "puzzle"),
    }
    assert len(names) == len(set(names)) > 400
    for name, env_name, dataset in names:
        assert dataset_name(name) == dataset
        assert is_goal_conditioned(name) == ("singletask" not in env_name)
        with pytest.raises(
            FileNotFoundError, match=f"^{dataset}.npz and {dataset}-val.npz are not"
        ):
            load_ogbench(name, tmp_path, download=False)
        # OGBench itself finds the same environment behind the name.
        ogbench.make_env_and_datasets(name, env_only=True)
        assert made.pop() == env_name
    assert sorted(_names.all_names()) == sorted(name for name, *_ in names)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("visual-cube-single-play-v0", "'visual-cube-single-play-v0' observes pixels"),
        ("powderworld-easy-play-v0", "'powderworld-easy-play-v0' observes pixels"),
        ("cube-single-play", "'cube-single-play' is no OGBench .*mean.*'cube-single-play-v0'"),
        ("cube-single-v0", "'cube-single-v0' is no OGBench dataset or task.*'cube-single-play-v0'"),
        ("cube-single-navigate-v0", "is no OGBench dataset or task.*'cube-single-play-v0'"),
        ("scene-play-singletask-task9-v0", r"is no OGBench.*'scene-play-singletask-task\d-v0'"),
        ("CartPole-v1", "is no OGBench dataset or task.*one of 'cube-single-play-v0'"),
    ],
)
def test_other_names(name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_ogbench(name, tmp_path)
    with pytest.raises(ValueError, match=message):
        load_ogbench_file(name, tmp_path / "file.npz")


# What is loaded.


@pytest.mark.filterwarnings("ignore:.*precision lowered by casting", "ignore:0 of")
@pytest.mark.parametrize(
    "name",
    [
        MAZE,
        MAZE_TASK,
        "pointmaze-medium-navigate-oraclerep-v0",
        "cube-single-noisy-v0",
        "cube-single-noisy-singletask-task2-v0",
        "cube-single-noisy-oraclerep-v0",
        "scene-play-singletask-v0",
        "scene-play-oraclerep-v0",
    ],
)
def test_same_as_ogbench(name, folder):
    make: Any = ogbench.make_env_and_datasets
    file = folder / f"{dataset_name(name)}.npz"
    _, *theirs = make(name, dataset_path=str(file), compact_dataset=True)
    for ours, their in zip(load_ogbench(name, folder, download=False), theirs, strict=True):
        np.testing.assert_array_equal(ours.ends, their["valids"] == 0)
        for key in ("observations", "actions", "rewards", "masks", "goals"):
            mine, yours = getattr(ours, key), their.get("oracle_reps" if key == "goals" else key)
            assert (mine is None) == (yours is None)
            if mine is not None:
                np.testing.assert_array_equal(mine, yours)
    train, validation = load_ogbench(name, folder, download=False)
    assert (len(train), train.num_episodes) == (2 * STEPS, 2)
    assert (len(validation), validation.num_episodes) == (STEPS, 1)


def test_successes_are_those_of_the_rows(maze):
    solve(maze / f"{MAZE}.npz", [3, 30])
    train, validation = load_ogbench(MAZE_TASK, maze)
    rewards, masks = train.task
    np.testing.assert_array_equal(np.flatnonzero(masks == 0), [3, 30])
    np.testing.assert_array_equal(rewards, -masks)
    assert train.success_share == pytest.approx(2 / (2 * STEPS))
    assert validation.success_share == 0


def test_warns_at_no_success(maze):
    with pytest.warns(UserWarning, match=f"0 of {2 * STEPS} rows of {MAZE}.npz solve {MAZE_TASK}"):
        train, _ = load_ogbench(MAZE_TASK, maze)
    assert train.success_share == 0
    # Not for a reason of the masks.
    with pytest.warns(UserWarning, match="a critic has nothing to learn from"):
        load_ogbench(MAZE_TASK, maze, bootstrap_through_success=True)


def test_bootstrap_through_success(maze):
    solve(maze / f"{MAZE}.npz", [3, 30])
    own, _ = load_ogbench(MAZE_TASK, maze)
    published, _ = load_ogbench(MAZE_TASK, maze, bootstrap_through_success=True)
    np.testing.assert_array_equal(own.rewards, published.rewards)
    assert published.masks is not None
    ends = np.flatnonzero(own.ends)
    np.testing.assert_array_equal(np.flatnonzero(published.masks == 0), np.sort([*ends - 1, *ends]))
    without_task, _ = load_ogbench(MAZE, maze, bootstrap_through_success=True)
    assert without_task.masks is None


def test_sparse_rewards(folder):
    name = "scene-play-singletask-v0"
    with pytest.warns(UserWarning, match="nothing to learn from"):
        own, _ = load_ogbench(name, folder, download=False)
    assert own.rewards is not None
    assert min(own.rewards) < -1
    with pytest.warns(UserWarning, match="nothing to learn from"):
        sparse, _ = load_ogbench(name, folder, download=False, sparse_rewards=True)
    np.testing.assert_array_equal(sparse.rewards, -np.ones(2 * STEPS))
    np.testing.assert_array_equal(sparse.masks, own.masks)
    settings = Settings(name, dataset_dir=folder, sparse_rewards=True)
    with pytest.warns(UserWarning, match="nothing to learn from"):
        learnt = load_data(settings).example
    np.testing.assert_array_equal(learnt.rewards, sparse.rewards)


def test_sparse_rewards_are_0_where_the_task_is_solved(maze):
    solve(maze / f"{MAZE}.npz", [3, 30])
    train, _ = load_ogbench(MAZE_TASK, maze, sparse_rewards=True)
    np.testing.assert_array_equal(np.flatnonzero(np.asarray(train.rewards) == 0), [3, 30])
    without_task, _ = load_ogbench(MAZE, maze, sparse_rewards=True)
    assert without_task.rewards is None


def test_leaves_the_random_state_and_makes_one_environment(maze, monkeypatch):
    solve(maze / f"{MAZE}.npz", [3])
    made, make = [], environments.make
    monkeypatch.setattr(environments, "make", lambda name: made.append(name) or make(name))
    loaded = []
    for seed in (1, 2):
        _load._environment.cache_clear()
        np.random.seed(seed)
        expected = numpy_state()
        loaded.append(load_ogbench(MAZE_TASK, maze)[0])
        np.testing.assert_array_equal(numpy_state(), expected)
    assert made == [MAZE_TASK, MAZE_TASK]
    np.testing.assert_array_equal(loaded[0].rewards, loaded[1].rewards)


def test_later_files_do_not_touch_the_random_state(maze, monkeypatch):
    file = maze / f"{MAZE}.npz"
    load_ogbench_file(MAZE_TASK, file)
    # Episodes that are played meanwhile, in another thread, draw from it.
    for function in ("seed", "set_state", "uniform", "randint"):
        monkeypatch.delattr(np.random, function)
    load_ogbench_file(MAZE_TASK, file)
    with pytest.raises(AttributeError):
        load_ogbench_file("pointmaze-medium-navigate-singletask-task2-v0", file)


def test_slices(tmp_path):
    names = ["set-001.npz", "set-000-val.npz", "set-000.npz", "set-001-val.npz", "set-002.npz.tmp"]
    for name in names:
        (tmp_path / name).touch()
    training, validation = ogbench_slices(tmp_path)
    assert [file.name for file in training] == ["set-000.npz", "set-001.npz"]
    assert [file.name for file in validation] == ["set-000-val.npz", "set-001-val.npz"]
    with pytest.raises(FileNotFoundError, match=f"No training slices in {tmp_path / 'none'}"):
        ogbench_slices(tmp_path / "none")


# Files that are not what they should be.


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", b"PK\x03\x04" + bytes(100)])
def test_damaged_files(content, maze):
    (maze / f"{MAZE}.npz").write_bytes(content)
    with pytest.raises(ValueError, match=f"{maze / MAZE}.npz is damaged.*Delete it"):
        load_ogbench(MAZE, maze)


def test_damaged_in_the_middle(maze):
    file = maze / f"{MAZE}.npz"
    data = bytearray(file.read_bytes())
    data[100:110] = bytes(10)
    file.write_bytes(data)
    with pytest.raises(ValueError, match=f"{file} is damaged.*Delete it"):
        load_ogbench(MAZE, maze)


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        (MAZE, "terminals", "{file} is no OGBench dataset: terminals is not"),
        (MAZE_TASK, "qpos", "{file} does not fit {name!r}: it has no 'qpos'"),
        ("scene-play-singletask-v0", "button_states", "{file} does not fit {name!r}: it has no"),
        ("scene-play-oraclerep-v0", "qpos", "{file} does not fit {name!r}: it has no 'qpos'"),
    ],
)
def test_key_that_is_missing(name, key, message, folder, tmp_path):
    file = tmp_path / f"{dataset_name(name)}.npz"
    file.write_bytes((folder / file.name).read_bytes())
    rewrite(file, drop=[key])
    with pytest.raises(ValueError, match=message.format(file=file, name=name)) as error:
        load_ogbench_file(name, file)
    assert key in str(error.value)


def test_file_of_another_environment(folder):
    file = folder / "scene-play-v0.npz"
    with pytest.raises(ValueError, match=rf"{file} does not fit '{MAZE}': a row of 'observations'"):
        load_ogbench_file(MAZE, file)


def test_rows_that_are_no_episodes(maze):
    rewrite(maze / f"{MAZE}-val.npz", terminals=np.zeros(STEPS, bool))
    with pytest.raises(ValueError, match=f"{MAZE}-val.npz holds no dataset.*ends"):
        load_ogbench(MAZE, maze)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"terminals": np.zeros((12, 1))}, r"terminals has the shape \(12, 1\)"),
        ({"observations": np.array([{}] * 12)}, "observations is of object, which are no numbers"),
        ({"terminals": np.full(12, 2.0)}, "terminals must have True or False, or 0 or 1"),
        ({"actions": np.zeros((11, 2))}, r"actions has the shape \(11, 2\)"),
    ],
)
def test_a_file_of_ones_own_is_not_called_damaged(tmp_path, changed, said):
    arrays: dict[str, Any] = {
        "observations": np.zeros((12, 2)),
        "actions": np.zeros((12, 2)),
        "terminals": np.arange(12) == 11,
    }
    file = tmp_path / "mine.npz"
    np.savez(file, **{**arrays, **changed})
    with pytest.raises(ValueError, match=said) as error:
        load_ogbench_file(MAZE, file)
    assert "elete" not in str(error.value) and "from_transitions" in str(error.value)
