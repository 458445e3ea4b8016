"""MetaWorld's tasks as gymnasium environments with a camera, and scripted demonstrations."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import os
import warnings
from typing import Any, NamedTuple

os.environ.setdefault("MUJOCO_GL", "egl")

import gymnasium
import metaworld
import mujoco
import numpy as np
from lerobot.envs.metaworld import TASK_DESCRIPTIONS
from metaworld.policies import ENV_POLICY_MAP

IMAGE = 64
HAND = 4
STATE = 39
ACTION = 4


class MetaWorld(gymnasium.Env):
    """A task of MetaWorld, named and observed as LeRobot does, ended by its first success.

    LeRobot's own environment renders 480 x 480 pixels at each step, which takes far longer than the
    step.

    **Arguments:**

    - `task`: such as `"push-v3"`.
    - `max_steps`: where an episode ends at the latest.
    - `image_every`: steps between two images: a camera may be slower than the controller, and a
        policy that plays chunks looks once a chunk. 0 for a grey image without rendering, and the
        whole state as the robot's.

    Observations are `agent_pos`, shape `(4,)`, the hand and its opening; `pixels`,
    shape `(64, 64, 3)`; and `environment_state`, shape `(39,)`, all that the simulator tells.
    """

    action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION,), np.float32)

    def __init__(self, task: str, max_steps: int = 150, image_every: int = 1):
        self.task_description = TASK_DESCRIPTIONS[task]
        self._max_steps, self._image_every = max_steps, image_every
        self._size = HAND if image_every else STATE
        self.observation_space: Any = gymnasium.spaces.Dict(
            {
                "agent_pos": gymnasium.spaces.Box(-np.inf, np.inf, (self._size,), np.float32),
                "environment_state": gymnasium.spaces.Box(-np.inf, np.inf, (STATE,), np.float32),
                "pixels": gymnasium.spaces.Box(0, 255, (IMAGE, IMAGE, 3), np.uint8),
            }
        )
        made = metaworld.MT1(task, seed=0)
        self._env = made.train_classes[task]()
        self._env.set_task(made.train_tasks[0])
        # Objects and goals are drawn at each reset, from the seed of that reset.
        self._env._freeze_rand_vec = False
        self._env.seeded_rand_vec = True
        # Where LeRobot has this camera.
        self._env.model.cam_pos[2] = [0.75, 0.075, 0.7]
        self._renderers: dict[int, Any] = {}
        self._image = np.full((IMAGE, IMAGE, 3), 127, np.uint8)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        own_seed = int(self.np_random.integers(2**31))
        self._env.seed(own_seed)
        state, _ = self._env.reset(seed=own_seed)
        self._steps = 0
        return self._observation(state), {"success": False}

    def step(self, action: np.ndarray):
        state, reward, _, _, info = self._env.step(np.asarray(action, np.float64))
        self._steps += 1
        success = bool(info["success"])
        is_late = self._steps >= self._max_steps
        return self._observation(state), float(reward), success, is_late, {"success": success}

    def render(self, size: int = IMAGE) -> np.ndarray:
        """The camera's image, shape `(size, size, 3)`."""
        if size not in self._renderers:
            self._env.model.vis.quality.shadowsize = 0
            self._renderers[size] = mujoco.Renderer(self._env.model, size, size)
        renderer = self._renderers[size]
        # MetaWorld's reset moves the goal, and leaves it to the next step to show it there.
        mujoco.mj_kinematics(self._env.model, self._env.data)
        renderer.update_scene(self._env.data, camera="corner2")
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            renderer.scene.flags[flag] = 0
        # This camera hangs upside down.
        return np.flip(renderer.render(), (0, 1)).copy()

    def close(self) -> None:
        while self._renderers:
            self._renderers.popitem()[1].close()

    def _observation(self, state: np.ndarray) -> dict[str, np.ndarray]:
        if self._image_every and self._steps % self._image_every == 0:
            self._image = self.render()
        state = np.asarray(state, np.float32)
        return {
            "agent_pos": state[: self._size],
            "environment_state": state,
            "pixels": self._image,
        }


class Demonstrations(NamedTuple):
    """Steps of successful episodes, one after the other.

    **Attributes:**

    - `agent_pos`, `environment_state`, `pixels`, `actions`: each with a row for a step.
    - `last`: of each row, the last row of its episode.
    - `tried`: how many episodes it took.
    """

    agent_pos: np.ndarray
    environment_state: np.ndarray
    pixels: np.ndarray
    actions: np.ndarray
    last: np.ndarray
    tried: int


def demonstrate(
    task: str, count: int, *, noise: float, seed: int, image_every: int = 1, max_steps: int = 200
) -> Demonstrations:
    """Demonstrations of MetaWorld's scripted policy, with an unsteady hand.

    **Arguments:**

    - `task`: as for `MetaWorld`.
    - `count`: of successful episodes; those that fail are thrown away.
    - `noise`: standard deviation of what is added to each action, in the units of the action. It
        holds on for about ten steps, and is part of the action that is shown.
    - `seed`: of episodes and noise.
    - `image_every`, `max_steps`: as for `MetaWorld`.
    """
    env, expert = MetaWorld(task, max_steps, image_every), ENV_POLICY_MAP[task]()
    rng = np.random.default_rng(seed)
    rows: dict[str, list[np.ndarray]] = {
        name: [] for name in ("actions", *env.observation_space.spaces)
    }
    lengths: list[int] = []
    tried, keep = 0, 0.9
    while len(lengths) < count:
        observation, _ = env.reset(seed=int(rng.integers(2**31)))
        tried += 1
        unsteady, steps, success, is_late = np.zeros(3), [], False, False
        while not (success or is_late):
            fresh = rng.standard_normal(3) * noise * np.sqrt(1 - keep**2)
            unsteady = keep * unsteady + fresh
            with warnings.catch_warnings():
                # It asks for more than there is, and is clipped.
                warnings.filterwarnings("ignore", message="Constant.s. may be too high")
                action = np.array(expert.get_action(observation["environment_state"].astype(float)))
            action[:3] = np.clip(action[:3], -1, 1) + unsteady
            action = np.clip(action, -1, 1).astype(np.float32)
            steps.append({**observation, "actions": action})
            observation, _, success, is_late, _ = env.step(action)
        if success:
            lengths.append(len(steps))
            for name, values in rows.items():
                values += [step[name] for step in steps]
    env.close()
    last = np.repeat(np.cumsum(lengths) - 1, lengths)
    arrays = {name: np.stack(values) for name, values in rows.items()}
    return Demonstrations(**arrays, last=last, tried=tried)
