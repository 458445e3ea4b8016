import os
import sys
from collections.abc import Callable
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

COMPILING = "compiling"


def make_console(**options: Any) -> "Console":
    """A console that shows what it is given: no brackets of a path or a label are markup. A reader
    that goes away, as `head` does, does not end the command."""
    from rich.console import Console

    class Steady(Console):
        def on_broken_pipe(self) -> None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    # A terminal without any columns would show nothing.
    if os.environ.get("COLUMNS", "").strip() == "0":
        options = {"_environ": {k: v for k, v in os.environ.items() if k != "COLUMNS"}, **options}
    return Steady(markup=False, emoji=False, highlight=False, **options)


def printer(console: "Console", indent: str = "") -> Callable[[str], None]:
    """Shows sentences without wrapping: a line of a log is a line, and paths can be copied."""

    def print_line(line: str) -> None:
        console.print(f"{indent}{line}", soft_wrap=True)

    return print_line


def progress_bar(
    unit: str, console: "Console | None" = None, *, enabled: bool = True
) -> "Progress":
    """A bar with count, speed, time left and a note (the task's field `note`), on standard error
    unless a console is given. A narrow terminal shows less of it, and a file nothing: a line of a
    log does not move."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.1f} {unit}/s", style="cyan")

    class Note(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(task.fields["note"], style="dim", no_wrap=True, overflow="ellipsis")

    console = console or make_console(stderr=True)
    # Of these the note alone is cut: half a count or half a speed says something else.
    whole = Column(no_wrap=True)
    columns = [TextColumn("  "), SpinnerColumn("line", finished_text=" ")]
    columns += [BarColumn(bar_width=16 if console.width >= 60 else 6, table_column=whole)]
    columns += [MofNCompleteColumn(table_column=whole)]
    if console.width >= 80:
        columns.append(Speed(table_column=whole))
    if console.width >= 60:
        columns.append(TimeRemainingColumn(table_column=whole))
    return Progress(
        *(*columns, Note(table_column=Column(no_wrap=False))),
        console=console,
        disable=not (enabled and (console.is_terminal or console.is_jupyter)),
    )
