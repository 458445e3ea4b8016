"""One action on its way from noise, by several guidances: what each step does, and asks.

python examples/trajectory.py --runs runs/small --out runs/pictures
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import tyro
from trained import CUBE, save, trained

import flowguide
from flowguide.diagnose import trajectory


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is drawn."""

    task: str = CUBE
    """An OGBench task."""

    methods: tuple[str, ...] = ("qgf", "ood", "bptt")
    """Gradient guidances."""

    kappa: float = 10.0
    """Their weight, in units of the task."""

    seed: int = 0
    """The training seed, and that of the noise."""

    runs: Path = Path("runs/small")
    """The folder of examples/ogbench/small.toml."""

    out: Path = Path("docs/images")
    """Where the picture goes."""


def main(settings: Settings) -> None:
    (agent,) = trained(settings.task, (settings.seed,), settings.runs)
    policies = {"unguided": agent.policy}
    for method in settings.methods:
        weight = flowguide.Kappa(settings.kappa, agent.observations)
        policies[method] = flowguide.guide(agent.policy, agent.critic, method, weight=weight)
    noise = jax.random.normal(jax.random.key(settings.seed), agent.policy.noise_shape)
    observation = jnp.asarray(agent.observations[0])
    found = trajectory(policies, noise, observation)
    for name, trace in found.traces.items():
        value = float(agent.critic(observation, jnp.asarray(trace.action)))
        print(f"{name:>10}: the critic's value of the action is {value:.2f}")
    save(found.plot(), settings.out, "trajectory")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
