"""Success with critics of growing quality: of few updates and of many (QGF, figure 10).

    python examples/critic_quality.py --runs runs/small --out runs/pictures

The policies are the same throughout; only their critics were trained for longer.
"""

import dataclasses

import tyro
from trained import Common, critic_run, CUBE, PLAN, save, trained

from flowguide.diagnose._style import style
from flowguide.evaluate import Condition, evaluate_runs, summarise
from flowguide.evaluate._drawing import add_legend, add_title, errors_of, finish_axes, new_figure


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """What is trained, played and drawn."""

    tasks: tuple[str, ...] = (CUBE,)
    """OGBench tasks."""

    steps: tuple[int, ...] = (1000, 3000, 10_000)
    """Updates of the critics; the plan's own come last."""

    kappa: float = 5.0
    """The weight of the gradient methods, in units of the task: of each critic its own."""

    episodes: int = 10
    """Of each training seed, condition and critic."""


def main(settings: Settings) -> None:
    conditions = [
        *(Condition("qgf", settings.kappa, unit="kappa"),),
        *(Condition("ood", settings.kappa, unit="kappa"), Condition("best_of_n", best_of_n=4)),
    ]
    figure = new_figure(4.4 * len(settings.tasks) + 1.8, 3.8)
    panels = figure.subplots(1, len(settings.tasks), sharey=True, squeeze=False)[0]
    for task, axes in zip(settings.tasks, panels, strict=True):
        found = {}
        last = PLAN["train"]["small"]["steps"]
        for steps in (*settings.steps, last):
            found[steps] = play(task, steps, last, conditions, settings)
            for condition, rate in found[steps].items():
                print(f"{task}, {steps:>6} updates, {condition!s:>12}: {rate} of {rate.count}")
        for i, condition in enumerate(conditions):
            color, marker = style(condition.method, i)
            rates = [rates[condition] for rates in found.values()]
            axes.errorbar(
                *(list(found), [rate.value for rate in rates], errors_of(rates)),
                color=color,
                marker=marker,
                markersize=5,
                capsize=3,
                label=str(condition),
            )
        axes.set_xscale("log")
        axes.set_xticks(list(found), [f"{steps:,}" for steps in found])
        axes.minorticks_off()
        axes.set_title(task.removesuffix("-v0"), fontsize=9)
        axes.set_xlabel("updates of the critic")
        finish_axes(axes, is_rate=True)
    panels[0].set_ylabel("success rate")
    add_legend(figure, panels)
    count = settings.episodes * len(settings.seeds)
    below = f"{count} episodes each, 95% Wilson intervals"
    add_title(figure, "Critics of growing quality", below)
    save(figure, settings.out, "critic_quality")


def play(task: str, steps: int, last: int, conditions: list[Condition], settings: Settings) -> dict:
    """The success of each condition with critics of that many updates."""
    name = "small" if steps == last else f"small_{steps}_updates"
    often = min(steps, PLAN["train"]["small"].get("log_every", 1000))
    changed = {} if steps == last else {"steps": steps, "checkpoint_every": often}
    trained(task, settings.seeds, settings.runs, training=name, **changed)
    folders = [critic_run(settings.runs, task, seed, name) for seed in settings.seeds]
    file = settings.runs / "critic_quality" / f"{task}_{name}.jsonl"
    file.parent.mkdir(exist_ok=True)
    return summarise(evaluate_runs(folders, conditions, settings.episodes, file, shown=False))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
