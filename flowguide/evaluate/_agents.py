import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from .._critic import Critic
from .._policy import AbstractPolicy
from .._save import CONFIG_FILE, load, load_observations, seed_folder, seeds_of


@dataclasses.dataclass(frozen=True, eq=False)
class Agent:
    """A policy and its critic, as one training seed left them.

    **Attributes:**

    - `policy`: unguided; actions of shape `(horizon, *action)` are played as a chunk, open loop.
    - `critic`: None for a policy that is played unguided, or by guidances that ask no critic.
    - `train_seed`, `training`, `model`: recorded with each episode; see `Episode`.
    - `observations`: some of the data's, shape `(count, *observation)`, such as
        `flowguide.Kappa(kappa, observations)` measures its unit from. None if there are none.
    """

    policy: AbstractPolicy
    critic: Critic | None = None
    train_seed: int = 0
    training: str = ""
    model: str = ""
    observations: Any = None


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
