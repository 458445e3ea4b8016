"""What a sweep shows in a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ._jobs import Job
from ._state import log_file
from ._status import STAGES, Status

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_STYLES = {"done": "green", "running": "cyan", "waiting": "", "failed": "red", "blocked": "yellow"}
# A table of a thousand jobs is none that can be read: of each stage that is named, so many.
MOST_ROWS = 20


def table(
    jobs: Sequence[Job], found: Mapping[str, Status], out: Path, *, rows: int = MOST_ROWS
) -> "RenderableType":
    """How many jobs of each kind are done, running, waiting, failed and blocked; and by name with
    the reason and the log those that run, and those that failed."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    counts = Table(box=None, padding=(0, 2), header_style="bold")
    counts.add_column("jobs")
    for stage in STAGES:
        counts.add_column(stage, justify="right", style=_STYLES[stage])
    kinds = [*dict.fromkeys(job.kind for job in jobs), "all"]
    for kind in kinds:
        stages = [found[job.name].stage for job in jobs if kind in (job.kind, "all")]
        counts.add_row(kind, *(str(stages.count(stage) or "-") for stage in STAGES))
    lines = []
    for stage in ("running", "failed"):
        some = [job.name for job in jobs if found[job.name].stage == stage]
        for name in some[:rows]:
            why = f": {found[name].why}" if found[name].why else ""
            lines.append(Text(f"{stage} {name}{why}", style=_STYLES[stage]))
            # A line of its own, to be copied.
            lines.append(Text(f"  {log_file(out, name)}", style="dim"))
        if len(some) > rows:
            lines.append(Text(f"{stage}: {len(some) - rows} more", style=_STYLES[stage]))
    return Group(counts, *lines)


def graph_lines(jobs: Sequence[Job]) -> list[str]:
    """Each job with what it needs, a line each, and how many there are of each kind."""
    counts: dict[str, int] = {}
    for job in jobs:
        counts[job.kind] = counts.get(job.kind, 0) + 1
    lines = []
    for job in jobs:
        # All evaluations, of a report.
        needs = ", ".join(job.needs) if len(job.needs) <= 3 else f"{len(job.needs)} jobs"
        lines.append(f"{job.name}  <-  {needs}" if needs else job.name)
    shown = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return [*lines, f"{len(jobs)} jobs: {shown}."]


class Board:
    """Follows a sweep: a live table in a terminal, elsewhere a line for each change.

    **Arguments:**

    - `jobs`, `out`: the graph and the folder of the sweep.
    - `console`: where it is shown.
    """

    def __init__(self, jobs: Sequence[Job], out: Path, console: "Console"):
        from rich.live import Live

        self._jobs, self._out, self._console = jobs, out, console
        # Taken away at the end: what follows shows the last one.
        live = Live(console=console, auto_refresh=False, transient=True)
        self._live = live if console.is_terminal else None
        self._last: dict[str, str] = {}

    def __enter__(self) -> "Board":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, error, trace
        if self._live is not None:
            self._live.stop()

    def tell(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def show(self, found: Mapping[str, Status]) -> None:
        if self._live is not None:
            self._live.update(table(self._jobs, found, self._out), refresh=True)
            return
        before, self._last = self._last, {name: s.stage for name, s in found.items()}
        for name, status in found.items():
            if before.get(name, "waiting") != status.stage and (before or status.stage != "done"):
                self.tell(self._line(name, status))

    def _line(self, name: str, status: Status) -> str:
        line = f"{status.stage}: {name}"
        if status.stage == "failed":
            return f"{line}: {status.why} (log: {log_file(self._out, name)})"
        says_why = status.stage in ("blocked", "waiting") and status.why
        return f"{line}, {status.why}" if says_why else line
