import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro

from .._system.progress import make_console, printer
from ._terminal import show_table


@dataclasses.dataclass(frozen=True)
class Report:
    """Reports what results files say: a verdict and tables here, pictures and a page in OUT.

    Success with 95% Wilson intervals; differences to the baseline paired by episode, with
    bootstrap intervals and the episodes gained and lost; over several tasks the interquartile mean.
    OUT gets report.html (one file that needs no other), report.md, summary.json and the pictures.
    """

    files: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="FILE [FILE ...]", help_behavior_hint="(required)"),
    ]
    """Results of `flowguide evaluate` (JSON Lines), and folders of `flowguide tune`."""

    out: Path
    """The folder of the report; made if missing. Videos in its folder videos go into the page."""

    baseline: str = "unguided"
    """What all conditions are compared with: a label, such as `best of 4`, or a method of which one
    weight was played."""

    training: str | None = None
    """The training that others are compared with, by its name; by default the one with the highest
    success."""

    runs: Annotated[
        tuple[Path, ...], tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="")
    ] = ()
    """Training runs that played, for their settings and learning curves; by default those near the
    files."""

    rows: int = 80
    """Rows of a table that are shown here; the page has all."""

    def run(self) -> None:
        from ..report import report

        console = make_console()
        if not console.is_terminal:
            # A file has no width: lines as long as the tables.
            console = make_console(width=160)
        on_message = printer(console)
        page = report(
            self.files,
            self.out,
            baseline=self.baseline,
            training=self.training,
            runs=self.runs or None,
            command=shlex.join(["flowguide", *sys.argv[1:]]),
            on_message=on_message,
            on_table=lambda table: show_table(console, table, self.rows),
        )
        on_message(f"Next: open {page.absolute().as_uri()} in a browser.")
