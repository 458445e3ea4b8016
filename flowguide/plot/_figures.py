"""What all pictures share: figures, axes, titles, legends."""

import functools
import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from .._results.statistics import Estimate, Success

# Characters in an inch of a title and of a legend; what the line and the gaps of an entry of a
# legend take; inches of one of its lines.
_CHARACTERS = 13
_SMALL = 16
_HANDLE = 8
_LINE = 0.18

Interval: TypeAlias = Success | Estimate


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure that is no part of pyplot.

    **Arguments:**

    - `width`, `height`: in inches.
    """
    return _figure_class()(figsize=(width, height), dpi=150, layout="constrained")


@functools.cache
def _figure_class() -> Any:
    # Not pyplot: a library must not touch the caller's figures or backend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """A figure that notebooks show where it is the last thing of a cell."""

        def __init__(self, *arguments: Any, **options: Any):
            super().__init__(*arguments, **options)
            FigureCanvasAgg(self)

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    return ShownFigure


def finish_axes(axes: Any, *, is_rate: bool) -> None:
    """Grid and frame.

    **Arguments:**

    - `axes`: matplotlib's.
    - `is_rate`: whether they show rates, which all have the same range.
    """
    if is_rate:
        axes.set_ylim(-0.05, 1.05)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def add_title(figure: Any, title: str, below: str) -> None:
    """A title of two lines, or of more where the figure is narrow.

    **Arguments:**

    - `figure`: matplotlib's.
    - `title`: what the figure shows.
    - `below`: counts and kinds of intervals.
    """
    room = int(figure.get_size_inches()[0] * _CHARACTERS)
    lines = [line for text in (title, below) for line in textwrap.wrap(text, room)]
    figure.suptitle("\n".join(lines), fontsize=10, x=0.01, ha="left")


def add_legend(figure: Any, panels: Iterable[Any], *, below: bool = False) -> None:
    """One legend for all panels, to the right of them.

    **Arguments:**

    - `figure`: matplotlib's.
    - `panels`: its axes.
    - `below`: whether it stands below them instead, as in a picture for a phone. The figure grows
        by it.
    """
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if not handles:
        return
    place: dict[str, Any] = {"loc": "outside right center"}
    if below:
        # As many side by side as have room.
        longest = max(map(len, handles))
        width, height = figure.get_size_inches()
        columns = min(max(int(width * _SMALL / (longest + _HANDLE)), 1), len(handles))
        place = {"loc": "outside lower left", "ncols": columns}
        # The panels keep their size.
        figure.set_figheight(height + _LINE * -(-len(handles) // columns))
    figure.legend(handles.values(), handles.keys(), fontsize=8, frameon=False, **place)


def errors_of(found: Sequence[Interval]) -> list[list[float]]:
    """The lengths of intervals below and above their numbers, as matplotlib takes them.

    **Arguments:**

    - `found`: numbers with their intervals.
    """
    return [
        [max(x.value - x.low, 0.0) for x in found],
        [max(x.high - x.value, 0.0) for x in found],
    ]


def episodes_each(counts: Iterable[int], things: str = "episodes") -> str:
    """Such as `50 episodes each`, or `8 to 50 episodes each`.

    **Arguments:**

    - `counts`: of what is drawn.
    - `things`: what is counted.
    """
    different = sorted(set(counts))
    if not different:
        return f"no {things}"
    if different == [1]:
        return f"1 {things.removesuffix('s')} each"
    number = f"{different[0]}" if len(different) == 1 else f"{different[0]} to {different[-1]}"
    return f"{number} {things} each"
