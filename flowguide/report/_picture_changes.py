"""The pictures of one task. None shows a number without its interval and its count."""

import itertools
from collections.abc import Sequence
from typing import Any

from .._results.compare import Comparison
from .._results.conditions import axis_name, UNGUIDED
from .._results.tables import number, thinned
from ..plot import (
    add_legend,
    add_title,
    draw_curves,
    episodes_each,
    errors_of,
    finish_axes,
    new_figure,
    new_panels,
    split_curves,
    Styles,
    WIDTH,
)
from ._picture import Picture

MAX_BARS = 32
_GAINED, _LOST = "#0072B2", "#D55E00"


def draw_weights(
    name: str, title: str, rows: Sequence[Comparison], unit: str, styles: Styles
) -> Picture | None:
    """Success and return against the weights of one unit; None where neither has an interval."""
    of_unit = {
        r.condition: r for r in rows if r.condition.unit == unit or not r.condition.has_weight
    }
    has_success = any(row.success for row in of_unit.values())
    panels_of: list[tuple[str, dict[Any, Any]]] = []
    if has_success:
        panels_of.append(("success rate", {c: row.success for c, row in of_unit.items()}))
    # Of one episode there is no mean return: no panel, instead of an empty one.
    has_return = any(row.episode_return for row in of_unit.values())
    if has_return:
        panels_of.append(("mean return", {c: row.episode_return for c, row in of_unit.items()}))
    if not panels_of:
        return None
    groups = split_curves(of_unit, unit, styles)
    is_small = len(groups) > 1
    # Of many curves each has a row, with a column for each measure.
    columns, height = (len(panels_of), 1.1) if is_small else (1, 2.7)
    parts = list(itertools.product(groups.items(), panels_of))
    shared: dict[str, Any] = {"sharex": True, "sharey": "col" if is_small else False}
    figure, panels = new_panels(len(parts), columns=columns, height=height, **shared)
    for axes, ((group, shown), (label, points)) in zip(panels, parts, strict=True):
        draw_curves(axes, {c: points[c] for c in shown}, unit, styles)
        finish_axes(axes, is_rate=label == "success rate")
        axes.set_ylabel(label)
        if is_small:
            axes.set_title(group, fontsize=9)
            # The name of the axis is too long for half of the width.
            axes.set_xlabel("weight" if unit == "raw" else unit)
    for axes in panels[:-columns]:
        axes.set_xlabel("")
    add_legend(figure, panels)
    shown = {"Wilson (success)": has_success, "bootstrap (return)": has_return}
    intervals = ", ".join(name for name, is_shown in shown.items() if is_shown)
    counts = episodes_each(row.episodes for row in of_unit.values() if row.episodes)
    add_title(figure, title, f"{counts}; 95% intervals: {intervals}")
    parts = {"success": has_success, "return": has_return}
    shown_as = " and ".join(name for name, is_shown in parts.items() if is_shown).capitalize()
    caption = f"{shown_as} against the {axis_name(unit)}: {title}."
    return Picture(name, figure, caption, styles.left_out(of_unit))


def draw_changes(
    name: str, title: str, rows: Sequence[Comparison], baseline: str = UNGUIDED
) -> Picture | None:
    """Episodes gained and lost against the baseline, as shares of the pairs."""
    changed = [row for row in rows if row.difference is not None and row.gained is not None]
    if not changed:
        return None
    drawn: list[Any] = _few(changed)
    figure = new_figure(WIDTH, 1.5 + 0.3 * len(drawn))
    axes = figure.subplots()
    for y, row in enumerate(drawn):
        _draw_change(axes, y, row)
    axes.set_yticks(range(len(drawn)), [str(row.condition) for row in drawn], fontsize=8)
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    low = min(min(row.difference.low, -(row.lost or 0) / row.pairs) for row in drawn)
    high = max(max(row.difference.high, (row.gained or 0) / row.pairs) for row in drawn)
    axes.set_xlim(1.05 * min(low, -0.05), 1.05 * max(high, 0.05))
    axes.locator_params(axis="x", nbins=5)
    axes.axvline(0, color="0.2", linewidth=0.8)
    finish_axes(axes, is_rate=False)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("share of the pairs: lost to the left, gained to the right")
    counts = episodes_each((row.pairs for row in drawn), "pairs")
    below = f"{counts}; diamond: difference to {baseline} with its 95% bootstrap interval"
    add_title(figure, title, below)
    left_out = ""
    if len(drawn) < len(changed):
        left_out = f"{len(drawn)} of {number(len(changed))} conditions are shown."
    return Picture(name, figure, f"Episodes gained and lost against {baseline}: {title}.", left_out)


def _draw_change(axes: Any, y: int, row: Comparison) -> None:
    gained, lost = row.gained or 0, row.lost or 0
    axes.barh(y, gained / row.pairs, color=_GAINED, alpha=0.4, height=0.7, linewidth=0)
    axes.barh(y, -lost / row.pairs, color=_LOST, alpha=0.4, height=0.7, linewidth=0)
    difference: Any = row.difference
    axes.errorbar(
        [difference.value],
        [y],
        xerr=errors_of([difference]),
        color="black",
        marker="D",
        markersize=4,
        capsize=3,
        linewidth=1.2,
    )
    beside = {"fontsize": 7.5, "va": "center", "family": "monospace"}
    text = f"+{gained:<4}-{lost:<4}of {row.pairs}"
    axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), **beside)


def _few(rows: Sequence[Comparison]) -> list[Comparison]:
    """As many as there is room for, some weights of each curve."""
    curves: dict[str, list[Comparison]] = {}
    for row in rows:
        curves.setdefault(row.condition.series, []).append(row)
    kept = list(curves.values())[:MAX_BARS]
    each = MAX_BARS
    while each > 1 and sum(min(len(several), each) for several in kept) > MAX_BARS:
        each -= 1
    return [row for several in kept for row in thinned(several, each)]
