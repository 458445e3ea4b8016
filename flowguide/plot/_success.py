import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._results.episodes import Episode, read_episodes
from .._results.statistics import Success, summarise
from ._curves import curve_panels
from ._figures import (
    add_legend,
    add_title,
    episodes_each,
    finish_axes,
    new_figure,
    WIDTH,
)
from ._save import save_picture
from ._styles import Styles

# Grey first: it is what the others are compared with. Then Okabe and Ito's.
_ALONG = [("0.45", "x"), ("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D")]
_ALONG_DASHES = ["-", "--", ":"]


def plot_success(episodes: Sequence[Episode], file: str | os.PathLike, title: str) -> None:
    """Draws success against guidance weight, with 95% Wilson intervals.

    Conditions without a weight (unguided, best of n) are horizontal lines with their interval.
    Weights of several units have panels of their own, and so has each of more than five curves.

    **Arguments:**

    - `episodes`: of any number of conditions.
    - `file`: where the picture goes, as of `save_picture`.
    - `title`: above it, such as the task.
    """
    rates = summarise(episodes)
    styles = Styles(rates)
    figure, panels = curve_panels(rates, styles, "success rate")
    for axes in panels:
        finish_axes(axes, is_rate=True)
    add_legend(figure, panels)
    counts = episodes_each(rate.count for rate in rates.values())
    add_title(figure, title, f"{counts}, 95% Wilson intervals")
    save_picture(figure, file)


def plot_along_training(folder: str | os.PathLike, file: str | os.PathLike, title: str) -> None:
    """Draws success against updates, with 95% Wilson intervals.

    **Arguments:**

    - `folder`: with files `*_update_N.jsonl` of episodes, as `flowguide train --evaluate-every`
        leaves them; episodes of several training seeds are pooled.
    - `file`: where the picture goes, as of `save_picture`.
    - `title`: above it, such as the task.
    """
    figure = new_figure(WIDTH, 3.4)
    axes = figure.subplots()
    counts = draw_along_training(axes, folder)
    finish_axes(axes, is_rate=True)
    axes.set_xlabel("updates")
    axes.set_ylabel("success rate")
    add_legend(figure, [axes])
    add_title(figure, title, f"{counts}, 95% Wilson intervals")
    save_picture(figure, file)


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
