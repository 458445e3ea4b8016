"""The picture of two examples: success against something that grows, a panel for each task."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from trained import Common, CUBE

from flowguide.plot import (
    add_legend,
    add_title,
    errors_of,
    finish_axes,
    method_style,
    name_outer,
    new_panels,
)
from flowguide.results import Condition, Success


@dataclasses.dataclass(frozen=True)
class Growing(Common):
    """What both examples are told."""

    tasks: tuple[str, ...] = (CUBE,)
    """OGBench tasks."""

    kappa: float = 5.0
    """The weight of the gradient methods, in units of the task: of each critic its own."""

    episodes: int = 10
    """Of each training seed and condition, at each point."""


def plot_growth(
    found: Mapping[str, Mapping[int, Mapping[Condition, Success]]],
    title: str,
    label: str,
    shown: Callable[[int], str],
) -> Any:
    """Draws the success of each condition; `shown` writes a tick of what grows."""
    figure, panels = new_panels(len(found), height=2.6, sharey=True)
    for (task, sizes), axes in zip(found.items(), panels, strict=True):
        for i, condition in enumerate(next(iter(sizes.values()))):
            color, marker = method_style(condition.curve, i)
            rates = [rates[condition] for rates in sizes.values()]
            axes.errorbar(
                *(list(sizes), [rate.value for rate in rates], errors_of(rates)),
                color=color,
                marker=marker,
                markersize=5,
                capsize=3,
                label=str(condition),
            )
        axes.set_xscale("log")
        axes.set_xticks(list(sizes), [shown(size) for size in sizes])
        axes.minorticks_off()
        axes.set_title(task.removesuffix("-v0"), fontsize=9)
        axes.set(xlabel=label, ylabel="success rate")
        finish_axes(axes, is_rate=True)
    name_outer(panels, sharex=False)
    add_legend(figure, panels)
    counts = {rate.count for sizes in found.values() for s in sizes.values() for rate in s.values()}
    below = f"{min(counts)} episodes each, 95% Wilson intervals"
    add_title(figure, title, below)
    return figure
