import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import gymnasium

from . import environments
from .by_name import make_environment
from .player import EpisodePlayer, step_space
from .recorder import Recorder
from .rules import Rules


@dataclasses.dataclass
class MakePlayer:
    """Builds an environment that plays episodes, wherever it is sent."""

    environment: str | Callable[[], gymnasium.Env]
    horizon: int
    rules: Rules
    observation_space: gymnasium.Space
    single_action_space: gymnasium.spaces.Box
    # What only the calling process has registered goes along.
    spec: Any = None
    recorder: Recorder | None = None

    def __call__(self) -> EpisodePlayer:
        env = make_environment(self.environment, self.rules, spec=self.spec)
        # One of its own: a process has several players.
        recorder = copy.copy(self.recorder)
        return EpisodePlayer(env, self.horizon, self.rules, recorder)

    @property
    def action_space(self) -> gymnasium.Space:
        return step_space(self.single_action_space, self.horizon)


def player_spaces(
    environment: str | Callable[[], gymnasium.Env], rules: Rules
) -> tuple[gymnasium.Space, gymnasium.spaces.Box]:
    """The space of observations, with their goal, and that of single actions.

    **Raises:**

    `ValueError` for an environment that is unknown or has no Box of actions.
    """
    # The environment is reset for its goal, which reseeds global random states: the caller's.
    with environments.global_state_kept():
        env = make_environment(environment, rules)
        player = EpisodePlayer(env, 1, rules)
        space: Any = env.action_space
        player.close()
        return player.observation_space, space
