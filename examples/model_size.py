"""Success with policies and critics of growing size (QGF, figure 9).

    python examples/model_size.py --runs runs/small --out runs/pictures

Policy and critic grow together, with the same number of updates on the same data. 1024x4, the
paper's networks, is `--widths 1024 --depths 4`: on two cores an hour for each training seed.
"""

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import tyro
from growth import Growing, plot_growth
from trained import plan_settings, save

from flowguide import load, load_observations
from flowguide.evaluate import cross, evaluate_runs
from flowguide.results import summarise
from flowguide.runs import run


@dataclasses.dataclass(frozen=True)
class Settings(Growing):
    """What is trained, played and drawn."""

    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Hidden units of each layer."""

    depths: tuple[int, ...] = (3, 3, 3, 4)
    """Layers, for each width."""

    steps: int = 6000
    """Updates of all of them."""


def main(settings: Settings) -> None:
    found: dict[str, dict[int, dict]] = {}
    for task in settings.tasks:
        found[task] = {}
        for width, depth in zip(settings.widths, settings.depths, strict=True):
            size, rates = play(task, (width,) * depth, settings)
            found[task][size] = rates
            print(f"{task}, {width}x{depth}: a policy of {size:,} parameters")
            for condition, rate in rates.items():
                print(f"{condition!s:>16}: {rate} of {rate.count}")
    title = f"Policies and critics of growing size, {settings.steps:,} updates"
    label = "parameters of the policy"
    save(plot_growth(found, title, label, in_millions), settings.out, "model_size")


def in_millions(size: int) -> str:
    return f"{size / 1e6:.2g} M"


def play(task: str, hidden: tuple[int, ...], settings: Settings) -> tuple[int, dict]:
    """The size of a policy, and the success of each condition with it and a critic as large."""
    name = f"{hidden[0]}x{len(hidden)}"
    runs = settings.runs / "model_size" / task / f"{name}_{settings.steps}_updates"
    folders = [runs / f"seed_{seed}" for seed in settings.seeds]
    for seed, folder in zip(settings.seeds, folders, strict=True):
        train_one(task, hidden, seed, settings, folder)
    policy: Any = load(folders[0])[0]
    arrays = jax.tree.leaves(eqx.filter(policy, eqx.is_inexact_array))
    file = runs / "episodes.jsonl"
    some = load_observations(folders[0], seed=settings.seeds[0])
    guidances = {
        **cross(["qgf", "ood"], kappas=[settings.kappa], observations=some),
        **cross(["best_of_n"], best_of_n=[4]),
    }
    episodes = evaluate_runs(folders, guidances, settings.episodes, file, progress=False)
    return sum(array.size for array in arrays), summarise(episodes)


def train_one(
    task: str, hidden: tuple[int, ...], seed: int, settings: Settings, folder: Path
) -> None:
    """Policy and critic of one training seed; what is there is used."""
    often = min(settings.steps, 1000)
    changed: dict[str, Any] = {"hidden": hidden, "steps": settings.steps, "seed": seed}
    changed |= {"log_every": often, "checkpoint_every": often}
    plan = plan_settings(task, settings.runs)
    run(dataclasses.replace(plan, **changed), folder)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
