"""MetaWorld's tasks, named and observed as LeRobot does.

LeRobot's own environment renders 480 x 480 pixels at each step, which takes far longer than the
step.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import warnings
from collections.abc import Callable
from typing import Any

import metaworld
import mujoco
import numpy as np
from lerobot.envs.metaworld import TASK_DESCRIPTIONS
from metaworld.policies import ENV_POLICY_MAP

from .simulator import IMAGE, Simulator


class MetaWorld(Simulator):
    """A task of MetaWorld, such as `"push-v3"`.

    The hand is its position and its opening, the state has 39 numbers, and actions move the hand in
    three directions, and the fingers.
    """

    def __init__(self, task: str, max_steps: int = 150, image_every: int = 1):
        super().__init__(
            TASK_DESCRIPTIONS[task],
            hand=4,
            state=39,
            action=4,
            max_steps=max_steps,
            image_every=image_every,
        )
        self._task = task
        made = metaworld.MT1(task, seed=0)
        self._env = made.train_classes[task]()
        self._env.set_task(made.train_tasks[0])
        # Objects and goals are drawn at each reset, from the seed of that reset.
        self._env._freeze_rand_vec = False
        self._env.seeded_rand_vec = True
        # Where LeRobot has this camera.
        self._env.model.cam_pos[2] = [0.75, 0.075, 0.7]

    def start(self, seed: int) -> np.ndarray:
        self._env.seed(seed)
        return self._env.reset(seed=seed)[0]

    def play(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
        state, reward, _, _, info = self._env.step(action)
        return state, float(reward), bool(info["success"])

    def scene(self) -> tuple[Any, Any, str]:
        # MetaWorld's reset moves the goal, and leaves it to the next step to show it there.
        mujoco.mj_kinematics(self._env.model, self._env.data)
        return self._env.model, self._env.data, "corner2"

    def render(self, size: int = IMAGE) -> np.ndarray:
        # This camera hangs upside down.
        return np.flip(super().render(size), (0, 1)).copy()

    def expert(self) -> Callable[[np.ndarray], np.ndarray]:
        policy = ENV_POLICY_MAP[self._task]()

        def act(state: np.ndarray) -> np.ndarray:
            with warnings.catch_warnings():
                # It asks for more than there is, and is clipped.
                warnings.filterwarnings("ignore", message="Constant.s. may be too high")
                return np.array(policy.get_action(state.astype(float)))

        return act
