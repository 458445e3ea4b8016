"""The pictures of several tasks, and of what was chosen."""

from collections.abc import Sequence
from typing import Any

from .._results.compare import Comparison
from .._results.conditions import axis_name, units_of
from .._results.tables import number, thinned
from ..plot import (
    add_legend,
    add_title,
    draw_curves,
    episodes_each,
    errors_of,
    finish_axes,
    new_figure,
    scale_weights,
    Styles,
    WIDTH,
)
from ._compared import Compared
from ._over_tasks import Tasks
from ._picture import Picture
from ._read import TunedFolder

MAX_TASKS = 20
MAX_ROWS = 24


def short(task: str) -> str:
    """The task's name without what all of OGBench's have in common."""
    return task.replace("-singletask", "").removesuffix("-v0") or "a task without a name"


def draw_tasks(
    name: str, title: str, compared: Sequence[Compared], unit: str, styles: Styles
) -> Picture | None:
    """Success against the weights of one unit, a panel for each task; None without weights."""
    weighted = [
        each
        for each in compared
        if any(r.success and r.condition.has_weight and r.condition.unit == unit for r in each.rows)
    ]
    drawn = weighted[:MAX_TASKS]
    if len(drawn) < 2:
        return None
    columns = 2
    lines = -(-len(drawn) // columns)
    figure = new_figure(WIDTH, 1.0 + 1.8 * lines)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    points = [{r.condition: r.success for r in each.rows if _belongs(r, unit)} for each in drawn]
    weights = sorted({c.weight for rates in points for c in rates if c.weight is not None})
    for axes, each, rates in zip(panels.flat, drawn, points, strict=False):
        draw_curves(axes, rates, unit, styles)
        if unit != "raw":
            # These travel: one axis for all tasks.
            scale_weights(axes, weights, room=0.15)
        finish_axes(axes, is_rate=True)
        axes.set_xlabel("")
        axes.set_title(short(each.group.task), fontsize=9)
        axes.tick_params(labelsize=8)
    for axes in panels.flat[len(drawn) :]:
        axes.remove()
    figure.supylabel("success rate", fontsize=10)
    add_legend(figure, panels.flat)
    counts = episodes_each(rate.count for rates in points for rate in rates.values() if rate)
    # The name of the weights is too long for an axis of a half of the width.
    add_title(figure, f"{title}: {axis_name(unit)}", f"{counts}, 95% Wilson intervals")
    left_out = styles.left_out(c for rates in points for c in rates)
    if len(drawn) < len(weighted):
        left_out = f"{len(drawn)} of {len(weighted)} tasks are shown. {left_out}".strip()
    caption = f"Success on each task against the {axis_name(unit)}: {title}."
    return Picture(name, figure, caption, left_out)


def _belongs(row: Comparison, unit: str) -> bool:
    return row.condition.unit == unit or not row.condition.has_weight


def draw_iqm(name: str, title: str, tasks: Tasks, styles: Styles) -> Picture | None:
    """The interquartile means over tasks: against weights, or of tuned methods in a list."""
    if not tasks.overall:
        return None
    counts = episodes_each((row.iqm.count for row in tasks.overall), "runs")
    below = f"{counts}, 95% stratified bootstrap intervals"
    caption = f"Interquartile mean of success: {title}."
    means = {row.condition: row.iqm for row in tasks.overall}
    if tasks.kind == "test" or not any(condition.has_weight for condition in means):
        return _draw_list(
            name,
            title,
            below,
            caption,
            [(row.name, [(row.iqm, "interquartile mean")]) for row in tasks.overall],
            "interquartile mean of success",
        )
    units = units_of(means) or ["raw"]
    figure = new_figure(WIDTH, 1.0 + 2.7 * len(units))
    panels = figure.subplots(len(units), 1, squeeze=False)[:, 0]
    for axes, unit in zip(panels, units, strict=True):
        draw_curves(axes, means, unit, styles)
        finish_axes(axes, is_rate=True)
        axes.set_ylabel("interquartile mean")
    add_legend(figure, panels)
    add_title(figure, title, below)
    return Picture(name, figure, caption, styles.left_out(means))


def draw_conditions(name: str, title: str, rows: Sequence[Comparison]) -> Picture | None:
    """Success of conditions in a list, where none has a weight; None if it is not known."""
    with_success = [row for row in rows if row.success]
    if not with_success:
        return None
    counts = episodes_each(row.success.count for row in with_success if row.success)
    lines: list[tuple[str, list]] = [
        (str(row.condition), [(row.success, "success")]) for row in with_success
    ]
    below = f"{counts}, 95% Wilson intervals"
    return _draw_list(name, title, below, f"Success: {title}.", lines, "success rate")


def draw_tuned(
    name: str,
    title: str,
    tuned: TunedFolder,
    validation: Sequence[Comparison],
    test: Sequence[Comparison],
) -> Picture | None:
    """Success on the episodes that chose the weights, and on those that did not."""
    before = {row.condition: row.success for row in validation}
    rows = [
        (str(row.condition), [(before.get(row.condition), "validation"), (row.success, "test")])
        for row in test
        if row.success and (row.condition in tuned.chosen or not row.condition.has_weight)
    ]
    if not rows:
        return None
    counts = {
        kind: episodes_each((f.count for _, several in rows for f, k in several if f and k == kind))
        for kind in ("validation", "test")
    }
    below = f"validation: {counts['validation']}; test: {counts['test']}; 95% Wilson intervals"
    caption = "Success on validation episodes, which chose the weights, and on test episodes."
    return _draw_list(name, title, below, caption, rows, "success rate")


def _draw_list(
    name: str, title: str, below: str, caption: str, rows: Sequence[tuple[str, list]], label: str
) -> Picture:
    """Names with their numbers and intervals, one a line."""
    drawn = thinned(rows, MAX_ROWS)
    figure = new_figure(WIDTH, 1.5 + 0.32 * len(drawn))
    axes = figure.subplots()
    # By its place: the last number of each line is the filled one.
    for y, (_, several) in enumerate(drawn):
        for i, (estimate, kind) in enumerate(several):
            if estimate is not None:
                is_last = i == len(several) - 1
                shift = 0.16 * (2 * i - len(several) + 1)
                _draw_point(axes, y + shift, estimate, kind, is_last)
    axes.set_yticks(range(len(drawn)), [called for called, _ in drawn], fontsize=8)
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.set_xlim(-0.05, 1.05)
    finish_axes(axes, is_rate=False)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(label)
    if max(len(several) for _, several in drawn) > 1:
        add_legend(figure, [axes])
    add_title(figure, title, below)
    left_out = ""
    if len(drawn) < len(rows):
        left_out = f"{len(drawn)} of {number(len(rows))} conditions are shown."
    return Picture(name, figure, caption, left_out)


def _draw_point(axes: Any, y: float, estimate: Any, kind: str, is_filled: bool) -> None:
    color = "#0072B2" if is_filled else "#E69F00"
    axes.errorbar(
        [estimate.value],
        [y],
        xerr=errors_of([estimate]),
        color=color,
        marker="o" if is_filled else "s",
        markerfacecolor=color if is_filled else "white",
        markersize=5.5,
        capsize=3,
        linewidth=1.3,
        label=kind,
    )
