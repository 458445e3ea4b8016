"""Success against what an action costs."""

from collections.abc import Sequence
from typing import Any

from .._results.compare import Comparison
from ._figures import errors_of
from ._styles import Styles
from ._ticks import scale_weights

# Between two curves of one cost, which would hide each other.
APART = 1.05
# Of curves that have one colour and one marker, as two units or numbers of actions of a method do.
_FILLS = ["full", "none", "left", "right", "top", "bottom"]


def draw_compute(axes: Any, rows: Sequence[Comparison], styles: Styles) -> list[Comparison]:
    """Draws success rates against costs, in forward passes of one network.

    All weights of a curve cost the same. The one with the highest success has its interval, and its
    name and cost are in the legend: it was chosen in these very episodes, so its success is
    optimistic. The others are small dots.

    **Arguments:**

    - `axes`: matplotlib's.
    - `rows`: of `flowguide.results.compare`; those without a success rate, a known cost or a style
        are left out.
    - `styles`: colours and markers.

    **Returns:**

    The rows that were drawn.
    """
    curves: dict[str, list[Comparison]] = {}
    for row in rows:
        if row.success and row.cost is not None and styles.has(row.condition):
            curves.setdefault(row.condition.series, []).append(row)
    chosen = [max(several, key=_rate) for several in curves.values()]
    chosen.sort(key=_spent)
    alike: dict[tuple[str, str], int] = {}
    fills: dict[str, str] = {}
    for best in sorted(chosen, key=lambda row: row.condition):
        look = styles.color(best.condition), styles.marker(best.condition)
        alike[look] = alike.get(look, -1) + 1
        fills[best.condition.series] = _FILLS[alike[look] % len(_FILLS)]
    beside: dict[int, list[Comparison]] = {}
    for best in chosen:
        beside.setdefault(_spent(best), []).append(best)
    for spent, several in beside.items():
        for i, best in enumerate(several):
            place = spent * APART ** (i - (len(several) - 1) / 2)
            series = best.condition.series
            _draw(axes, place, best, curves[series], styles, fills[series])
    scale_weights(axes, sorted(beside))
    return [row for several in curves.values() for row in several]


def _rate(row: Comparison) -> float:
    assert row.success is not None
    return row.success.rate


def _spent(row: Comparison) -> int:
    assert row.cost is not None
    return row.cost.forwards()


def _draw(
    axes: Any,
    place: float,
    best: Comparison,
    several: Sequence[Comparison],
    styles: Styles,
    fill: str,
) -> None:
    condition, rate = best.condition, best.success
    color, marker = styles.color(condition), styles.marker(condition)
    others = [_rate(row) for row in several if row is not best]
    axes.plot([place] * len(others), others, linestyle="none", marker=".", color=color, alpha=0.6)
    axes.errorbar(
        [place],
        [_rate(best)],
        errors_of([rate] if rate else []),
        color=color,
        marker=marker,
        fillstyle=fill,
        markerfacecoloralt="white",
        markersize=6,
        linestyle="none",
        elinewidth=1.2,
        capsize=3,
        label=f"{condition}: {_spent(best)}",
    )
