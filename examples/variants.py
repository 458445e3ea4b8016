"""Success of the variants of gradient guidance, by weight and by compute (QGF, figures 6, 7, 15).

    python examples/variants.py --runs runs/small --out runs/pictures

Every variant meets the same episodes with the same noise. Started again, it plays what is missing.
"""

import dataclasses

import tyro
from trained import Common, critic_run, save, trained

from flowguide.evaluate import cross, evaluate_runs
from flowguide.plot import (
    add_legend,
    add_title,
    draw_compute,
    finish_axes,
    new_figure,
    plot_success,
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
        settings.out.mkdir(parents=True, exist_ok=True)
        plot_success(played, settings.out / f"variants_{name}.png", task)
        print(f"Wrote {settings.out / f'variants_{name}.png'}.")
        figure = new_figure(8.6, 4.6)
        axes = figure.subplots()
        draw_compute(axes, table, Styles(row.condition for row in table))
        finish_axes(axes, is_rate=True)
        axes.set_ylabel("success rate")
        axes.set_xlabel("cost of one action, in forward passes of one network")
        add_legend(figure, [axes])
        add_title(figure, task, "of each method the best weight, with its 95% Wilson interval")
        save(figure, settings.out, f"compute_{name}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
