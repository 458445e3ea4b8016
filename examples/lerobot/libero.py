"""LIBERO's tasks with one object and a basket, and a script that solves most of them."""

# pyright: reportMissingImports=false

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from libero.libero import benchmark, get_libero_path
from libero.libero.envs.env_wrapper import ControlEnv

from .simulator import Simulator

SETTLE = 5
OPEN, SHUT = -1.0, 1.0
# Metres that an action of 1 asks for.
REACH = 0.05


class Libero(Simulator):
    """A task of `libero_object`, by its suite and number: `"libero_object-0"`.

    The hand is its position, its rotation and its two fingers; the state also has the object's
    position and rotation, and the basket's position: 19 numbers. Actions move and turn the hand,
    and shut it. Objects are placed at each reset, from its seed.
    """

    # What collides.
    hidden = (0,)

    def __init__(self, task: str, max_steps: int = 250, image_every: int = 1):
        suite, _, number = task.rpartition("-")
        described = benchmark.get_benchmark_dict()[suite]().get_task(int(number))
        super().__init__(
            described.language,
            hand=9,
            state=19,
            action=7,
            max_steps=max_steps,
            image_every=image_every,
        )
        folder = os.path.join(get_libero_path("bddl_files"), described.problem_folder)
        with _drawn_from(0):
            self._env = ControlEnv(
                os.path.join(folder, described.bddl_file),
                use_camera_obs=False,
                has_offscreen_renderer=False,
                # Else each reset reads the whole scene from its files again.
                hard_reset=False,
                ignore_done=True,
            )
        self._object, self._basket = self._env.obj_of_interest

    def start(self, seed: int) -> np.ndarray:
        # Of what an episode leaves behind, the one thing that a reset does not see to.
        for robot in self._env.robots:
            robot.gripper.current_action = np.zeros_like(robot.gripper.current_action)
        with _drawn_from(seed):
            observation = self._env.reset()
        for _ in range(SETTLE):
            observation, *_ = self._env.step([0.0] * 6 + [OPEN])
        return self._state(observation)

    def play(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
        observation, reward, success, _ = self._env.step(action)
        return self._state(observation), float(reward), bool(success)

    def scene(self) -> tuple[Any, Any, str]:
        return self._env.sim.model._model, self._env.sim.data._data, "agentview"

    def expert(self) -> Callable[[np.ndarray], np.ndarray]:
        return _PickAndPlace()

    def close(self) -> None:
        super().close()
        self._env.close()

    def _state(self, observation: dict[str, Any]) -> np.ndarray:
        names = [
            "robot0_eef_pos",
            "robot0_eef_quat",
            "robot0_gripper_qpos",
            f"{self._object}_pos",
            f"{self._object}_quat",
            f"{self._basket}_pos",
        ]
        return np.concatenate([observation[name] for name in names])


class _PickAndPlace:
    """Above the object, down, shut, up, above the basket, open: from one to the next once there."""

    def __init__(self) -> None:
        self._phase, self._steps, self._table = 0, 0, None

    def __call__(self, state: np.ndarray) -> np.ndarray:
        hand, thing, basket = state[:3], state[9:12], state[16:19]
        if self._table is None:
            self._table = thing[2]
        high = self._table + 0.35
        lifted, over_basket = [*hand[:2], high], [*basket[:2], high]
        is_above = np.linalg.norm(hand[:2] - thing[:2]) < 0.012
        is_over_basket = np.linalg.norm(hand[:2] - basket[:2]) < 0.02
        goal, grip, is_done = [
            (thing + [0, 0, 0.12], OPEN, is_above),
            (thing, OPEN, hand[2] - thing[2] < 0.012 or self._steps > 40),
            (hand, SHUT, self._steps > 8),
            (lifted, SHUT, hand[2] > self._table + 0.28 or self._steps > 50),
            (over_basket, SHUT, is_over_basket or self._steps > 60),
            (hand, OPEN, False),
        ][self._phase]
        self._steps += 1
        if is_done:
            self._phase, self._steps = self._phase + 1, 0
        move = np.clip((np.asarray(goal) - hand) / REACH, -1, 1)
        return np.concatenate([move, np.zeros(3), [grip]])


@contextlib.contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    """LIBERO draws from NumPy's global generator, which is left as it was."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
