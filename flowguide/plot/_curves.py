"""Numbers against weights."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from .._results.conditions import axis_name, Condition, units_of
from ._figures import errors_of, Interval, name_outer, new_panels
from ._multiples import split_curves
from ._styles import Styles
from ._ticks import scale_weights

Points: TypeAlias = Mapping[Condition, Interval | None]
# More points than this are a line with a shaded interval: caps would cover each other.
_MAX_CAPS = 25


def curve_panels(points: Points, styles: Styles, label: str) -> tuple[Any, list[Any]]:
    """A figure of `draw_curves`, with as many panels as units and curves need.

    **Arguments:**

    - `points`, `styles`: as of `draw_curves`.
    - `label`: of the numbers.

    **Returns:**

    The figure, and the axes in reading order.
    """
    units = units_of(points) or ["raw"]
    parts = [
        (unit, title, shown)
        for unit in units
        for title, shown in split_curves(points, unit, styles).items()
    ]
    is_small = len(parts) > len(units)
    is_shared = len(units) == 1
    columns, height = (2, 1.5) if is_small else (1, 2.7)
    shared: dict[str, Any] = {"sharey": True, "sharex": is_shared}
    figure, panels = new_panels(len(parts), columns=columns, height=height, **shared)
    for axes, (unit, title, shown) in zip(panels, parts, strict=True):
        draw_curves(axes, {c: points[c] for c in shown}, unit, styles)
        if is_small:
            axes.set_title(title, fontsize=9)
            # The name of the axis is too long for half of the width.
            axes.set_xlabel("weight" if unit == "raw" else unit)
        axes.set_ylabel(label)
    name_outer(panels, sharex=is_shared)
    return figure, panels


def draw_curves(axes: Any, points: Points, unit: str, styles: Styles) -> None:
    """Draws numbers against the weights of one unit, with intervals, on a logarithmic axis.

    Conditions without a weight are horizontal lines with their interval as a band; conditions with
    weights of other units are ignored.

    **Arguments:**

    - `axes`: matplotlib's.
    - `points`: numbers with their intervals, by condition; None where there is none.
    - `unit`: of the weights.
    - `styles`: colours and markers.
    """
    drawn = {c: x for c, x in points.items() if styles.has(c) and x is not None}
    curves: dict[str, list[Condition]] = {}
    for condition in sorted(drawn):
        if not condition.has_weight:
            _draw_band(axes, drawn[condition], condition, styles)
        elif condition.unit == unit:
            curves.setdefault(condition.curve, []).append(condition)
    weights = {c: c.weight or 0.0 for several in curves.values() for c in several}
    is_log = all(weight > 0 for weight in weights.values())
    for i, several in enumerate(curves.values()):
        # Side by side, so that the intervals of one weight do not hide each other.
        shift = 1.03 ** (i - (len(curves) - 1) / 2) if is_log else 1.0
        intervals = [drawn[c] for c in several]
        _draw_curve(axes, [weights[c] * shift for c in several], intervals, several[0], styles)
    scale_weights(axes, sorted(set(weights.values())))
    axes.set_xlabel(axis_name(unit))


def _draw_band(axes: Any, interval: Interval, condition: Condition, styles: Styles) -> None:
    color, label = styles.color(condition), condition.label
    axes.axhline(
        interval.value,
        color=color,
        linestyle=styles.dashes(condition),
        linewidth=1.4,
        label=label,
        zorder=1,
    )
    axes.axhspan(interval.low, interval.high, color=color, alpha=0.10, linewidth=0, zorder=0)


def _draw_curve(
    axes: Any, xs: Sequence[float], intervals: Sequence[Any], condition: Condition, styles: Styles
) -> None:
    color, label, dashes = styles.color(condition), condition.curve, styles.dashes(condition)
    values = [x.value for x in intervals]
    if len(xs) > _MAX_CAPS:
        axes.plot(xs, values, color=color, linestyle=dashes, linewidth=1.6, label=label)
        low, high = [x.low for x in intervals], [x.high for x in intervals]
        axes.fill_between(xs, low, high, color=color, alpha=0.12, linewidth=0)
        return
    axes.errorbar(
        xs,
        values,
        errors_of(intervals),
        color=color,
        marker=styles.marker(condition),
        markerfacecolor=color if styles.is_filled(condition) else "white",
        markersize=5,
        capsize=3,
        linestyle=dashes,
        linewidth=1.6,
        elinewidth=1.1,
        label=label,
    )
