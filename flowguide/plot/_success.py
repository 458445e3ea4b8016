import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._results.conditions import units_of
from .._results.episodes import Episode, read_episodes
from .._results.statistics import Success, summarise
from ._curves import draw_curves
from ._figures import add_legend, add_title, episodes_each, finish_axes, new_figure
from ._styles import Styles

# Grey first: it is what the others are compared with. Then Okabe and Ito's.
_ALONG = [("0.45", "x"), ("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D")]
_ALONG_DASHES = ["-", "--", ":"]


def plot_success(episodes: Sequence[Episode], file: str | os.PathLike, title: str) -> None:
    """Draws success against guidance weight, with 95% Wilson intervals, as a PNG.

    Conditions without a weight (unguided, best of n) are horizontal lines with their interval.
    Weights of several units are side by side.

    **Arguments:**

    - `episodes`: of any number of conditions.
    - `file`: where the picture goes.
    - `title`: above it, such as the task.
    """
    rates = summarise(episodes)
    units = units_of(rates) or ["raw"]
    figure = new_figure(2.4 + 4.8 * len(units), 4.4)
    panels = figure.subplots(1, len(units), sharey=True, squeeze=False)[0]
    styles = Styles(rates)
    for axes, unit in zip(panels, units, strict=True):
        draw_curves(axes, rates, unit, styles)
        finish_axes(axes, is_rate=True)
    panels[0].set_ylabel("success rate")
    add_legend(figure, panels)
    counts = episodes_each(rate.count for rate in rates.values())
    add_title(figure, title, f"{counts}, 95% Wilson intervals")
    figure.savefig(file)


def plot_along_training(folder: str | os.PathLike, file: str | os.PathLike, title: str) -> None:
    """Draws success against updates, with 95% Wilson intervals, as a PNG.

    **Arguments:**

    - `folder`: with files `*_update_N.jsonl` of episodes, as `flowguide train --evaluate-every`
        leaves them; episodes of several training seeds are pooled.
    - `file`: where the picture goes.
    - `title`: above it, such as the task.
    """
    figure = new_figure(7.2, 4.4)
    axes = figure.subplots()
    counts = draw_along_training(axes, folder)
    finish_axes(axes, is_rate=True)
    axes.set_xlabel("updates")
    axes.set_ylabel("success rate")
    add_legend(figure, [axes])
    add_title(figure, title, f"{counts}, 95% Wilson intervals")
    figure.savefig(file)


def draw_along_training(axes: Any, folder: str | os.PathLike) -> str:
    """Draws success against updates, with 95% Wilson intervals.

    **Arguments:**

    - `axes`: matplotlib's.
    - `folder`: as in `plot_along_training`.

    **Returns:**

    How many episodes each number is made of, in words.
    """
    episodes: dict[int, list[Episode]] = {}
    for each in sorted(Path(folder).glob("*_update_*.jsonl")):
        step = int(each.stem.rpartition("_")[2])
        episodes.setdefault(step, []).extend(read_episodes(each))
    curves: dict[str, list[tuple[int, Success]]] = {}
    for step, played in sorted(episodes.items()):
        for condition, rate in summarise(played).items():
            curves.setdefault(str(condition), []).append((step, rate))
    for i, (name, points) in enumerate(curves.items()):
        color, marker = _ALONG[i % len(_ALONG)]
        # A second round of the colours has other dashes.
        dashes = _ALONG_DASHES[i // len(_ALONG) % len(_ALONG_DASHES)]
        steps = [step for step, _ in points]
        values = [r.rate for _, r in points]
        axes.plot(steps, values, color=color, marker=marker, linestyle=dashes, label=name)
        low, high = [r.low for _, r in points], [r.high for _, r in points]
        axes.fill_between(steps, low, high, color=color, alpha=0.12, linewidth=0)
    return episodes_each(rate.count for points in curves.values() for _, rate in points)
