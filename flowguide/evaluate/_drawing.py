"""What all pictures share: figures, colours, curves with their intervals, ticks of weights."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ._conditions import axis_name, Condition, method_of, UNGUIDED
from ._statistics import Estimate, Success

# Okabe and Ito's colours, which colour-blind readers can tell apart; a marker goes with each. A
# method has the same in every picture.
METHOD_STYLES = {
    "qgf": ("#0072B2", "o"),
    "ood": ("#D55E00", "s"),
    "qgf_jacobian": ("#009E73", "^"),
    "ode": ("#CC79A7", "D"),
    "bptt": ("#E69F00", "v"),
    "robust_q": ("#56B4E9", "P"),
    # There are no more of theirs.
    "posterior": ("#004D40", "p"),
    "qgf_regularised": ("#9B870C", "d"),
    "qgf_orthogonal": ("#882255", "h"),
    "cfg": ("#A50026", ">"),
}
# Of methods that are not among them, in turn.
OTHER_STYLES = [
    *(("#000000", "x"), ("#8C5A2B", "*"), ("#5A3E8C", "H"), ("#7F7F7F", "<")),
    *(("#332288", "X"), ("#999933", "8")),
]
# Of a method with the best of 1, and of the first two other numbers.
_DASHES = ["-", "--", ":"]
_GREY = "0.45"
# Of conditions without a weight, in turn. Bands have no markers.
_BANDS = [
    *(("#000000", ":"), ("#8C5A2B", "-."), ("#5A3E8C", (0, (1, 1)))),
    *(("#00695C", (0, (5, 1))), ("#A63D57", (0, (3, 1, 1, 1)))),
]
MAX_CURVES = 10
# More points than this are a line with a shaded interval: caps would cover each other.
_MAX_CAPS = 25
# More weights than this are no handful that someone chose: powers of ten are easier to read.
_MAX_TICKS = 12


Interval: TypeAlias = Success | Estimate
Points: TypeAlias = Mapping[Condition, Interval | None]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure, what it shows, and what it does not.

    **Attributes:**

    - `name`: of the file, without its ending.
    - `figure`: matplotlib's.
    - `caption`: what is to be seen.
    - `left_out`: what there was no room for; empty if nothing.
    """

    name: str
    figure: Any
    caption: str
    left_out: str = ""


def new_figure(width: float, height: float) -> Any:
    # Not pyplot: a library must not touch the caller's figures or backend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


class Styles:
    """A colour, a marker and dashes for each curve, the same in every picture of a report.

    A method of flowguide has its own colour everywhere; others are coloured in turn.

    **Arguments:**

    - `conditions`: all that may be drawn. There is room for `MAX_CURVES` curves, with three numbers
        of actions to choose from, and for five conditions without a weight besides the unguided
        one; the others are left out.
    """

    def __init__(self, conditions: Iterable[Condition]):
        weighted: dict[str, tuple[str, int]] = {}
        plain: dict[str, None] = {}
        for condition in sorted(conditions):
            if condition.has_weight:
                weighted.setdefault(condition.curve, method_of(condition.curve))
            elif condition.label != UNGUIDED:
                plain.setdefault(condition.label)
        numbers = sorted({n for _, n in weighted.values()} | {1})
        dashes = dict(zip(numbers, _DASHES, strict=False))
        order = [*METHOD_STYLES]
        curves = sorted(
            ((n, method, curve) for curve, (method, n) in weighted.items() if n in dashes),
            key=lambda c: (c[0], order.index(c[1]) if c[1] in order else len(order)),
        )
        self._curves = {curve: dashes[n] for n, _, curve in curves[:MAX_CURVES]}
        others = {method: None for _, method, _ in curves if method not in METHOD_STYLES}
        self._methods = {**METHOD_STYLES, **dict(zip(others, itertools.cycle(OTHER_STYLES)))}
        self._bands = {UNGUIDED: (_GREY, "--"), **dict(zip(plain, _BANDS, strict=False))}

    def has(self, condition: Condition) -> bool:
        return condition.curve in (self._curves if condition.has_weight else self._bands)

    def color(self, condition: Condition) -> str:
        if condition.has_weight:
            return self._methods[method_of(condition.curve)[0]][0]
        return self._bands[condition.label][0]

    def marker(self, condition: Condition) -> str:
        return self._methods[method_of(condition.curve)[0]][1] if condition.has_weight else "X"

    def is_filled(self, condition: Condition) -> bool:
        """Whether markers are: those of a method with the best of several are not."""
        return method_of(condition.curve)[1] == 1

    def dashes(self, condition: Condition) -> Any:
        if condition.has_weight:
            return self._curves[condition.curve]
        return self._bands[condition.label][1]

    def left_out(self, conditions: Iterable[Condition]) -> str:
        """A sentence about those of them that have no style."""
        names = sorted({c.curve for c in conditions if not self.has(c)})
        return f"No room for {', '.join(names)}." if names else ""


