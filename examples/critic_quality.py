"""Success with critics of growing quality: of few updates and of many (QGF, figure 10).

    python examples/critic_quality.py --runs runs/small --out runs/pictures

The policies are the same throughout; only their critics were trained for longer.
"""

import dataclasses

import tyro
from growth import Growing, plot_growth
from trained import critic_run, PLAN, save, trained

from flowguide.evaluate import cross, evaluate_runs
from flowguide.results import summarise


@dataclasses.dataclass(frozen=True)
class Settings(Growing):
    """What is trained, played and drawn."""

    steps: tuple[int, ...] = (1000, 3000, 10_000)
    """Updates of the critics; the plan's own come last."""


def main(settings: Settings) -> None:
    found: dict[str, dict[int, dict]] = {}
    for task in settings.tasks:
        found[task] = {}
        last = PLAN["train"]["small"]["steps"]
        for steps in (*settings.steps, last):
            rates = play(task, steps, last, settings)
            found[task][steps] = rates
            for condition, rate in rates.items():
                print(f"{task}, {steps:>6} updates, {condition!s:>12}: {rate} of {rate.count}")
    figure = plot_growth(
        found, "Critics of growing quality", "updates of the critic", lambda steps: f"{steps:,}"
    )
    save(figure, settings.out, "critic_quality")


def play(task: str, steps: int, last: int, settings: Settings) -> dict:
    """The success of each condition with critics of that many updates."""
    name = "small" if steps == last else f"small_{steps}_updates"
    often = min(steps, PLAN["train"]["small"].get("log_every", 1000))
    changed = {} if steps == last else {"steps": steps, "checkpoint_every": often}
    agents = trained(task, settings.seeds, settings.runs, training=name, **changed)
    observations = agents[0].observations
    guidances = {
        **cross(["qgf", "ood"], kappas=[settings.kappa], observations=observations),
        **cross(["best_of_n"], best_of_n=[4]),
    }
    del guidances["unguided"]
    folders = [critic_run(settings.runs, task, seed, name) for seed in settings.seeds]
    file = settings.runs / "critic_quality" / f"{task}_{name}.jsonl"
    file.parent.mkdir(exist_ok=True)
    return summarise(evaluate_runs(folders, guidances, settings.episodes, file, progress=False))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
