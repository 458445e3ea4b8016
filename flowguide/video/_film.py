"""What the process does that makes videos: it replays episodes, looks at them, and writes files.

Actions are chosen by the process that started it, which has the guidances: not all of them can be
sent to another one.
"""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.vector.utils import CloudpickleWrapper, concatenate, create_empty_array

from .._results.episodes import Episode
from .._rollout import environments
from .._rollout.by_name import make_environment
from .._rollout.player import EpisodePlayer, known_success, play_episode
from .._rollout.rules import Rules
from ._frames import Panel, side_by_side, write_video

SHADOW_SIZE = 1024
NEEDED = (
    "Without a screen it takes a GL library, on Debian `apt install libegl1 libgl1`, and "
    "MUJOCO_GL=egl, which is set where neither a screen nor MUJOCO_GL is."
)


@runtime_checkable
class Starter(Protocol):
    """The process that started this one."""

    def send(self, kind: str, text: str) -> None:
        """Sends it a text: a `"message"` for the user, or the `"file"` that is finished."""
        ...

    def ask(self, label: str, observation: Any, seed: int, decision: int) -> np.ndarray:
        """The action (chunk) of a guidance, as the evaluation chose it."""
        ...


@dataclasses.dataclass(frozen=True)
class Shot:
    """A video that is to be made.

    **Attributes:**

    - `file`: where to.
    - `note`: such as `"gained by qgf 0.1"`, or empty.
    - `episodes`: one for each panel, of one episode seed, as the evaluation recorded them.
    """

    file: Path
    note: str
    episodes: Sequence[Episode]


@dataclasses.dataclass(frozen=True)
class Film:
    """The videos of one agent in one environment; sent to the process that renders."""

    environment: str
    rules: Rules = Rules()
    shots: Sequence[Shot] = ()
    frames: int = 80
    size: int = 320
    # Of an environment that only the starter has registered.
    spec: CloudpickleWrapper | None = None

    def check(self, starter: Starter) -> str | None:
        """Renders one frame, and returns the problem that this met."""
        problem, camera = self._open()
        if camera is not None:
            camera.close()
        return problem

    def record(self, starter: Starter) -> str | None:
        """Makes the videos, or returns the problem that it met."""
        problem, camera = self._open()
        if camera is None:
            return problem
        for shot in self.shots:
            longest = max(episode.length for episode in shot.episodes)
            every = max(1, -(-longest // self.frames))
            panels = []
            for recorded in shot.episodes:
                played, frames = replay(starter, camera, recorded, every, self.rules)
                is_same = _outcome(played) == _outcome(recorded)
                if not is_same:
                    starter.send("message", _difference(played, recorded))
                panels.append(Panel(played, frames, every, is_same))
            summary = f"{shot.file}: {'; '.join(panel.summary for panel in panels)}."
            if not all(panel.frames for panel in panels):
                starter.send("message", f"{summary} Without a single picture there is no video.")
                continue
            write_video(shot.file, side_by_side(panels, shot.note))
            starter.send("file", str(shot.file))
            starter.send("message", summary)
        camera.close()
        return None

    def _open(self) -> "tuple[str | None, Camera | None]":
        # The evaluation has given the warnings of the environment; more come with a camera.
        warnings.simplefilter("ignore")
        try:
            import imageio_ffmpeg

            imageio_ffmpeg.get_ffmpeg_exe()
        except (ImportError, RuntimeError) as error:
            return f"mp4 files need ffmpeg ({error}): `pip install 'flowguide[video]'`.", None
        try:
            camera = make_camera(self.environment, self.size, self.rules, self.spec)
            environments.reset(camera, 0)
            return None, camera
        except Exception as error:  # Each backend, and each environment, fails in its own way.
            backend = os.environ.get("MUJOCO_GL", "")
            return (
                f"{self.environment} cannot be rendered with MUJOCO_GL={backend!r} "
                f"({type(error).__name__}: {error}). {NEEDED}",
                None,
            )


def make_camera(
    environment: str, size: int, rules: Rules = Rules(), spec: CloudpickleWrapper | None = None
) -> "Camera":
    """The environment, with frames of that many pixels where it takes a size."""
    known: Any = {"render_mode": "rgb_array", "spec": None if spec is None else spec.fn}
    try:
        env = make_environment(environment, rules, **known, width=size, height=size)
    except TypeError:
        env = make_environment(environment, rules, **known)
    unwrapped: Any = env.unwrapped
    # MuJoCo's shadows have 4096 x 4096 points: without a GPU they take half of the time, and in a
    # frame of this size nobody sees it. An environment without MuJoCo has no such thing.
    with contextlib.suppress(AttributeError, ValueError):
        unwrapped.model.vis.quality.shadowsize = SHADOW_SIZE
    return Camera(env)


class Camera(gymnasium.Wrapper):
    """Keeps a frame of the start, of every k-th step and of the end of the episode.

    **Attributes:**

    - `every`: k.
    - `frames`: those of the last episode, each `(height, width, 3)`.
    """

    def __init__(self, env: gymnasium.Env, every: int = 1):
        super().__init__(env)
        self.every, self.frames = every, []
        self._steps = 0

    def reset(self, **kwargs: Any):
        result = self.env.reset(**kwargs)
        self._steps, self.frames = 0, []
        self._take()
        return result

    def step(self, action: Any):
        result = self.env.step(action)
        self._steps += 1
        if result[2] or result[3] or self._steps % self.every == 0:
            self._take()
        return result

    def _take(self) -> None:
        frame: Any = self.env.render()
        if not (isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] == 3):
            raise ValueError("The environment has no pictures: it renders no rgb_array.")
        self.frames.append(frame.astype(np.uint8))


def replay(
    starter: Starter,
    camera: Camera,
    recorded: Episode,
    every: int,
    rules: Rules = Rules(),
) -> tuple[Episode, list[np.ndarray]]:
    """Plays an episode as the evaluation played it: same noise, same batch size.

    **Arguments:**

    - `starter`: which knows the guidance that recorded it.
    - `camera`: the environment.
    - `recorded`: the episode.
    - `every`: how many steps there are between two frames.
    - `rules`: how it was played.

    **Returns:**

    The episode as it ended now, and the frames.
    """
    camera.every = every
    player = EpisodePlayer(camera, 1, rules)
    label, seed = recorded.condition.label, recorded.episode_seed

    def choose(observation: Any, decision: int) -> np.ndarray:
        seen = _as_vector(player.observation_space, observation)
        return starter.ask(label, seen, seed, decision)

    record = play_episode(player, seed, choose)
    played = dataclasses.replace(
        recorded,
        success=known_success(record["success"]),
        episode_return=record["return"],
        length=record["length"],
        error=record["error"] or None,
    )
    return played, camera.frames


def _as_vector(space: gymnasium.Space, observation: Any) -> Any:
    """The observation of one environment, in the form and the dtype that a vector of one gives."""
    return concatenate(space, [observation], create_empty_array(space, 1))


def _outcome(episode: Episode) -> tuple[Any, ...]:
    return episode.success, episode.length, episode.episode_return, episode.error


def _difference(played: Episode, recorded: Episode) -> str:
    outcome = "success {}, length {}, return {:g}, error {}"
    return (
        f"{recorded.condition}, episode seed {recorded.episode_seed}, ended otherwise than in the "
        f"evaluation: {outcome.format(*_outcome(played))}; there "
        f"{outcome.format(*_outcome(recorded))}. "
        "Another machine, other versions or another environment can do that."
    )
