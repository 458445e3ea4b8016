"""Videos of episodes of a short, dense-reward environment: any other replay has another return."""

import ctypes.util
import dataclasses
import multiprocessing
import os
import re
import subprocess

import gymnasium
import jax
import numpy as np
import pytest

import flowguide as fg
from flowguide import nn
from flowguide.evaluate import evaluate, load_agents
from flowguide.results import Condition, Episode
from flowguide.video import record_videos, video_problem
from flowguide.video._frames import HELD_FRAMES
from flowguide.video._process import _run, in_process
from flowguide.video._videos import choose_episodes, choose_panels

TASK, STEPS = "Reacher-v5", 50
UNGUIDED, GUIDED = Condition(), Condition("qgf 3", "qgf", 3.0)
# A function of a function has no name that another process could find it by.
GUIDANCES = {"unguided": None, "qgf 3": lambda policy, critic: fg.qgf(3.0)(policy, critic)}

needs_gl = pytest.mark.skipif(
    ctypes.util.find_library("EGL") is None and "DISPLAY" not in os.environ,
    reason="no GL library: apt install libegl1 libgl1",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Random networks, with chunks of which the last has no room in an episode."""
    keys = jax.random.split(jax.random.key(0))
    policy = fg.FlowPolicy(nn.VelocityMLP(10, (4, 2), (16, 16), key=keys[0]), (4, 2), num_steps=3)
    folder = tmp_path_factory.mktemp("videos")
    fg.save(folder, policy, nn.critic_ensemble(2, 10, (4, 2), (16, 16), key=keys[1]))
    return folder


@pytest.fixture(scope="module")
def episodes(run):
    return evaluate(load_agents(run), TASK, GUIDANCES, [0, 1], num_envs=1)


@needs_gl
def test_videos_replay_the_evaluation(run, episodes, tmp_path):
    returns = {episode.episode_return for episode in episodes}
    assert len(returns) == 4 and all(episode.length == STEPS for episode in episodes)
    assert video_problem([run], environment=TASK) is None
    # As if the evaluation had seen something else.
    wrong = [
        dataclasses.replace(e, episode_return=0.0) if e.key == episodes[-1].key else e
        for e in episodes
    ]
    said = []
    files = record_videos(
        [run], GUIDANCES, wrong, 2, tmp_path, frames=10, size=63, on_message=said.append
    )
    assert [file.name for file in files] == ["Reacher-v5_seed_0.mp4", "Reacher-v5_seed_1.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(file.name for file in files)
    (difference,) = [line for line in said if "ended otherwise" in line]
    last = episodes[-1]
    assert f"{last.condition}, episode seed {last.episode_seed}" in difference
    assert f"return {last.episode_return:g}" in difference and "there " in difference
    assert sum("not as evaluated" in line for line in said) == 1
    for file in files:
        kind, (width, height), decoded = decode(file)
        assert "h264" in kind and "yuv420p" in kind
        assert width % 2 == 0 and height % 2 == 0 and width > 2 * 63
        assert len(decoded) == (1 + STEPS // 5 + HELD_FRAMES) * width * height * 3
        # The panels differ, and the last frame is held.
        first, last, before = (
            np.frombuffer(decoded[i : i + width * height * 3], np.uint8).reshape(height, width, 3)
            for i in (0, len(decoded) - width * height * 3, len(decoded) - 2 * width * height * 3)
        )
        assert np.abs(first.astype(int) - last).max() > 100
        assert np.abs(before.astype(int) - last).max() < 10


@needs_gl
def test_an_environment_that_only_this_process_has_registered(run, tmp_path):
    from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv

    name = "flowguide-tests/Reacher-v0"
    gymnasium.register(name, entry_point=lambda **options: ReacherEnv(**options))
    try:
        agents = load_agents(run)
        played = evaluate(agents, name, GUIDANCES, [0], num_envs=1, max_episode_steps=3)
        assert all(episode.error is None and episode.length == 3 for episode in played)
        said = []
        files = record_videos(
            [run], GUIDANCES, played, 1, tmp_path, frames=2, size=32, on_message=said.append
        )
        assert len(files) == 1 and not any("ended otherwise" in line for line in said)
    finally:
        del gymnasium.registry[name]


def decode(file):
    """What a video is, its width and height, and its frames one after the other."""
    import imageio_ffmpeg

    # Not by its own functions, which fork: of that JAX warns.
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(file), "-f", "rawvideo"]
    done = subprocess.run(
        [*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True, timeout=60
    )
    kind = next(line for line in done.stderr.decode().splitlines() if "Video:" in line)
    found = re.search(r", (\d+)x(\d+)", kind)
    assert found is not None
    return kind, tuple(map(int, found.groups())), done.stdout


def test_without_a_backend_it_is_said_what_is_missing(run, episodes, tmp_path, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "bogus")
    said = []
    assert record_videos([run], GUIDANCES, episodes, 1, tmp_path, on_message=said.append) == []
    assert "MUJOCO_GL='bogus'" in said[-1] and "apt install libegl1 libgl1" in said[-1]
    assert list(tmp_path.iterdir()) == []


def dies(starter):
    os._exit(7)


def fails(starter):
    starter.send("message", "something")
    raise KeyError("a bug")


def test_a_process_that_dies_is_a_problem_and_one_that_raises_an_error():
    problem = in_process(dies, lambda kind, text: None)
    assert problem is not None and "exit code 7" in problem and "libegl1" in problem
    # Here, and not in a process, which would import for seconds.
    receiver, sender = multiprocessing.Pipe()
    _run(fails, sender)
    assert receiver.recv() == ("message", "something")
    kind, text = receiver.recv()
    assert kind == "failed" and "KeyError: 'a bug'" in text


def test_runs_that_did_not_play_the_episodes(run, episodes, tmp_path):
    others = [dataclasses.replace(episode, model="0123") for episode in episodes]
    with pytest.raises(ValueError, match="did not play these episodes.*'0123'"):
        record_videos([run], GUIDANCES, others, 1, tmp_path)
    with pytest.raises(ValueError, match=r"no episode that all of .* training seeds \[0\]"):
        record_videos([run], GUIDANCES, episodes, 1, tmp_path, train_seed=3)


def test_guidances_that_did_not_play_the_episodes(run, episodes, tmp_path):
    with pytest.raises(ValueError, match="guidances of qgf 3 are missing"):
        record_videos([run], {"unguided": None}, episodes, 1, tmp_path)
    with pytest.raises(ValueError, match="under the label 'qgf 3', which is now the label of ood"):
        record_videos([run], {**GUIDANCES, "qgf 3": fg.ood(3.0)}, episodes, 1, tmp_path)


def answers(starter):
    action = starter.ask("qgf 3", np.ones((1, 3)), 5, 7)
    starter.send("message", f"{action.tolist()}")


def test_the_process_that_renders_asks_for_actions():
    def choose(label, observation, seed, decision):
        assert label == "qgf 3"
        return np.array([observation.sum(), seed, decision])

    said = []
    assert in_process(answers, lambda kind, text: said.append(text), choose) is None
    assert said == ["[3.0, 5.0, 7.0]"]

    def refuses(*asked):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_process(answers, lambda kind, text: None, refuses)


def some_episodes(solved, count=4):
    """Of each condition, the episode seeds that it solves."""
    return [
        Episode(condition, 0, seed, seed in seeds, -1.0, 10)
        for condition, seeds in solved.items()
        for seed in range(count)
    ]


def test_panels_are_unguided_and_the_best_of_the_best_curves():
    solved = {
        Condition("qgf 0.1", "qgf", 0.1): [0],
        Condition("qgf 0.3", "qgf", 0.3): [0, 1],
        # As good: the smaller weight.
        Condition("qgf 1", "qgf", 1.0): [1, 2],
        Condition("ood 1", "ood", 1.0): [0, 1, 2],
        Condition("best of 4"): [],
        Condition("bptt 2", "bptt", 2.0): [3],
        UNGUIDED: [0, 1, 2, 3],
    }
    panels, left_out = choose_panels(some_episodes(solved))
    assert panels == [
        UNGUIDED,
        Condition("ood 1"),
        Condition("qgf 0.3"),
        Condition("bptt 2"),
    ]
    assert left_out == [Condition("best of 4")]
    with pytest.raises(ValueError, match="one task and one way of training, got"):
        choose_panels([*some_episodes(solved), Episode(UNGUIDED, 0, 9, True, 0.0, 1, "other")])
    with pytest.raises(ValueError, match="one task and one way of training, got"):
        choose_panels([])


def test_episodes_that_were_gained_come_first_and_then_those_that_were_lost():
    found = some_episodes({UNGUIDED: [0, 1, 5], GUIDED: [1, 3, 4]}, count=7)
    found[6] = dataclasses.replace(found[6], error="broken")
    chosen = choose_episodes(found, [UNGUIDED, GUIDED])
    assert [(kind, pairs[0].episode_seed) for kind, pairs in chosen] == [
        ("gained", 3),
        ("gained", 4),
        ("lost", 0),
        ("lost", 5),
        ("", 1),
        ("", 2),
    ]
    assert all([each.condition for each in pairs] == [UNGUIDED, GUIDED] for _, pairs in chosen)
    assert [kind for kind, _ in choose_episodes(found, [GUIDED])] == [""] * 7
