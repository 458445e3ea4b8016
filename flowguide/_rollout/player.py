"""What a worker process does: it resets, plays chunks of actions, and reports what goes wrong."""

import contextlib
import multiprocessing
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space, create_empty_array, iterate

from .._checks import as_bool
from .._random import MAX_SEED
from . import environments
from .recorder import Recorder, UNKNOWN
from .rules import as_action, Rules

# In place of the seed of a new episode.
GO_ON = -1
# Where environments report success: OGBench and most, and gymnasium-robotics, PushT and LeRobot's.
SUCCESS_KEYS = ("success", "is_success")


def known_success(number: int) -> bool | None:
    """Whether the task was solved; None where the environment does not say."""
    return None if number == UNKNOWN else bool(number)


# An environment that declares no limit and has not ended by then never will.
LONGEST = 10_000


class EpisodePlayer(gymnasium.Wrapper):
    """Plays a chunk of actions open loop in one `step`, or resets where a seed is given.

    A worker process is met once a chunk, not once an action, and one kind of call serves all
    workers, whether they begin an episode or are in the middle of one. After the episode's end
    nothing happens until the next. An environment that raises, that returns numbers that are not
    finite, observations of another shape than it says, or a success that is no boolean, ends its
    episode with an error; the worker lives.

    **Arguments:**

    - `env`: a gymnasium environment with a Box action space.
    - `horizon`: how many actions a chunk has.
    - `rules`: how episodes are played. Where they are goal-conditioned, observations are followed
        by the goal, which a reset's `info` holds; the environment's tasks, 1 to `num_tasks`, take
        turns with the seeds.
    - `recorder`: keeps what is played; None for nothing.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        horizon: int,
        rules: Rules = Rules(),
        recorder: Recorder | None = None,
    ):
        super().__init__(env)
        space = env.action_space
        if not isinstance(space, gymnasium.spaces.Box):
            raise ValueError(f"Actions must be in a Box, {env} has {space}.")
        self._box, self.rules, self._recorder = space, rules, recorder
        self._longest = max(LONGEST, _limit_of(env), rules.max_episode_steps or 0)
        self._record = self._nothing()
        self._goal = np.zeros(0, np.float32)
        if rules.goal_conditioned:
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
        # Of the last episode, for those who play in this process.
        self.rewards: list[float] = []
        self.is_truncated = False

    def step(self, action: dict[str, np.ndarray]):
        seed = int(action["seed"])
        try:
            if seed != GO_ON:
                self._begin(seed)
            else:
                self._play(action["actions"])
        # Whatever an environment raises is a result, not our end. Workers ignore Ctrl-C: what looks
        # like it there is the environment's. Elsewhere it is the user's.
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            if not isinstance(error, Exception) and multiprocessing.parent_process() is None:
                raise
            self._fail(f"{type(error).__name__}: {error}")
        return self._observation, 0.0, self._done, False, dict(self._record)

    def _begin(self, seed: int) -> None:
        self._done = False
        self._observation = self.blank
        self._record, self.rewards, self.is_truncated = self._nothing(), [], False
        observation = self._reset(seed)
        problem = self._problem(observation)
        if problem:
            return self._fail(f"the observation of the reset {problem}")
        self._observation = observation
        if self._recorder is not None:
            self._recorder.begin(seed, observation)

    @staticmethod
    def _nothing() -> dict[str, Any]:
        # Numbers where they are unknown: a vector of environments makes arrays of them.
        numbers = {"return": 0.0, "length": 0, "goal": 0, "solved": False}
        return {"success": UNKNOWN, **numbers, "error": ""}

    def _reset(self, seed: int) -> Any:
        options = None
        tasks = getattr(self.env.unwrapped, "num_tasks", None)
        if self.rules.goal_conditioned and tasks:
            goal = seed % tasks + 1
            options, self._record["goal"] = {"task_id": goal}, goal
        observation, info = environments.reset(self.env, seed, options)
        # Only steps decide: what a reset says may be that it is not known yet.
        with contextlib.suppress(ValueError):
            self._record["solved"] = bool(self._success_of(info))
        if self.rules.goal_conditioned:
            if "goal" not in info:
                raise ValueError(f"{self.env} tells no goal: it is not goal-conditioned.")
            self._goal = np.asarray(info["goal"], observation.dtype)
        return self._with_goal(observation)

    def _with_goal(self, observation: Any) -> Any:
        if not self.rules.goal_conditioned:
            return observation
        return np.concatenate([observation, self._goal])

    def _play(self, actions: np.ndarray) -> None:
        record = self._record
        if not self._done and not np.all(np.isfinite(actions)):
            self._fail(f"the policy's actions are not finite after {record['length']} steps")
        for single in actions:
            if self._done:
                break
            action = as_action(self._box, single)
            stepped: Any = self.env.step(action)
            if not (isinstance(stepped, tuple) and len(stepped) == 5):
                raise ValueError(
                    f"step returned {len(stepped)} things, and not (observation, reward, "
                    f"terminated, truncated, info): {environments.OLD_GYM}"
                )
            observation, reward, terminated, truncated, info = stepped
            reward = np.asarray(reward, np.float64).item()
            record["return"] += reward
            self.rewards.append(reward)
            record["length"] += 1
            success = self._success_of(info)
            self._count(success)
            observation = self._with_goal(observation)
            problem = self._problem(observation)
            if problem:
                return self._fail(f"the observation of step {record['length']} {problem}")
            if not np.isfinite(reward):
                return self._fail(f"the reward of step {record['length']} is not finite")
            self._observation = observation
            self.is_truncated = bool(truncated and not terminated)
            self._done = bool(terminated or truncated)
            if not self._done and record["length"] >= self._longest:
                return self._fail(
                    f"the episode has not ended after {self._longest:,} steps: max_episode_steps "
                    "says where it does"
                )
            if self._recorder is not None:
                self._recorder.step(action, observation, reward, bool(terminated), success)
                if self._done:
                    self._recorder.end()

    def _count(self, success: int | None) -> None:
        if success is None:
            return
        if self.rules.success_at == "any":
            success = max(success, self._record["success"])
        self._record["success"] = success

    @staticmethod
    def _success_of(info: dict[str, Any]) -> int | None:
        # Only what the evaluation reads: a manipulation task's `info` has dozens of arrays.
        key = next((key for key in SUCCESS_KEYS if key in info), None)
        return None if key is None else int(as_bool(f"info[{key!r}]", info[key]))

    def _problem(self, observation: Any) -> str | None:
        """What is wrong with an observation."""
        if not _is_finite(observation):
            return "is not finite"
        return _misfit(self.observation_space, observation)

    def _fail(self, error: str) -> None:
        self._done = True
        self._record["error"] = error


def _limit_of(env: gymnasium.Env) -> int:
    """The most steps that an environment says it takes; 0 where it does not."""
    said = [env.spec.max_episode_steps if env.spec is not None else None]
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            said.append(env._max_episode_steps)
        env = env.env
    return max(limit or 0 for limit in said)


def play_episode(
    player: EpisodePlayer, seed: int, choose: Callable[[Any, int], Any]
) -> dict[str, Any]:
    """Plays an episode in this process.

    **Arguments:**

    - `player`: the environment.
    - `seed`: of the episode.
    - `choose`: called with the observation and the number of the decision; returns an action, or a
        chunk of them.

    **Returns:**

    The `info` of the last step: `success` (-1 where it is not known), `return`, `length`, `error`.
    """
    space: Any = player.env.action_space
    blank = np.zeros((1, *space.shape), np.float32)
    observation, _, done, _, record = player.step({"seed": np.array(seed), "actions": blank})
    decisions = 0
    while not done:
        chunk = np.asarray(choose(observation, decisions)).reshape(-1, *space.shape)
        going = {"seed": np.array(GO_ON), "actions": chunk[: player.rules.replan]}
        observation, _, done, _, record = player.step(going)
        decisions += 1
    return record


def _misfit(space: gymnasium.Space, observation: Any) -> str | None:
    """How an observation differs in shape from what its space says."""
    if isinstance(space, gymnasium.spaces.Dict):
        names = set(observation) if isinstance(observation, dict) else observation
        if names != set(space.spaces):
            return f"has {names!r}, and its space {set(space.spaces)!r}"
        parts = ((space.spaces[name], observation[name]) for name in space.spaces)
    elif isinstance(space, gymnasium.spaces.Tuple):
        parts = zip(space.spaces, observation, strict=True)
    else:
        shape = np.shape(observation)
        if space.shape is not None and shape != space.shape:
            return f"has the shape {shape}, and its space {space.shape}"
        return None
    return next(filter(None, (_misfit(*part) for part in parts)), None)


def _is_finite(observation: Any) -> bool:
    if isinstance(observation, dict):
        return all(map(_is_finite, observation.values()))
    if isinstance(observation, tuple):
        return all(map(_is_finite, observation))
    return bool(np.all(np.isfinite(observation)))


def step_space(space: gymnasium.spaces.Box, horizon: int) -> gymnasium.Space:
    """What `EpisodePlayer.step` takes: a chunk of actions, or a seed."""
    shape = (horizon, *space.shape)
    bounds = (space.low.astype(np.float32), space.high.astype(np.float32))
    low, high = (np.broadcast_to(bound, shape) for bound in bounds)
    return gymnasium.spaces.Dict(
        {
            "actions": gymnasium.spaces.Box(low, high, dtype=np.float32),
            "seed": gymnasium.spaces.Box(GO_ON, MAX_SEED, (), np.int64),
        }
    )
