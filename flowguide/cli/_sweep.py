import dataclasses
from pathlib import Path
from typing import Annotated, TYPE_CHECKING

import tyro

from .._system.progress import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from ..sweep import Job, Status


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Trains and evaluates what a plan says: tasks x training settings x seeds x guidance.

    Runs a graph of jobs: data, a policy for each dataset, a critic for each task, episodes, tuning,
    a report. It can be killed at any time, and the same command does what is not done. Here, by
    default; with --slurm on a cluster. docs/sweeps.md describes plans.
    """

    plan: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PLAN.toml")]
    """The plan."""

    out: Path
    """The folder for everything; made if missing."""

    jobs: int = 1
    """Jobs that run at a time on this machine. They share its cores."""

    slurm: bool = False
    """Submit the jobs to SLURM, with the resources in the plan's [slurm] (needs
    flowguide[slurm])."""

    wait: bool = True
    """With --slurm, follow the jobs to their end. They go on either way."""

    status: bool = False
    """Only show what is done, running, waiting and failed, and why."""

    dry_run: bool = False
    """Only show the graph: the jobs, and how many of each kind."""

    def run(self) -> None:
        from ..sweep import dry_run, status
        from ..sweep._board import table

        console = make_console()
        if self.dry_run:
            print("\n".join(dry_run(self.plan, self.out)))
            return
        jobs, found = status(self.plan, self.out) if self.status else self._sweep(console)
        # Without wrapping, so that paths can be copied.
        console.print(table(jobs, found, self.out), highlight=False, soft_wrap=True)
        report = self.out.expanduser() / "report" / "report.html"
        if report.exists():
            console.print(f"The report is {report}.", highlight=False, soft_wrap=True)
        failed = sum(each.stage in ("failed", "blocked") for each in found.values())
        if failed and not self.status:
            raise RuntimeError(
                f"{failed} of {len(jobs)} jobs failed or need one that did. The same command tries "
                "them again."
            )

    def _sweep(self, console: "Console") -> "tuple[list[Job], dict[str, Status]]":
        from ..sweep import sweep

        try:
            return sweep(
                *(self.plan, self.out),
                jobs=self.jobs,
                slurm=self.slurm,
                wait=self.wait,
                console=console,
            )
        except KeyboardInterrupt:
            if self.slurm:
                console.print("The jobs go on in SLURM; the same command follows them again.")
            raise