def draw_curves(axes: Any, points: Points, unit: str, styles: Styles) -> None:
    """Draws numbers against the weights of one unit, with intervals, on a logarithmic axis.

    Conditions without a weight are horizontal lines with their interval as a band; conditions with
    weights of other units are ignored.
    """
    shown = {c: x for c, x in points.items() if styles.has(c) and x is not None}
    curves: dict[str, list[Condition]] = {}
    for condition in sorted(shown):
        if not condition.has_weight:
            _draw_band(axes, shown[condition], condition, styles)
        elif condition.unit == unit:
            curves.setdefault(condition.curve, []).append(condition)
    weights = {c: c.weight or 0.0 for several in curves.values() for c in several}
    is_log = all(weight > 0 for weight in weights.values())
    for i, several in enumerate(curves.values()):
        # Side by side, so that the intervals of one weight do not hide each other.
        shift = 1.03 ** (i - (len(curves) - 1) / 2) if is_log else 1.0
        found = [shown[c] for c in several]
        _draw_curve(axes, [weights[c] * shift for c in several], found, several[0], styles)
    scale_weights(axes, sorted(set(weights.values())))
    axes.set_xlabel(axis_name(unit))


def _draw_band(axes: Any, found: Interval, condition: Condition, styles: Styles) -> None:
    color, label = styles.color(condition), condition.label
    axes.axhline(
        found.value,
        color=color,
        linestyle=styles.dashes(condition),
        linewidth=1.4,
        label=label,
        zorder=1,
    )
    axes.axhspan(found.low, found.high, color=color, alpha=0.10, linewidth=0, zorder=0)


def _draw_curve(
    axes: Any, xs: Sequence[float], found: Sequence[Any], condition: Condition, styles: Styles
) -> None:
    color, label, dashes = styles.color(condition), condition.curve, styles.dashes(condition)
    values = [x.value for x in found]
    if len(xs) > _MAX_CAPS:
        axes.plot(xs, values, color=color, linestyle=dashes, linewidth=1.6, label=label)
        low, high = [x.low for x in found], [x.high for x in found]
        axes.fill_between(xs, low, high, color=color, alpha=0.12, linewidth=0)
        return
    axes.errorbar(
        xs,
        values,
        errors_of(found),
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


def errors_of(found: Sequence[Interval]) -> list[list[float]]:
    """The lengths of intervals below and above their numbers, as matplotlib takes them."""
    return [
        [max(x.value - x.low, 0.0) for x in found],
        [max(x.high - x.value, 0.0) for x in found],
    ]


def scale_weights(axes: Any, weights: Sequence[float], room: float = 0.09) -> None:
    """A logarithmic axis with ticks at the weights themselves; `room` is as in `spread_ticks`."""
    if not weights:
        axes.set_xticks([])
        return
    if weights[0] <= 0:
        threshold = min((abs(w) for w in weights if w), default=1.0)
        axes.set_xscale("symlog", linthresh=threshold)
        return
    axes.set_xscale("log")
    low, high = weights[0] / 1.4, weights[-1] * 1.4
    axes.set_xlim(low, high)
    if len(weights) > _MAX_TICKS:
        return
    ticks = spread_ticks(weights, math.log(high / low), room)
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axes.minorticks_off()


def spread_ticks(weights: Sequence[float], length: float, room: float) -> list[float]:
    """The weights without those whose label would lie on that of a smaller one.

    **Arguments:**

    - `weights`: rising and positive.
    - `length`: of the axis, in natural logarithms.
    - `room`: the share of it that a label takes.
    """
    ticks: list[float] = []
    for weight in weights:
        if not ticks or math.log(weight / ticks[-1]) >= room * length:
            ticks.append(weight)
    return ticks


def finish_axes(axes: Any, *, is_rate: bool) -> None:
    """Grid, frame, and the same range for all rates."""
    if is_rate:
        axes.set_ylim(-0.05, 1.05)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def add_title(figure: Any, title: str, below: str) -> None:
    """What is shown, and below it counts and kinds of intervals."""
    figure.suptitle(f"{title}\n{below}", fontsize=10, x=0.01, ha="left")


def add_legend(figure: Any, panels: Iterable[Any]) -> None:
    """One legend for all panels, to the right of them."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            found.values(), found.keys(), loc="outside right center", fontsize=8, frameon=False
        )


def episodes_each(counts: Iterable[int], things: str = "episodes") -> str:
    """Such as `50 episodes each`, or `8 to 50 episodes each`."""
    found = sorted(set(counts))
    if not found:
        return f"no {things}"
    number = f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"
    return f"{number} {things} each"
