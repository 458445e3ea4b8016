"""Numbers, such as success, against what an action costs."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from .._results.compare import Comparison
from .._results.conditions import Condition
from ._figures import errors_of, Interval, new_panels, SMALL
from ._multiples import in_turn
from ._styles import Styles
from ._ticks import scale_weights

Costs: TypeAlias = Mapping[Condition, tuple[int, Interval]]
# Between two curves of one cost, which would hide each other.
_APART = 1.1
# Curves that are no further apart have no room for weights between them.
_NEAR = 1.4
# The share of a panel's height that a weight's name takes.
_LINE = 0.1
# Curves whose weights have room beside their points.
_MAX_NAMED = 4
# Of more weights than someone chooses by hand the legend names the best alone.
_MAX_WEIGHTS = 8
# A picture of more would be longer than a screen: their panels are fuller instead.
_MAX_PANELS = 4
# Of curves that have one colour and one marker, as two units or numbers of actions of a method do.
_FILLS = ["full", "none", "left", "right", "top", "bottom"]


def costs_of(rows: Sequence[Comparison]) -> dict[Condition, tuple[int, Interval]]:
    """The costs and success rates of conditions, as `draw_compute` takes them.

    **Arguments:**

    - `rows`: of `flowguide.results.compare`; those without a success rate or a known cost are left
        out.
    """
    return {
        row.condition: (row.cost.forwards(), row.success)
        for row in rows
        if row.success and row.cost is not None
    }


def compute_panels(costs: Costs, styles: Styles) -> tuple[Any, list[Any]]:
    """A figure of `draw_compute`, with as many panels as curves need.

    **Arguments:**

    - `costs`, `styles`: as of `draw_compute`.

    **Returns:**

    The figure and its axes.
    """
    groups = split_costs(costs, styles)
    shared: dict[str, Any] = {"sharex": True, "sharey": True}
    figure, panels = new_panels(len(groups), columns=1, height=2.1, **shared)
    for axes, group in zip(panels, groups, strict=True):
        draw_compute(axes, costs, styles, group)
    return figure, panels


def split_costs(costs: Costs, styles: Styles) -> list[list[str]]:
    """The curves of each panel, those of like cost in different ones.

    **Arguments:**

    - `costs`, `styles`: as of `draw_compute`.
    """
    names = [best.series for best in _chosen(costs, styles)]
    return in_turn(names, max(_MAX_NAMED, -(-len(names) // _MAX_PANELS)))


def draw_compute(axes: Any, costs: Costs, styles: Styles, shown: Sequence[str] = ()) -> None:
    """Draws numbers against costs, in forward passes of one network.

    All weights of a curve cost the same, and up to 8 of them stand beside their points. The one
    with the highest number has its interval, and its name and cost are in the legend: where it was
    chosen in these very episodes, its success is optimistic. The others are small dots.

    **Arguments:**

    - `axes`: matplotlib's.
    - `costs`: of each condition its cost, and its number with an interval; those without a style
        are left out.
    - `styles`: colours and markers.
    - `shown`: the series of the curves that have names and colours here, all by default. The others
        are grey dots, so that small multiples can be compared.
    """
    chosen = _chosen(costs, styles)
    fills = _fills(chosen, styles)
    place = _places(chosen, costs)
    values = [costs[c][1].value for c in costs if styles.has(c)]
    line = _LINE * (max(values, default=1.0) - min([0.0, *values]))
    for best in chosen:
        several = [c for c in costs if styles.has(c) and c.series == best.series]
        x = place[best.series]
        if shown and best.series not in shown:
            rates = [costs[c][1].value for c in several]
            axes.plot([x] * len(rates), rates, linestyle="none", marker=".", color="0.87", zorder=0)
            continue
        _draw(axes, x, best, costs, styles, fills[best.series])
        others = [c for c in several if c is not best]
        rates = [costs[c][1].value for c in others]
        color = styles.color(best)
        axes.plot([x] * len(rates), rates, linestyle="none", marker=".", color=color)
        # To the left where the next curve would be under the text.
        named = [place[c.series] for c in chosen if not shown or c.series in shown]
        is_left = any(1 < other / x < _NEAR for other in named)
        look = {"va": "center", "ha": "right" if is_left else "left", "fontsize": SMALL}
        for y, text in _named(several, costs, line):
            shift = (-6 if is_left else 6, 0)
            axes.annotate(text, (x, y), shift, textcoords="offset points", color=color, **look)
    scale_weights(axes, sorted({costs[best][0] for best in chosen}))


def _chosen(costs: Costs, styles: Styles) -> list[Condition]:
    """Of each curve the condition with the highest number, cheap ones first."""
    best: dict[str, Condition] = {}
    for condition in sorted(costs):
        if styles.has(condition):
            rival = best.setdefault(condition.series, condition)
            if costs[condition][1].value > costs[rival][1].value:
                best[condition.series] = condition
    return sorted(best.values(), key=lambda condition: costs[condition][0])


def _places(chosen: Sequence[Condition], costs: Costs) -> dict[str, float]:
    """Where each curve is on the axis: side by side where they cost the same."""
    beside: dict[int, list[str]] = {}
    for best in chosen:
        beside.setdefault(costs[best][0], []).append(best.series)
    return {
        name: spent * _APART ** (i - (len(several) - 1) / 2)
        for spent, several in beside.items()
        for i, name in enumerate(several)
    }


def _fills(chosen: Sequence[Condition], styles: Styles) -> dict[str, str]:
    alike: dict[tuple[str, str], int] = {}
    fills: dict[str, str] = {}
    for best in sorted(chosen):
        look = styles.color(best), styles.marker(best)
        alike[look] = alike.get(look, -1) + 1
        fills[best.series] = _FILLS[alike[look] % len(_FILLS)]
    return fills


def _named(several: Sequence[Condition], costs: Costs, line: float) -> list[tuple[float, str]]:
    """The weights of points with the height of their text: one text where points are that near."""
    points = sorted((costs[c][1].value, c.weight) for c in several if c.weight is not None)
    if len(points) > _MAX_WEIGHTS:
        return []
    groups: list[list[tuple[float, float]]] = []
    for value, weight in points:
        if groups and value - groups[-1][0][0] < line:
            groups[-1].append((value, weight))
        else:
            groups.append([(value, weight)])
    return [
        (
            sum(value for value, _ in group) / len(group),
            ", ".join(f"{weight:.3g}" for weight in sorted(weight for _, weight in group)),
        )
        for group in groups
    ]


def _draw(
    axes: Any, place: float, best: Condition, costs: Costs, styles: Styles, fill: str
) -> None:
    spent, rate = costs[best]
    axes.errorbar(
        [place],
        [rate.value],
        errors_of([rate]),
        color=styles.color(best),
        marker=styles.marker(best),
        fillstyle=fill,
        markerfacecoloralt="white",
        markersize=6,
        linestyle="none",
        elinewidth=1.2,
        capsize=3,
        label=f"{best}: {spent}",
    )
