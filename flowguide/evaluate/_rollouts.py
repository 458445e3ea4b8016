import dataclasses
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np

from .._agent.agents import Agent
from .._pytree import PyTree
from .._results.episodes import Episode
from .._rollout.make_player import player_spaces
from .._rollout.recorder import recorded, Recorder, UNKNOWN
from .._rollout.rules import Rules, SuccessAt
from ..data import Dataset, from_arrays
from ._evaluate import play


class Rollouts(NamedTuple):
    """Episodes that a policy played, as data to learn from and as results.

    **Attributes:**

    - `dataset`: all steps, episodes in the order of their seeds. Actions are those that the
        environment was given, in float32; `successes` what it said of each step.
    - `episodes`: one for each of them, in the same order.
    """

    dataset: Dataset
    episodes: list[Episode]


def rollouts(
    agent: Agent,
    environment: str | Callable[[], gymnasium.Env],
    episode_seeds: Sequence[int],
    *,
    guidance: Any = None,
    keep: Callable[[Any], PyTree] | Sequence[str] | None = None,
    replan: int | None = None,
    goal_conditioned: bool = False,
    max_episode_steps: int | None = None,
    success_at: SuccessAt = "end",
    num_envs: int | None = None,
    batch_size: int | None = None,
    timeout: float = 120.0,
) -> Rollouts:
    """Plays episodes with a policy and keeps every step, such as for a critic of that policy.

    ```python
    played = flowguide.evaluate.rollouts(agent, "Pendulum-v1", range(50))
    windows = flowguide.data.Windows(played.dataset, 8, 0.99, returns="monte_carlo")
    ```

    Episodes are those of `flowguide.evaluate.evaluate`, with the same noise: two policies, or one
    under two guidances, meet the same seeds in the same way.

    **Arguments:**

    - `agent`: the policy, with its critic if the guidance asks one.
    - `environment`: as for `evaluate`. Observations are an array or a dictionary of arrays.
    - `episode_seeds`: one episode for each of them.
    - `guidance`: as for `flowguide.guide`; None for the unguided policy.
    - `keep`: what is kept of an observation: names of a dictionary's entries, or a function of an
        observation, such as one that makes an image small, which runs in worker processes. None for
        all of it, images included.
    - `replan`, `goal_conditioned`, `max_episode_steps`, `success_at`, `num_envs`, `batch_size`,
        `timeout`: as for `evaluate`.

    **Returns:**

    A `Rollouts`. An episode that ended with an error is left out, with a warning that says how many
    there were.

    **Raises:**

    What `evaluate` raises; `ValueError` for names that observations do not have, and where no
    episode was played to its end; `TypeError` for observations that are neither an array nor a
    dictionary.
    """
    rules = Rules(replan, goal_conditioned, max_episode_steps, success_at)
    select = keep if callable(keep) else _Entries(None if keep is None else tuple(keep))
    example = select(player_spaces(environment, rules)[0].sample())
    if not isinstance(example, (dict, np.ndarray)):
        raise TypeError(
            "Expected observations that are an array or a dictionary of arrays, got "
            f"{type(example).__name__}: keep= can be a function that makes one of it."
        )
    seeds = list(dict.fromkeys(episode_seeds))
    label = "unguided" if guidance is None else "guided"
    with tempfile.TemporaryDirectory(prefix="flowguide-rollouts-") as name:
        folder = Path(name)
        played = play(
            [agent],
            *(environment, {label: guidance}, seeds, rules),
            num_envs=num_envs,
            timeout=timeout,
            batch_size=batch_size,
            finished=(),
            on_episode=None,
            on_doubt=lambda doubt: warnings.warn(doubt, stacklevel=4),
            pool=None,
            recorder=Recorder(folder, select),
        )
        whole = {e.episode_seed: e for e in played if e.error is None}
        structure = jax.tree.structure(example)
        arrays = [recorded(folder, seed, structure) for seed in seeds if seed in whole]
    failed = [e.error for e in played if e.error is not None]
    if failed:
        warnings.warn(
            f"{len(failed):,} of {len(played):,} episodes ended with an error and are left out. "
            f"The first: {failed[0]}",
            stacklevel=2,
        )
    if not arrays:
        raise ValueError(f"No episode of {len(played)} was played to its end.")
    joined = jax.tree.map(lambda *rows: np.concatenate(rows), *arrays)
    successes = joined.pop("successes")
    if np.any(successes != UNKNOWN):
        joined["successes"] = successes == 1
    dataset = from_arrays(**joined, low=-np.inf, high=np.inf)
    return Rollouts(dataset, [whole[seed] for seed in seeds if seed in whole])


@dataclasses.dataclass(frozen=True)
class _Entries:
    """Some entries of a dictionary, by their names; None for whatever there is."""

    names: tuple[str, ...] | None

    def __call__(self, observation: Any) -> Any:
        if self.names is None:
            return observation
        if not isinstance(observation, dict) or not set(self.names) <= set(observation):
            has = sorted(observation) if isinstance(observation, dict) else type(observation)
            raise ValueError(f"keep is {list(self.names)}, and observations have {has}.")
        return {name: observation[name] for name in self.names}
