"""What the commands show in a terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table as RichTable

    from .._results.tables import Table
    from ..results import Condition, Success

_MARKS = {"": "", "better": "bold green", "worse": "bold red"}


def success_table(rates: "dict[Condition, Success]") -> "RichTable":
    """Conditions with their success rates, one a row."""
    from .._results.conditions import weight_text

    table = _plain_table()
    table.add_column("condition")
    for name in ("weight", "episodes", "success"):
        table.add_column(name, justify="right")
    table.add_column("95% interval")
    for condition, rate in rates.items():
        weight = condition.weight
        table.add_row(
            condition.curve,
            "-" if weight is None else weight_text(weight, condition.unit),
            str(rate.count),
            f"{rate.rate:.2f}",
            f"[{rate.low:.2f}, {rate.high:.2f}]",
        )
    return table


def show_table(console: "Console", table: "Table", rows: int) -> None:
    """Prints a table of a report with its title and notes; of a long one some rows.

    **Arguments:**

    - `console`: where to. On a narrow one intervals are below their numbers.
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
        terminal_table = _plain_table()
        names, *cells = _fitted([table.columns, *(row for row, _ in listed)], console.width)
        for i, name in enumerate(names):
            terminal_table.add_column(name, justify="right" if i else "left", overflow="fold")
        for row, (_, marked) in zip(cells, listed, strict=True):
            # Not markup: an interval has brackets.
            terminal_table.add_row(*map(Text, row), style=_MARKS[marked])
        console.print(terminal_table)
    if len(listed) < len(table.rows):
        console.print(f"{len(listed)} of {len(table.rows):,} rows; the page has all.")
    for note in table.notes:
        console.print(Text(note, style="dim"))


def _fitted(rows: "Sequence[Sequence[str]]", width: int) -> "list[list[str]]":
    """The cells with as many line breaks as a width needs: a break elsewhere in an interval is
    hard to read."""
    broken = [list(row) for row in rows]
    for before, after in ((" ", "\n"), (" [", "\n["), (", ", ",\n")):
        columns = zip(*broken, strict=True)
        lengths = (max(len(line) for x in column for line in x.split("\n")) for column in columns)
        if sum(lengths) + len(broken[0]) <= width:
            break
        # The head has words, the cells intervals; the first column has names.
        breaks_head = before == " "
        broken = [
            [row[0], *(x.replace(before, after) if (i == 0) == breaks_head else x for x in row[1:])]
            for i, row in enumerate(broken)
        ]
    return broken


def _plain_table() -> "RichTable":
    from rich.table import Table

    return Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
