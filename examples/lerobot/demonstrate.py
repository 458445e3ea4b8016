"""Demonstrations of a scripted policy with an unsteady hand."""

from typing import NamedTuple

import numpy as np

from .simulator import Simulator


class Demonstrations(NamedTuple):
    """Steps of successful episodes, one after the other.

    **Attributes:**

    - `agent_pos`, `environment_state`, `pixels`, `actions`: each with a row for a step.
    - `last`: of each row, the last row of its episode.
    - `tried`: how many episodes it took.
    - `instruction`: of the task.
    """

    agent_pos: np.ndarray
    environment_state: np.ndarray
    pixels: np.ndarray
    actions: np.ndarray
    last: np.ndarray
    tried: int
    instruction: str


def demonstrate(env: Simulator, count: int, *, noise: float, seed: int) -> Demonstrations:
    """Demonstrations of a simulator's own scripted policy.

    **Arguments:**

    - `env`: one task.
    - `count`: of successful episodes; those that fail are thrown away.
    - `noise`: standard deviation of what is added to the three directions in which an action moves
        the hand, in the units of the action. It holds on for about ten steps, and is part of the
        action that is shown.
    - `seed`: of episodes and noise.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, list[np.ndarray]] = {
        name: [] for name in ("actions", *env.observation_space.spaces)
    }
    lengths: list[int] = []
    tried, keep = 0, 0.9
    while len(lengths) < count:
        expert = env.expert()
        observation, _ = env.reset(seed=int(rng.integers(2**31)))
        tried += 1
        unsteady, steps, success, is_late = np.zeros(3), [], False, False
        while not (success or is_late):
            fresh = rng.standard_normal(3) * noise * np.sqrt(1 - keep**2)
            unsteady = keep * unsteady + fresh
            action = expert(observation["environment_state"])
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
    return Demonstrations(**arrays, last=last, tried=tried, instruction=env.task_description)
