"""What the commands show in a terminal."""

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from .._results.tables import Table
    from ..results import Condition, Success

_MARKS = {"": "", "better": "bold green", "worse": "bold red"}


def show_rates(console: "Console", rates: "dict[Condition, Success]") -> None:
    """Prints conditions with their success rates, one a row."""
    from .._results.conditions import weight_text

    rows = [
        (
            condition.curve,
            "-" if condition.weight is None else weight_text(condition.weight, condition.unit),
            str(rate.count),
            f"{rate.rate:.2f}",
            f"[{rate.low:.2f}, {rate.high:.2f}]",
        )
        for condition, rate in rates.items()
    ]
    names = ("condition", "weight", "episodes", "success", "95% interval")
    console.print(_laid_out(names, rows, [""] * len(rows), console.width))


def next_command(*words: "str | os.PathLike[str]") -> str:
    """The command that comes next, to be typed or copied."""
    return f"Next: {shlex.join(['flowguide', *map(str, words)])}"


def show_table(console: "Console", table: "Table", rows: int) -> None:
    """Prints a table of a report with its title and notes; of a long one some rows.

    **Arguments:**

    - `console`: where to. On a narrow one intervals are below their numbers, or a row is a list.
    - `table`: what.
    - `rows`: how many rows at most; they are spread over the table.
    """
    from rich.text import Text

    from .._results.tables import thinned

    console.print()
    console.print(Text(table.title, style="bold"))
    # The first row is what the others are compared with.
    first, *others = [*zip(table.rows, table.marks, strict=True)] or [None]
    listed = [first, *thinned(others, max(rows - 1, 0))] if first else []
    if listed:
        cells = [row for row, _ in listed]
        styles = [_MARKS[marked] for _, marked in listed]
        console.print(_laid_out(table.columns, cells, styles, console.width))
    if len(listed) < len(table.rows):
        console.print(f"{len(listed)} of {len(table.rows):,} rows; the page has all.")
    for note in table.notes:
        console.print(Text(note, style="dim"))


def _laid_out(
    names: "Sequence[str]", rows: "Sequence[Sequence[str]]", styles: "Sequence[str]", width: int
) -> "RenderableType":
    """A table, or where the width is too small for one a list: half a number is none."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head, *cells = _fitted([names, *rows], width)
    if _width([head, *cells]) > width:
        return Group(
            *(
                Text(
                    "\n".join(
                        [first, *(f"  {n}: {x}" for n, x in zip(names[1:], rest, strict=True))]
                    ),
                    style,
                )
                for (first, *rest), style in zip(rows, styles, strict=True)
            )
        )
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for i, name in enumerate(head):
        table.add_column(name, justify="right" if i else "left", overflow="fold")
    for row, style in zip(cells, styles, strict=True):
        # Not markup: an interval has brackets.
        table.add_row(*map(Text, row), style=style)
    return table


def _width(rows: "Sequence[Sequence[str]]") -> int:
    """Of a table of these rows, with a space after each column."""
    columns = zip(*rows, strict=True)
    return sum(1 + max(len(line) for cell in c for line in cell.split("\n")) for c in columns)


def _fitted(rows: "Sequence[Sequence[str]]", width: int) -> "list[list[str]]":
    """The cells with as many line breaks as a width needs: a break elsewhere in an interval is
    hard to read."""
    broken = [list(row) for row in rows]
    for before, after in ((" ", "\n"), (" [", "\n["), (", ", ",\n")):
        if _width(broken) <= width:
            break
        # The head has words, the cells intervals; the first column has names.
        breaks_head = before == " "
        broken = [
            [row[0], *(x.replace(before, after) if (i == 0) == breaks_head else x for x in row[1:])]
            for i, row in enumerate(broken)
        ]
    return broken
