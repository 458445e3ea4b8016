"""What the critic says of guided actions, by weight and by compute (QGF, figures 4 and 6).

python examples/value_optimisation.py --runs runs/small --out runs/pictures
"""

import dataclasses

import jax
import tyro
from trained import Common, save, trained

from flowguide.diagnose import value_optimisation
from flowguide.evaluate import cross
from flowguide.results import across_runs

METHODS = ("qgf", "ood", "qgf_jacobian", "ode", "bptt")


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """What is drawn."""

    kappas: tuple[float, ...] = (1, 3, 10, 30, 100)
    """Guidance weights, in units of the task."""

    best_of_n: tuple[int, ...] = (4, 16, 64)
    """Numbers of actions to choose from."""


def main(settings: Settings) -> None:
    for task in settings.tasks:
        found = across_runs(
            [
                value_optimisation(
                    *(agent.policy, agent.critic, agent.observations),
                    guidances(agent, settings),
                    key=jax.random.key(0),
                )
                for agent in trained(task, settings.seeds, settings.runs)
            ]
        )
        print(f"{task}: gain in the critic's value, {found.gain}")
        for i, condition in enumerate(found.conditions):
            gain = found.gain[i]
            shown = f"{gain.value:7.2f} [{gain.low:.2f}, {gain.high:.2f}]"
            spent, clipped = found.forwards[i], found.clipped[i]
            print(f"{condition!s:>24} {shown:>26}  {spent:5.0f} forwards  {clipped:.0%} at a bound")
        save(found.plot(), settings.out, f"value_optimisation_{task.split('-')[0]}")


def guidances(agent, settings: Settings):
    gradients = cross(METHODS, kappas=settings.kappas, observations=agent.observations)
    return {**gradients, **cross(["best_of_n"], best_of_n=settings.best_of_n)}


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
