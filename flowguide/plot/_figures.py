"""What all pictures share: figures, panels, axes, titles, legends."""

import functools
import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from .._results.statistics import Estimate, Success

WIDTH = 5.2
"""Of a picture, in inches. As wide as a page's column, a text of 8 points is as large as the
page's, and a phone shows the picture whole, with text that can be read."""

# Of what is not a title: no text is smaller.
SMALL = 8
# Characters in an inch of a title and of a legend; what the line and the gaps of an entry of a
# legend take; inches of one of its lines.
_CHARACTERS = 13
_ROOM = 16
_HANDLE = 8
_LINE = 0.18
_BESIDE = 0.6

Interval: TypeAlias = Success | Estimate


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure that is no part of pyplot.

    **Arguments:**

    - `width`, `height`: in inches.
    """
    return _figure_class()(figsize=(width, height), dpi=150, layout="constrained")


def new_panels(
    count: int, *, columns: int = 2, height: float = 2.0, **shared: Any
) -> tuple[Any, list[Any]]:
    """A figure as wide as a page, with a panel for each of several things.

    **Arguments:**

    - `count`: of panels.
    - `columns`: how many of them are side by side at most; more than two cannot be read on a phone
        but where they have few words.
    - `height`: of a panel, in inches.
    - `shared`: `sharex` and `sharey`, as of matplotlib's `subplots`.

    **Returns:**

    The figure, and the axes in reading order.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(WIDTH, 0.6 + height * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def name_outer(panels: Sequence[Any], *, sharex: bool = True) -> None:
    """Leaves names and ticks of shared axes to the panels at the left and at the bottom.

    **Arguments:**

    - `panels`: of `new_panels`, which share their vertical axis.
    - `sharex`: whether they share the other one too.
    """
    lowest = {axes.get_subplotspec().colspan.start: axes for axes in panels}
    for axes in panels:
        column = axes.get_subplotspec().colspan.start
        if column:
            axes.set_ylabel("")
            axes.tick_params(labelleft=False)
        if sharex:
            axes.tick_params(labelbottom=axes is lowest[column])
            if axes is not lowest[column]:
                axes.set_xlabel("")


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
    axes.tick_params(labelsize=SMALL)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(9)
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


def add_legend(figure: Any, panels: Iterable[Any], *, each: bool = False) -> None:
    """One legend for all panels, below them. The figure grows by it: the panels keep their size.

    A curve that is the title of its panel needs no entry.

    **Arguments:**

    - `figure`: matplotlib's.
    - `panels`: its axes.
    - `each`: whether each panel has one of its own instead, above it, since its curves are others.
    """
    panels = list(panels)
    if each:
        for axes in panels:
            _grow(figure, axes, _handles([axes]), {"loc": "lower left", "bbox_to_anchor": (0, 1)})
    else:
        _grow(figure, figure, _handles(panels), {"loc": "outside lower left"})


def _handles(panels: Iterable[Any]) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label != axes.get_title():
                handles.setdefault(label, handle)
    return handles


def _grow(figure: Any, of: Any, handles: dict[str, Any], place: dict[str, Any]) -> None:
    if not handles:
        return
    # As many side by side as have room.
    longest = max(map(len, handles))
    width, height = figure.get_size_inches()
    # Above a panel, its ticks and their name are beside it.
    room = width if of is figure else width - _BESIDE
    columns = min(max(int(room * _ROOM / (longest + _HANDLE)), 1), len(handles))
    figure.set_figheight(height + _LINE * -(-len(handles) // columns))
    look = {"fontsize": SMALL, "frameon": False, "borderpad": 0.2, "ncols": columns}
    of.legend(handles.values(), handles.keys(), **look, **place)


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
