import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

from .._critic import Critic
from .._policy import AbstractPolicy
from .._save import CONFIG_FILE, load, load_observations, seed_folder, seeds_of
from .._unit import weight_unit
from ._conditions import Condition, UNGUIDED


@dataclasses.dataclass(frozen=True, eq=False)
class Agent:
    """A policy and its critic, as one training seed left them.

    **Attributes:**

    - `policy`: actions of shape `(horizon, *action)` are played as a chunk, open loop.
    - `critic`: None for a policy that is only played unguided.
    - `train_seed`, `training`, `model`: recorded with each episode; see `Episode`.
    - `observations`: some of the data's, shape `(count, *observation)`: what the unit of weights in
        `"kappa"` is measured from. None if there are none.
    """

    policy: AbstractPolicy
    critic: Critic | None = None
    train_seed: int = 0
    training: str = ""
    model: str = ""
    observations: Any = None

    @functools.cached_property
    def unit(self) -> float:
        """The unit of weights in `"kappa"`, measured when it is first needed.

        **Raises:**

        `ValueError` without a critic or observations.
        """
        if self.observations is None or self.critic is None:
            raise ValueError(
                "A weight in units of the task needs a critic and observations, from which the "
                "unit is measured: Agent(policy, critic, observations=...)."
            )
        return float(weight_unit(self.policy, self.critic, self.observations))

    def raw_weight(self, condition: Condition) -> float:
        """The weight of a condition as `flowguide.guide` takes it; raises as `unit` does."""
        return condition.weight * (self.unit if condition.unit == "kappa" else 1.0)

    def check(self, condition: Condition) -> None:
        """Refuses a condition that this agent cannot play, with a `ValueError`."""
        if self.critic is None and condition.method != UNGUIDED:
            raise ValueError(
                f"Without a critic only the unguided policy can be played, not {condition}."
            )
        self.raw_weight(condition)


def load_agents(run: str | os.PathLike, *, training: str = "") -> list[Agent]:
    """The agents of all training seeds of a run, or the one that `flowguide.save` wrote.

    **Arguments:**

    - `run`: the folder.
    - `training`: a name for the training settings, which results and reports carry.

    **Raises:**

    What `flowguide.load` raises; `ValueError` for a run that holds no policy.
    """
    run = Path(run).expanduser()
    seeds = seeds_of(run)
    folders = {seed: seed_folder(run, seed) for seed in seeds} if seeds else {0: run}
    agents = []
    for seed, folder in folders.items():
        policy, critic = load(folder)
        if policy is None:
            raise ValueError(f"{folder} holds no policy.")
        try:
            observations = load_observations(folder)
        except FileNotFoundError:
            observations = None
        digest = json.loads((folder / CONFIG_FILE).read_text())["sha256"]
        agents.append(Agent(policy, critic, seed, training, digest[:12], observations))
    return agents
