"""What a worker process does: it resets, plays chunks of actions, and reports what goes wrong."""

import dataclasses
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space, create_empty_array, iterate

from .. import _environments

# In place of the seed of a new episode.
GO_ON = -1
# In place of a success.
UNKNOWN = -1


def told_success(number: int) -> bool | None:
    """Whether the task was solved; None where the environment does not say."""
    return None if number == UNKNOWN else bool(number)


class EpisodePlayer(gymnasium.Wrapper):
    """Plays a chunk of actions open loop in one `step`, or resets where a seed is given.

    A worker process is met once a chunk, not once an action, and one kind of call serves all
    workers, whether they begin an episode or are in the middle of one. After the episode's end
    nothing happens until the next. An environment that raises, or that returns numbers that are not
    finite, ends its episode; the worker lives.

    **Arguments:**

    - `env`: a gymnasium environment with a Box action space.
    - `horizon`: how many actions a chunk has.
    - `goal_conditioned`: observations are followed by the goal, which a reset's `info` tells. The
        environment's tasks, 1 to `num_tasks`, take turns with the seeds.
    """

    def __init__(self, env: gymnasium.Env, horizon: int, *, goal_conditioned: bool = False):
        super().__init__(env)
        space = env.action_space
        if not isinstance(space, gymnasium.spaces.Box):
            raise ValueError(f"Actions must be in a Box, {env} has {space}.")
        self._found = self._nothing()
        self._goal = np.zeros(0, np.float32)
        self._goal_conditioned = goal_conditioned
        if goal_conditioned:
            # As many numbers as the goal has, which only a reset says.
            observation = self._reset(0)
            self.observation_space = gymnasium.spaces.Box(
                -np.inf, np.inf, observation.shape, observation.dtype.type
            )
        self.action_space = step_space(space, horizon)
        one = batch_space(self.observation_space, 1)
        self.blank = next(iter(iterate(one, create_empty_array(self.observation_space, 1))))
        self._observation: Any = self.blank
        self._done = True

    def step(self, action: dict[str, np.ndarray]):
        seed = int(action["seed"])
        try:
            if seed != GO_ON:
                self._begin(seed)
            else:
                self._play(action["actions"])
        except Exception as error:  # Whatever an environment raises is a result, not our end.
            self._fail(f"{type(error).__name__}: {error}")
        return self._observation, 0.0, self._done, False, dict(self._found)

    def _begin(self, seed: int) -> None:
        self._done = False
        self._observation = self.blank
        self._found = self._nothing()
        self._observation = self._reset(seed)
        if not _is_finite(self._observation):
            self._fail("the observation of the reset is not finite")

    @staticmethod
    def _nothing() -> dict[str, Any]:
        # Numbers where they are unknown: a vector of environments makes arrays of them.
        return {"success": UNKNOWN, "return": 0.0, "length": 0, "goal": 0, "error": ""}

    def _reset(self, seed: int) -> Any:
        options = None
        tasks = getattr(self.env.unwrapped, "num_tasks", None)
        if self._goal_conditioned and tasks:
            goal = seed % tasks + 1
            options, self._found["goal"] = {"task_id": goal}, goal
        observation, info = _environments.reset(self.env, seed, options)
        if self._goal_conditioned:
            if "goal" not in info:
                raise ValueError(f"{self.env} tells no goal: it is not goal-conditioned.")
            self._goal = np.asarray(info["goal"], observation.dtype)
        return self._with_goal(observation)

    def _with_goal(self, observation: Any) -> Any:
        return np.concatenate([observation, self._goal]) if self._goal_conditioned else observation

    def _play(self, actions: np.ndarray) -> None:
        if not self._done and not np.all(np.isfinite(actions)):
            self._fail(f"the policy's actions are not finite after {self._found['length']} steps")
        for single in actions:
            if self._done:
                break
            observation, reward, terminated, truncated, info = self.env.step(single)
            self._found["return"] += float(reward)
            self._found["length"] += 1
            # Only what the evaluation reads: a manipulation task's `info` has dozens of arrays.
            if "success" in info:
                self._found["success"] = int(bool(info["success"]))
            if not (_is_finite(observation) and np.isfinite(float(reward))):
                name = "reward" if _is_finite(observation) else "observation"
                return self._fail(f"the {name} of step {self._found['length']} is not finite")
            self._observation = self._with_goal(observation)
            self._done = bool(terminated or truncated)

    def _fail(self, error: str) -> None:
        self._done = True
        self._found["error"] = error


def _is_finite(observation: Any) -> bool:
    if isinstance(observation, dict):
        return all(map(_is_finite, observation.values()))
    if isinstance(observation, tuple):
        return all(map(_is_finite, observation))
    return bool(np.all(np.isfinite(observation)))


@dataclasses.dataclass
class MakePlayer:
    """Builds an environment that plays episodes, wherever it is sent."""

    environment: str | Callable[[], gymnasium.Env]
    horizon: int
    goal_conditioned: bool
    observation_space: gymnasium.Space
    single_action_space: gymnasium.spaces.Box

    def __call__(self) -> EpisodePlayer:
        env = make_environment(self.environment)
        return EpisodePlayer(env, self.horizon, goal_conditioned=self.goal_conditioned)

    @property
    def action_space(self) -> gymnasium.Space:
        return step_space(self.single_action_space, self.horizon)


def player_spaces(
    environment: str | Callable[[], gymnasium.Env], goal_conditioned: bool
) -> tuple[gymnasium.Space, gymnasium.spaces.Box]:
    """The space of observations, with their goal, and that of single actions.

    **Raises:**

    `ValueError` for an environment that is unknown or has no Box of actions.
    """
    # The environment is reset for its goal, which reseeds NumPy's global state: the caller's.
    state = np.random.get_state()
    try:
        env = make_environment(environment)
        player = EpisodePlayer(env, 1, goal_conditioned=goal_conditioned)
        space: Any = env.action_space
        player.close()
        return player.observation_space, space
    finally:
        np.random.set_state(state)


def step_space(space: gymnasium.spaces.Box, horizon: int) -> gymnasium.Space:
    """What `EpisodePlayer.step` takes: a chunk of actions, or a seed."""
    shape = (horizon, *space.shape)
    low, high = (np.broadcast_to(bound, shape) for bound in (space.low, space.high))
    return gymnasium.spaces.Dict(
        {
            "actions": gymnasium.spaces.Box(low, high, dtype=np.float32),
            "seed": gymnasium.spaces.Box(GO_ON, 2**32 - 1, (), np.int64),
        }
    )


def make_environment(
    environment: str | Callable[[], gymnasium.Env], **kwargs: Any
) -> gymnasium.Env:
    """An OGBench environment by its name, any other by its gymnasium name or a function.

    **Raises:**

    `ValueError` for an unknown name.
    """
    if not isinstance(environment, str):
        return environment(**kwargs)
    try:
        return _environments.make(environment, **kwargs)
    except ValueError as error:
        try:
            with _environments.quiet():
                return gymnasium.make(environment, **kwargs)
        except (gymnasium.error.UnregisteredEnv, ModuleNotFoundError) as other:
            raise ValueError(
                f"{error} Nor is it registered with gymnasium: {other} An environment of another "
                "package is named 'package:Name-v0'."
            ) from other
