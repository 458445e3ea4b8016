"""Success of the variants of gradient guidance, by weight and by compute (QGF, figures 6, 7, 15).

    python examples/variants.py --runs runs/small --out runs/pictures

Every variant meets the same episodes with the same noise. Started again, it plays what is missing.
"""

import dataclasses
from typing import Any

import tyro
from trained import Common, critic_run, save, trained

from flowguide.evaluate import cross, evaluate_runs
from flowguide.plot import (
    add_legend,
    add_title,
    compute_panels,
    costs_of,
    curve_panels,
    episodes_each,
    finish_axes,
    Styles,
)
from flowguide.results import compare

METHODS = (
    *("qgf", "qgf_regularised", "qgf_orthogonal", "qgf_jacobian"),
    *("posterior", "ode", "bptt", "ood"),
)


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """What is played and drawn."""

    kappas: tuple[float, ...] = (1, 3, 10, 30)
    """Guidance weights, in units of the task."""

    best_of_n: tuple[int, ...] = (4, 16)
    """Numbers of actions to choose from."""

    episodes: int = 10
    """Of each training seed and condition."""


def main(settings: Settings) -> None:
    for task in settings.tasks:
        agents = trained(task, settings.seeds, settings.runs)
        folders = [critic_run(settings.runs, task, seed) for seed in settings.seeds]
        file = settings.runs / "variants" / f"{task}.jsonl"
        file.parent.mkdir(exist_ok=True)
        some = agents[0].observations
        guidances = cross(METHODS, kappas=settings.kappas, observations=some)
        guidances |= cross(["best_of_n"], best_of_n=settings.best_of_n)
        played = evaluate_runs(folders, guidances, settings.episodes, file, progress=False)
        table = compare(played)
        print(f"{task}: success with 95% Wilson intervals, and mean return")
        for row in table:
            told = row.episode_return.value if row.episode_return else float("nan")
            print(f"{row.condition!s:>24}  {row.success} of {row.episodes}, {told:8.1f}")
        name = task.split("-")[0]
        styles = Styles(row.condition for row in table)
        rates = {row.condition: row.success for row in table}
        by_weight = curve_panels(rates, styles, "success rate")
        counts = episodes_each(row.success.count for row in table if row.success)
        finish(*by_weight, task, f"{counts}, 95% Wilson intervals")
        save(by_weight[0], settings.out, f"variants_{name}")
        by_cost = compute_panels(costs_of(table), styles)
        for axes in by_cost[1]:
            axes.set_ylabel("success rate")
        by_cost[1][-1].set_xlabel("cost of one action, in forward passes of one network")
        below = "weights beside their points; of the best one the 95% Wilson interval"
        finish(*by_cost, task, below, each=True)
        save(by_cost[0], settings.out, f"compute_{name}")


def finish(figure: Any, panels: list[Any], task: str, below: str, *, each: bool = False) -> None:
    """What both pictures share."""
    for axes in panels:
        finish_axes(axes, is_rate=True)
    add_legend(figure, panels, each=each)
    add_title(figure, task, below)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
