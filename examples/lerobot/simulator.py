"""Tasks of a simulator as gymnasium environments with a camera."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import abc
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np

IMAGE = 64


class Simulator(gymnasium.Env):
    """One task with a camera, ended by its first success.

    **Arguments:**

    - `instruction`: what the policy is told.
    - `hand`: how many of the state's first entries the robot has of itself.
    - `state`, `action`: how many numbers they have.
    - `max_steps`: where an episode ends at the latest.
    - `image_every`: steps between two images: a camera may be slower than the controller, and a
        policy that plays chunks looks once a chunk. 0 for a grey image without rendering, and the
        whole state as the robot's.

    Observations are `agent_pos`, the hand; `pixels`, shape `(64, 64, 3)`; and `environment_state`,
    all that the simulator tells.
    """

    # Of MuJoCo's groups of shapes, those that are no picture.
    hidden: tuple[int, ...] = ()

    def __init__(
        self,
        instruction: str,
        *,
        hand: int,
        state: int,
        action: int,
        max_steps: int,
        image_every: int,
    ):
        self.task_description = instruction
        self._max_steps, self._image_every = max_steps, image_every
        self._hand = hand if image_every else state
        self.action_space: Any = gymnasium.spaces.Box(-1.0, 1.0, (action,), np.float32)
        self.observation_space: Any = gymnasium.spaces.Dict(
            {
                "agent_pos": gymnasium.spaces.Box(-np.inf, np.inf, (self._hand,), np.float32),
                "environment_state": gymnasium.spaces.Box(-np.inf, np.inf, (state,), np.float32),
                "pixels": gymnasium.spaces.Box(0, 255, (IMAGE, IMAGE, 3), np.uint8),
            }
        )
        self._renderers: dict[int, Any] = {}
        self._image = np.full((IMAGE, IMAGE, 3), 127, np.uint8)
        self._steps = 0

    @abc.abstractmethod
    def start(self, seed: int) -> np.ndarray:
        """Begins the episode of a seed, and tells its state."""

    @abc.abstractmethod
    def play(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
        """Plays an action: state, reward, and whether the task is solved."""

    @abc.abstractmethod
    def scene(self) -> tuple[Any, Any, str]:
        """MuJoCo's model and data, and the name of the camera."""

    @abc.abstractmethod
    def expert(self) -> Callable[[np.ndarray], np.ndarray]:
        """A scripted policy of one episode: from states to actions."""

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        state = self.start(int(self.np_random.integers(2**31)))
        self._steps = 0
        return self._observation(state), {"success": False}

    def step(self, action: np.ndarray):
        state, reward, success = self.play(np.asarray(action, np.float64))
        self._steps += 1
        is_late = self._steps >= self._max_steps
        return self._observation(state), reward, success, is_late, {"success": success}

    def render(self, size: int = IMAGE) -> np.ndarray:
        """The camera's image, shape `(size, size, 3)`."""
        model, data, camera = self.scene()
        if size not in self._renderers:
            model.vis.quality.shadowsize = 0
            self._renderers[size] = mujoco.Renderer(model, size, size)
        renderer = self._renderers[size]
        seen = mujoco.MjvOption()
        for group in self.hidden:
            seen.geomgroup[group] = 0
        renderer.update_scene(data, camera, seen)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            renderer.scene.flags[flag] = 0
        return renderer.render().copy()

    def close(self) -> None:
        while self._renderers:
            self._renderers.popitem()[1].close()

    def _observation(self, state: np.ndarray) -> dict[str, np.ndarray]:
        if self._image_every and self._steps % self._image_every == 0:
            self._image = self.render()
        state = np.asarray(state, np.float32)
        return {
            "agent_pos": state[: self._hand],
            "environment_state": state,
            "pixels": self._image,
        }


class Several(gymnasium.Env):
    """Tasks of one simulator, of which an episode's seed says which: its remainder by their number.

    **Arguments:**

    - `tasks`: their environments.

    Observations are theirs, and `environment_state` also says which task it is: a one for it, and
    a zero for each other, behind the simulator's numbers.
    """

    def __init__(self, tasks: Sequence[Simulator]):
        self._envs, self._which = list(tasks), 0
        self.action_space: Any = tasks[0].action_space
        spaces = dict(tasks[0].observation_space.spaces)
        size = spaces["environment_state"].shape[0] + len(self._envs)
        spaces["environment_state"] = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.observation_space: Any = gymnasium.spaces.Dict(spaces)

    @property
    def task_description(self) -> str:
        return self._envs[self._which].task_description

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        chosen = int(self.np_random.integers(2**31)) if seed is None else seed
        self._which = chosen % len(self._envs)
        observation, info = self._envs[self._which].reset(seed=chosen)
        return self._with_task(observation), info

    def step(self, action: np.ndarray):
        observation, reward, success, is_late, info = self._envs[self._which].step(action)
        return self._with_task(observation), reward, success, is_late, info

    def render(self, size: int = IMAGE) -> np.ndarray:
        """The image of the task that is played, shape `(size, size, 3)`."""
        return self._envs[self._which].render(size)

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def _with_task(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        which = np.eye(len(self._envs), dtype=np.float32)[self._which]
        state = np.concatenate([observation["environment_state"], which])
        return {**observation, "environment_state": state}


def make_task(name: str, max_steps: int, image_every: int) -> Simulator:
    """A task by its name: LIBERO's begin with the name of their suite, others are MetaWorld's."""
    if name.startswith("libero_"):
        from .libero import Libero as Task
    else:
        from .metaworld import MetaWorld as Task
    return Task(name, max_steps, image_every)


def make_tasks(names: Sequence[str], max_steps: int, image_every: int) -> Simulator | Several:
    """One task's environment, or several tasks'."""
    several = [make_task(name, max_steps, image_every) for name in names]
    return several[0] if len(several) == 1 else Several(several)
