from typing import Any

import gymnasium
import numpy as np

from .. import _environments


class ActionChunks(gymnasium.Wrapper):
    """Plays a chunk of actions open loop in one `step`, and resets from a seed alone.

    A worker process is met once a chunk, not once an action. After the episode's end `step` does
    nothing: a vector of environments can go on while one of them waits for its next episode.

    **Arguments:**

    - `env`: a gymnasium environment with a Box action space.
    - `horizon`: how many actions a chunk has; `step` takes an array `(horizon, *action)`.
    - `goal_conditioned`: observations are followed by the goal, which a reset's `info` tells.
    """

    def __init__(self, env: gymnasium.Env, horizon: int, *, goal_conditioned: bool = False):
        super().__init__(env)
        self._goal = np.zeros(0, np.float32)
        self._goal_conditioned = goal_conditioned
        if goal_conditioned:
            # As many numbers as the goal has, which only a reset says.
            observation, _ = self._observe(*_environments.reset(env, 0))
            self.observation_space = gymnasium.spaces.Box(
                -np.inf, np.inf, observation.shape, observation.dtype.type
            )
        space = env.action_space
        if not isinstance(space, gymnasium.spaces.Box):
            raise ValueError(f"Actions must be in a Box, {env} has {space}.")
        self.horizon = horizon
        shape = (horizon, *space.shape)
        self.action_space = gymnasium.spaces.Box(
            np.broadcast_to(space.low, shape), np.broadcast_to(space.high, shape), dtype=np.float32
        )
        self._result: tuple[Any, ...] = ()
        self._return, self._length = 0.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        if seed is None:
            raise ValueError("ActionChunks.reset needs a seed: episodes are paired by it.")
        observation, _ = self._observe(*_environments.reset(self.env, seed, options))
        self._return, self._length = 0.0, 0
        self._result = (observation, 0.0, False, False, {})
        return observation, {}

    def _observe(self, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if self._goal_conditioned:
            if "goal" not in info:
                raise ValueError(f"{self.env} tells no goal: it is not goal-conditioned.")
            self._goal = np.asarray(info["goal"], observation.dtype)
        return self._with_goal(observation), info

    def _with_goal(self, observation: Any) -> Any:
        return np.concatenate([observation, self._goal]) if self._goal_conditioned else observation

    def step(self, action: np.ndarray):
        _, _, terminated, truncated, _ = self._result
        for single in action:
            if terminated or truncated:
                break
            observation, reward, terminated, truncated, info = self.env.step(single)
            observation = self._with_goal(observation)
            self._return += float(reward)
            self._length += 1
            # Only what the evaluation reads: a manipulation task's `info` has dozens of arrays.
            found = {
                "success": float(info.get("success", 0.0)),
                "return": self._return,
                "length": self._length,
            }
            self._result = (observation, float(reward), terminated, truncated, found)
        return self._result


def make_chunked(name: str, horizon: int, goal_conditioned: bool = False) -> ActionChunks:
    """What a worker process builds. Torn off `evaluate` so that it can be sent there by name."""
    return ActionChunks(_environments.make(name), horizon, goal_conditioned=goal_conditioned)
