import dataclasses
import math
from collections.abc import Sequence
from html import escape
from typing import Literal

from .statistics import Estimate, Success

NOTHING = "-"
Mark = Literal["", "better", "worse"]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as text, for the terminal, Markdown and HTML alike.

    **Attributes:**

    - `title`: above it.
    - `columns`: their names; the first is aligned to the left.
    - `rows`: cells of text.
    - `marks`: for each row whether it is better or worse than the baseline, its interval excluding
        no difference.
    - `notes`: sentences below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    marks: tuple[Mark, ...]
    notes: tuple[str, ...] = ()


def rate(estimate: Success | Estimate | None) -> str:
    """Such as `0.75 [0.60, 0.86]`."""
    return NOTHING if estimate is None else _with_interval(estimate, ".2f")


def solved(success: Success | None) -> str:
    """Such as `27 of 40`: what a rate is made of."""
    return NOTHING if success is None else f"{success.solved:,} of {success.count:,}"


def change(estimate: Estimate | None) -> str:
    """Such as `+0.25 [-0.10, +0.40]`."""
    return NOTHING if estimate is None else _with_interval(estimate, "+.2f")


def amount(estimate: Estimate | None, sign: str = "") -> str:
    """A number of any size, with as many digits as its interval is worth."""
    if estimate is None:
        return NOTHING
    width = estimate.high - estimate.low
    digits = 1 - math.floor(math.log10(width)) if width > 0 else 2
    return _with_interval(estimate, f"{sign}.{min(max(digits, 0), 6)}f")


def number(count: int | None) -> str:
    return NOTHING if count is None else f"{count:,}"


def mark(difference: Estimate | None) -> Mark:
    """Whether the interval of a difference lies above or below 0."""
    if difference is None or difference.low <= 0 <= difference.high:
        return ""
    return "better" if difference.low > 0 else "worse"


def judged(difference: Estimate | None) -> str:
    """The same as a word; `undecided` where the interval includes 0, `-` without one."""
    return NOTHING if difference is None else mark(difference) or "undecided"


def markdown(table: Table) -> str:
    """The table in Markdown: its title, if it has one, is a heading, and rows that differ from the
    baseline are bold."""
    lines = [f"### {table.title}", ""] if table.title else []
    lines.append("| " + " | ".join(map(_escaped, table.columns)) + " |")
    lines.append("|---" + "|---:" * (len(table.columns) - 1) + "|")
    for row, marked in zip(table.rows, table.marks, strict=True):
        first, *others = map(_escaped, row)
        lines.append("| " + " | ".join([f"**{first}**" if marked else first, *others]) + " |")
    lines += [text for note in table.notes for text in ("", _escaped(note))]
    return "\n".join(lines) + "\n"


def html(table: Table, kind: str = "") -> str:
    """The table alone in HTML; `kind` is its class."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = []
    for (first, *others), marked in zip(table.rows, table.marks, strict=True):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        classed = f' class="{marked}"' if marked else ""
        rows.append(f'<tr{classed}><th scope="row">{escape(first)}</th>{cells}</tr>')
    classed = f' class="{kind}"' if kind else ""
    return f"<table{classed}><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def thinned(items: Sequence, limit: int) -> list:
    """At most `limit` of the items, evenly spread. Of few the ends are not among them: the smallest
    and the largest weight say least."""
    if len(items) <= limit:
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * limit)] for i in range(limit)]


def _with_interval(estimate: Success | Estimate, form: str) -> str:
    value, low, high = (_unsigned_zero(format(x, form)) for x in _ends(estimate))
    return f"{value} [{low}, {high}]"


def _ends(estimate: Success | Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _unsigned_zero(text: str) -> str:
    """`0.00` for `-0.00` and `+0.00`."""
    return text.lstrip("+-") if float(text) == 0 else text


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
