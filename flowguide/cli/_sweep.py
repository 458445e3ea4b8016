import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TYPE_CHECKING

import tyro

from .._system.progress import make_console, printer
from ._terminal import next_command

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..sweep import Job, Status

_STYLES = {"done": "green", "running": "cyan", "waiting": "", "failed": "red", "blocked": "yellow"}
# A table of a thousand jobs is none that can be read: of each stage that is named, so many.
MOST_ROWS = 20


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Trains and evaluates what a plan says: tasks x training settings x seeds x guidance.

    Runs a graph of jobs: data, a policy for each dataset, a critic for each task, episodes, tuning,
    a report. It can be killed at any time, and the same command does what is not done. Here, by
    default; with --slurm on a cluster. docs/sweeps.md describes plans.
    """

    plan: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PLAN.toml")]
    """The plan, or the name of one that comes with flowguide: tiny, small, critics, medium, ood,
    rivals, paper."""

    out: Path
    """The folder for everything; made if missing."""

    jobs: int | None = None
    """Jobs that run at a time: by default one, with all cores; with --slurm 500."""

    slurm: bool = False
    """Run the jobs on a SLURM cluster, with the resources in the plan's [slurm]."""

    status: bool = False
    """Only show what is done, running, waiting and failed, and why."""

    dry_run: bool = False
    """Only show the graph: the jobs, and how many of each kind."""

    write: bool = False
    """Only write OUT/Snakefile, to run it with Snakemake and any executor of it."""

    def run(self) -> None:
        from ..sweep import dry_run, status, sweep

        console = make_console()
        on_message = printer(console)
        command = next_command("sweep", self.plan, "--out", self.out)
        if self.dry_run:
            print("\n".join(dry_run(self.plan, self.out)))
            on_message(command)
            return
        if self.status:
            jobs, found = status(self.plan, self.out)
        else:
            if self.write and (self.slurm or self.jobs is not None):
                raise ValueError("--write runs nothing: it takes neither --slurm nor --jobs.")
            options = {"jobs": self.jobs, "slurm": self.slurm, "run": not self.write}
            jobs, found = sweep(self.plan, self.out, **options, console=console)
        # Without wrapping, so that paths can be copied.
        console.print(table(jobs, found, self.out), highlight=False, soft_wrap=True)
        report = self.out.expanduser() / "report" / "report.html"
        if report.exists():
            on_message(f"Next: open {report.absolute().as_uri()} in a browser.")
        stages = [each.stage for each in found.values()]
        if self.status or self.write:
            if self.write:
                folder = shlex.quote(str(self.out))
                command = f"Next: cd {folder} && snakemake --keep-going --rerun-triggers params -c1"
            if self.write or stages.count("done") < len(jobs):
                on_message(command)
            return
        failed = stages.count("failed") + stages.count("blocked")
        if failed:
            raise RuntimeError(
                f"{failed} of {len(jobs)} jobs failed or need one that did. The same command tries "
                "them again."
            )
        if stages.count("done") < len(jobs):
            raise RuntimeError(
                f"{len(jobs) - stages.count('done')} of {len(jobs)} jobs are not done: other "
                "processes are at work in this folder. The same command goes on."
            )


def table(
    jobs: "Sequence[Job]", found: "Mapping[str, Status]", out: Path, *, rows: int = MOST_ROWS
) -> "RenderableType":
    """How many jobs of each kind are done, running, waiting, failed and blocked; and by name with
    the reason and the log those that run, and those that failed."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    counts = Table(box=None, padding=(0, 2), header_style="bold")
    counts.add_column("jobs")
    for stage, style in _STYLES.items():
        counts.add_column(stage, justify="right", style=style)
    for kind in [*dict.fromkeys(job.kind for job in jobs), "all"]:
        stages = [found[job.name].stage for job in jobs if kind in (job.kind, "all")]
        counts.add_row(kind, *(str(stages.count(stage) or "-") for stage in _STYLES))
    lines = []
    for stage in ("running", "failed"):
        some = [job.name for job in jobs if found[job.name].stage == stage]
        for name in some[:rows]:
            why = f": {found[name].why}" if found[name].why else ""
            lines.append(Text(f"{stage} {name}{why}", style=_STYLES[stage]))
            # A line of its own, to be copied.
            lines.append(Text(f"  {out / 'jobs' / name}.log", style="dim"))
        if len(some) > rows:
            lines.append(Text(f"{stage}: {len(some) - rows} more", style=_STYLES[stage]))
    return Group(counts, *lines)
