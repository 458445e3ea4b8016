from collections.abc import Sequence

from .._cost import CRITICS
from .._results.compare import Comparison
from .._results.tables import number
from ..plot import (
    add_legend,
    add_title,
    compute_panels,
    costs_of,
    episodes_each,
    finish_axes,
    Styles,
)
from ._picture import Picture

# Of conditions without a cost.
SHOWN_NAMES = 5


def compute_picture(
    name: str,
    title: str,
    rows: Sequence[Comparison],
    styles: Styles,
    *,
    is_chosen_elsewhere: bool = False,
) -> Picture | None:
    """Success against what one action costs; None where fewer than two methods say their cost."""
    with_success = [row for row in rows if row.success]
    costs = costs_of(with_success)
    drawn = [row for row in with_success if row.condition in costs and styles.has(row.condition)]
    if len({row.condition.series for row in drawn}) < 2:
        return None
    figure, panels = compute_panels(costs, styles)
    steps = sorted({row.steps for row in drawn if row.steps is not None})
    assumed = f"critics of {CRITICS} networks"
    for axes in panels:
        finish_axes(axes, is_rate=True)
        axes.set_ylabel("success rate")
    panels[-1].set_xlabel(
        "cost of one action, in forward passes of one network\n"
        f"({', '.join([*_steps(steps), assumed])})"
    )
    add_legend(figure, panels, each=True)
    counts = episodes_each(row.success.count for row in drawn if row.success)
    add_title(figure, title, f"{counts}, 95% Wilson intervals")
    few = ""
    if len(drawn) < len(with_success):
        few = f"{number(len(drawn))} of {number(len(with_success))} conditions are shown."
    unknown = [str(row.condition) for row in with_success if row.cost is None]
    if unknown:
        few += f" Of {_some(unknown)} the cost is not known."
    chosen = "The weights were chosen on other episodes. "
    if not is_chosen_elsewhere:
        chosen = (
            "Of each method the weight with the highest success has its interval; as it was chosen "
            "in these episodes, its success is optimistic. Dots are its other weights, at the same "
            "cost; numbers beside points are weights. "
        )
    caption = (
        f"Success against compute: {title}. {chosen}Costs are as the episodes recorded them, for "
        f"critics of {CRITICS} networks as large as the policy's; a gradient in the action counts "
        "as two forward passes."
    )
    return Picture(name, figure, caption, few.strip())


def _steps(steps: Sequence[int]) -> list[str]:
    return [f"{' or '.join(map(str, steps))} flow steps"] if 0 < len(steps) < 4 else []


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(names[:SHOWN_NAMES])
    more = len(names) - SHOWN_NAMES
    return f"{listed} and {more} more" if more > 0 else listed
