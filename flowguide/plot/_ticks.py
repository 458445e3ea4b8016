"""Axes of weights."""

import math
from collections.abc import Sequence
from typing import Any

# More weights than this are no handful that someone chose: powers of ten are easier to read.
_MAX_TICKS = 12


def scale_weights(axes: Any, weights: Sequence[float], room: float = 0.09) -> None:
    """A logarithmic axis with ticks at the weights themselves.

    **Arguments:**

    - `axes`: matplotlib's.
    - `weights`: rising. A weight of 0 or below makes the axis symmetric.
    - `room`: the share of the axis that a label takes: smaller weights go first.
    """
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
