"""How far each gradient turns when the noisy action moves a little (QGF, figure 3).

python examples/noise_sensitivity.py --runs runs/small --out runs/pictures
"""

import dataclasses

import jax
import tyro
from trained import Common, save, trained

from flowguide.diagnose import noise_sensitivity
from flowguide.results import across_runs


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """What is drawn."""

    observations: int = 128
    """Of the data, at each of which a path is followed."""


def main(settings: Settings) -> None:
    for task in settings.tasks:
        found = across_runs(
            [
                noise_sensitivity(
                    *(agent.policy, agent.critic, agent.observations[: settings.observations]),
                    key=jax.random.key(0),
                )
                for agent in trained(task, settings.seeds, settings.runs)
            ]
        )
        print(f"{task}: cosine of gradients at noise of {found.sizes[1]:g}, {found.cosine}")
        for i, name in enumerate(found.names):
            row = found.cosine[i, :, 1]
            first, last = (
                f"{row.value[j]:.2f} [{row.low[j]:.2f}, {row.high[j]:.2f}]" for j in (0, -1)
            )
            print(f"{name:>14} at t = 0: {first}, at the last step: {last}")
        save(found.plot(), settings.out, f"noise_sensitivity_{task.split('-')[0]}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
