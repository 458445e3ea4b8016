import dataclasses
import os
from pathlib import Path
from typing import Any

from .._critic import Critic
from .._fingerprint import fingerprint
from .._policy import AbstractPolicy
from .._run_folder import RunFolder
from .._save import load, load_observations, NoObservationsError


@dataclasses.dataclass(frozen=True, eq=False)
class Agent:
    """A policy and its critic, as one training seed left them.

    **Attributes:**

    - `policy`: unguided; actions of shape `(horizon, *action)` are played as a chunk, open loop.
    - `critic`: None for a policy that is played unguided, or by guidances that ask no critic.
    - `train_seed`, `training`: recorded with each episode; see `Episode`.
    - `model`: recorded, too: identifies these parameters, bounds, steps and solver. By
        default a hash of policy and critic.
    - `observations`: some of the data's, shape `(count, *observation)`, such as
        `flowguide.Kappa(kappa, observations)` measures its unit from. None if there are none.
    """

    policy: AbstractPolicy
    critic: Critic | None = None
    train_seed: int = 0
    training: str = ""
    model: str = ""
    observations: Any = None

    def __post_init__(self):
        if not self.model:
            object.__setattr__(self, "model", fingerprint(self.policy, self.critic))


def load_agents(run: str | os.PathLike, *, training: str = "") -> list[Agent]:
    """The agents of all training seeds of a run, or the one that `flowguide.save` wrote.

    **Arguments:**

    - `run`: the folder.
    - `training`: a name for the training settings, which results and reports carry.

    **Raises:**

    What `flowguide.load` raises; `ValueError` for a run that holds no policy.
    """
    run = Path(run).expanduser()
    seeds = RunFolder(run).seeds()
    folders = {seed: RunFolder(run).of_seed(seed) for seed in seeds} if seeds else {0: run}
    agents = []
    for seed, folder in folders.items():
        policy, critic = load(folder)
        if policy is None:
            raise ValueError(f"{folder} holds no policy.")
        try:
            observations = load_observations(folder)
        except NoObservationsError:
            observations = None
        agents.append(Agent(policy, critic, seed, training, observations=observations))
    return agents
