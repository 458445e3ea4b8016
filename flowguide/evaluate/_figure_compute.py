import itertools
import math
from collections.abc import Sequence
from typing import Any

from .._cost import CRITICS
from ._compare import Comparison
from ._drawing import (
    add_legend,
    add_title,
    episodes_each,
    errors_of,
    finish_axes,
    new_figure,
    Picture,
    Styles,
)
from ._tables import number, thinned

# Weights of a curve that there is room for, and of all curves of one cost.
MAX_OF_A_CURVE = 5
MAX_AT_ONE_COST = 18
# Costs are drawn in one place if they lie within this share of the axis.
SAME = 0.08
# The axis goes this factor beyond the costs.
MARGIN = 1.7
# Of conditions without a cost.
SHOWN_NAMES = 5
# Curves that differ in the unit alone have one colour and one marker.
_FILLED = {"raw": None, "kappa": "white", "local": "0.9", "relative": "0.6", "norm": "0.75"}


def draw_compute(
    name: str, title: str, rows: Sequence[Comparison], styles: Styles
) -> Picture | None:
    """Success against what one action costs; None for fewer than two methods whose cost is known.

    The weights of a method cost the same: they lie side by side, rising to the right.
    """
    told = [row for row in rows if row.success]
    known = [row for row in told if row.cost is not None]
    shown = [row for row in known if styles.has(row.condition)]
    if len({row.condition.series for row in shown}) < 2:
        return None
    figure = new_figure(8.6, 4.6)
    axes = figure.subplots()
    places = _places(shown)
    for several in sorted(places, key=lambda s: _cost(s[0][0])):
        _draw(axes, several, styles)
    _scale(axes, _clusters([_cost(row) for row in shown]))
    finish_axes(axes, is_rate=True)
    steps = sorted({row.steps for row in shown if row.steps is not None})
    assumed = f"critics of {CRITICS} networks"
    axes.set_ylabel("success rate")
    axes.set_xlabel(
        "cost of one action, in forward passes of one network\n"
        f"({', '.join([*_steps(steps), assumed])})"
    )
    add_legend(figure, [axes])
    drawn = sum(map(len, places))
    counts = episodes_each(row.success.count for row in shown if row.success)
    add_title(figure, title, f"{counts}, 95% Wilson intervals")
    few = (
        f"{number(drawn)} of {number(len(told))} conditions are shown." if drawn < len(told) else ""
    )
    unknown = [str(row.condition) for row in told if row.cost is None]
    if unknown:
        few += f" Of {_some(unknown)} the cost is not known."
    caption = (
        f"Success against compute: {title}. The weights of a method cost the same, and lie side by "
        "side, rising to the right. Costs are as the episodes recorded them, for critics of "
        f"{CRITICS} networks as large as the policy's; a gradient in the action counts as two "
        "forward passes."
    )
    return Picture(name, figure, caption, few.strip())


def _steps(steps: Sequence[int]) -> list[str]:
    return [f"{' or '.join(map(str, steps))} flow steps"] if 0 < len(steps) < 4 else []


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_NAMES])
    more = len(names) - SHOWN_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _cost(row: Comparison) -> int:
    assert row.cost is not None
    return row.cost.forwards()


def _draw(axes: Any, several: Sequence[tuple[Comparison, float]], styles: Styles) -> None:
    condition, spent = several[0][0].condition, _cost(several[0][0])
    found: Any = [row.success for row, _ in several]
    axes.errorbar(
        [x for _, x in several],
        [rate.value for rate in found],
        errors_of(found),
        color=styles.color(condition),
        marker=styles.marker(condition),
        markerfacecolor=_FILLED.get(condition.unit),
        markersize=5.5,
        linestyle="none",
        elinewidth=1.1,
        capsize=2,
        label=f"{condition.series}: {spent}",
    )


def _scale(axes: Any, clusters: Sequence[Sequence[int]]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(clusters[0][0] / MARGIN, clusters[-1][-1] * MARGIN)
    names = [f"{c[0]}" if len(c) == 1 else f"{c[0]}-{c[-1]}" for c in clusters]
    axes.set_xticks([_center(c) for c in clusters], names)
    axes.minorticks_off()


def _clusters(costs: Sequence[int]) -> list[list[int]]:
    """Costs that lie so near each other that their points are drawn in one place."""
    found: list[list[int]] = []
    length = math.log(max(costs) / min(costs)) + 2 * math.log(MARGIN)
    for each in sorted(set(costs)):
        if found and math.log(each / found[-1][0]) < SAME * length:
            found[-1].append(each)
        else:
            found.append([each])
    return found


def _center(costs: Sequence[int]) -> float:
    return math.sqrt(costs[0] * costs[-1])


def _room(lengths: Sequence[int]) -> int:
    """How many points of each curve there is room for at one cost, given how many each has."""
    fits = [n for n in range(1, MAX_OF_A_CURVE + 1) if _points(lengths, n) <= MAX_AT_ONE_COST]
    return max(fits, default=1)


def _points(lengths: Sequence[int], most: int) -> int:
    return sum(min(length, most) for length in lengths)


def _places(rows: Sequence[Comparison]) -> list[list[tuple[Comparison, float]]]:
    """Where each point lies: those of one cost side by side, curve by curve."""
    curves: dict[tuple[int, str], list[Comparison]] = {}
    for row in rows:
        # Weights of one curve cost the same, unless they are rules of different kinds.
        curves.setdefault((_cost(row), row.condition.series), []).append(row)
    clusters = _clusters([cost for cost, _ in curves])
    centers = [_center(cluster) for cluster in clusters]
    gaps = [math.log(b / a) for a, b in itertools.pairwise(centers)]
    places: list[list[tuple[Comparison, float]]] = []
    for i, (center, cluster) in enumerate(zip(centers, clusters, strict=True)):
        gap = min(gaps[max(i - 1, 0) : i + 1], default=1.0)
        mine = sorted((key for key in curves if key[0] in cluster), key=lambda key: key[0])
        each = _room([len(curves[key]) for key in mine])
        few = [thinned(curves[key], each) for key in mine]
        # One slot stays empty between two curves.
        slots = sum(map(len, few)) + len(few) - 1
        step = min(0.05, 0.8 * gap / slots)
        slot = -(slots - 1) / 2
        for several in few:
            places.append(
                [(row, center * math.exp((slot + j) * step)) for j, row in enumerate(several)]
            )
            slot += len(several) + 1
    return places
