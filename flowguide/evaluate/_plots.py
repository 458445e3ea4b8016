import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._conditions import UNGUIDED
from ._episodes import Episode, read_episodes
from ._statistics import Success, summarise

# Okabe and Ito's colours, which colour-blind readers can tell apart; a marker goes with each.
_STYLES = [("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v")]


def plot_success(episodes: Sequence[Episode], file: str | os.PathLike, title: str) -> None:
    """Draws success against guidance weight, with 95% Wilson intervals, as a PNG.

    Conditions without a weight (unguided, best of n) are horizontal lines with their interval.

    **Arguments:**

    - `episodes`: of any number of conditions.
    - `file`: where the picture goes.
    - `title`: above it, such as the task.
    """
    found = summarise(episodes)
    figure, axes = _figure()
    curves: dict[str, list[tuple[float, Success]]] = {}
    for condition, rate in found.items():
        curves.setdefault(condition.label, []).append((condition.weight, rate))
    styles = iter(_STYLES)
    num_curves = sum(points[0][0] != 0 for points in curves.values())
    # Side by side, so that the intervals of one weight do not hide each other.
    shifts = iter(1.03 ** (i - (num_curves - 1) / 2) for i in range(num_curves))
    for label, points in curves.items():
        without_weight = points[0][0] == 0
        color, marker = ("0.45", "") if label == UNGUIDED else next(styles, ("black", "x"))
        if without_weight:
            rate = points[0][1]
            axes.axhline(rate.rate, color=color, linestyle="--", linewidth=1.4, label=label)
            axes.axhspan(rate.low, rate.high, color=color, alpha=0.10, linewidth=0)
            continue
        shift = next(shifts)
        weights = [weight * shift for weight, _ in points]
        rates = [rate.rate for _, rate in points]
        errors = [[r.rate - r.low for _, r in points], [r.high - r.rate for _, r in points]]
        axes.errorbar(
            weights,
            rates,
            errors,
            color=color,
            marker=marker,
            capsize=3,
            linewidth=1.6,
            label=label,
        )
    if num_curves:
        axes.set_xscale("log")
        ticks = sorted({condition.weight for condition in found if condition.weight})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    counts = {rate.count for rate in found.values()}
    _finish(figure, axes, title, counts, "guidance weight", file)


def plot_along_training(folder: str | os.PathLike, file: str | os.PathLike, title: str) -> None:
    """Draws success against updates, with 95% Wilson intervals, as a PNG.

    **Arguments:**

    - `folder`: with files `*_update_N.jsonl` of episodes, as `flowguide train --evaluate-every`
        leaves them; episodes of several training seeds are pooled.
    - `file`: where the picture goes.
    - `title`: above it, such as the task.
    """
    episodes: dict[int, list[Episode]] = {}
    for each in sorted(Path(folder).glob("*_update_*.jsonl")):
        step = int(each.stem.rpartition("_")[2])
        episodes.setdefault(step, []).extend(read_episodes(each))
    figure, axes = _figure()
    curves: dict[str, list[tuple[int, Success]]] = {}
    for step, played in sorted(episodes.items()):
        for condition, rate in summarise(played).items():
            curves.setdefault(str(condition), []).append((step, rate))
    styles = [("0.45", "x"), *_STYLES]
    for (name, points), (color, marker) in zip(curves.items(), itertools.cycle(styles)):
        steps = [step for step, _ in points]
        axes.plot(steps, [r.rate for _, r in points], color=color, marker=marker, label=name)
        low, high = [r.low for _, r in points], [r.high for _, r in points]
        axes.fill_between(steps, low, high, color=color, alpha=0.12, linewidth=0)
    counts = {rate.count for points in curves.values() for _, rate in points}
    _finish(figure, axes, title, counts, "updates", file)


def _figure() -> tuple[Any, Any]:
    # Not pyplot: a library must not touch the caller's figures or backend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _finish(
    figure: Any, axes: Any, title: str, counts: set[int], label: str, file: str | os.PathLike
) -> None:
    """What the pictures of success have in common: title with the count, axes, legend."""
    count = sorted(counts)
    episodes_each = f"{count[0]}" if len(count) == 1 else f"{count[0]} to {count[-1]}"
    axes.set_title(f"{title}\n{episodes_each} episodes each, 95% Wilson intervals", fontsize=10)
    axes.set_xlabel(label)
    axes.set_ylabel("success rate")
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(file)
