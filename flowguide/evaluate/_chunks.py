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
    """

    def __init__(self, env: gymnasium.Env, horizon: int):
        super().__init__(env)
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
        observation, _ = _environments.reset(self.env, seed, options)
        self._return, self._length = 0.0, 0
        self._result = (observation, 0.0, False, False, {})
        return observation, {}

    def step(self, action: np.ndarray):
        _, _, terminated, truncated, _ = self._result
        for single in action:
            if terminated or truncated:
                break
            observation, reward, terminated, truncated, info = self.env.step(single)
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


def make_chunked(name: str, horizon: int) -> ActionChunks:
    """What a worker process builds. Torn off `evaluate` so that it can be sent there by name."""
    return ActionChunks(_environments.make(name), horizon)
