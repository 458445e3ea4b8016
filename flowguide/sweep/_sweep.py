import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from .._checks import as_positive_int
from .._extras import check_extra
from .._system.files import replace_file
from .._system.locks import locked
from .._system.processes import cores
from .._system.progress import make_console, printer
from ._graph import Job, make_jobs
from ._plan import find_plan, read_plan
from ._snakemake import on_slurm, run_jobs, write_workflow
from ._state import JOBS, prepare, Status, statuses

if TYPE_CHECKING:
    from rich.console import Console


def sweep(
    plan: str | os.PathLike,
    out: str | os.PathLike,
    *,
    jobs: int | None = None,
    slurm: bool = False,
    run: bool = True,
    poll: int = 40,
    console: "Console | None" = None,
) -> tuple[list[Job], dict[str, Status]]:
    """Trains and evaluates what a plan says. Called again, it does what is not done.

    **Arguments:**

    - `plan`: a TOML file, or the name of a shipped plan; see `docs/sweeps.md`.
    - `out`: the folder for everything.
    - `jobs`: how many run at a time: by default one on this machine, and with SLURM 500, of which
        some may wait in its queue.
    - `slurm`: whether the jobs run on a SLURM cluster instead.
    - `run`: False only writes the workflow, with what the plan asks SLURM for, for Snakemake.
    - `poll`: with SLURM, seconds before the first look at its queue.
    - `console`: where it is shown; by default standard output.

    **Returns:**

    The graph, and where each of its jobs stands at the end, by its name.

    **Raises:**

    `FileNotFoundError` or `ValueError` for a plan that is missing or makes no sense; `RuntimeError`
    while another sweep works in the folder, or without a SLURM; `ImportError` without Snakemake.
    """
    at_a_time = as_positive_int("jobs", (500 if slurm else 1) if jobs is None else jobs)
    parsed, folder = read_plan(plan), Path(out).expanduser()
    if run:
        _check_installed(slurm)
    (folder / JOBS).mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", wait=False) as is_alone:
        if not is_alone:
            raise RuntimeError(f"Another sweep works in {folder}.")
        graph = make_jobs(parsed, folder)
        _keep_plan(find_plan(plan)[0], folder)
        cpus = None if slurm or not run else max(1, cores() // at_a_time)
        write_workflow(graph, folder, parsed.resources, cpus)
        prepare(graph, folder)
        if run:
            where = ["--cores", f"{at_a_time * cpus}"] if cpus else on_slurm(at_a_time, poll)
            run_jobs(graph, folder, where, printer(console or make_console()))
        return graph, statuses(graph, folder)


def status(plan: str | os.PathLike, out: str | os.PathLike) -> tuple[list[Job], dict[str, Status]]:
    """The graph of a plan and where each of its jobs stands. Changes nothing.

    **Arguments:**

    - `plan`, `out`: as in `sweep`.

    **Raises:**

    As `sweep`, for the plan.
    """
    folder = Path(out).expanduser()
    graph = make_jobs(read_plan(plan), folder)
    return graph, statuses(graph, folder)


def dry_run(plan: str | os.PathLike, out: str | os.PathLike) -> list[str]:
    """The graph of a plan as lines: each job with what it needs, and the counts of each kind.

    **Arguments:**

    - `plan`, `out`: as in `sweep`. Nothing is written.

    **Raises:**

    As `read_plan`.
    """
    jobs = make_jobs(read_plan(plan), Path(out).expanduser())
    lines = []
    for job in jobs:
        # All evaluations, of a report.
        needs = ", ".join(job.needs) if len(job.needs) <= 3 else f"{len(job.needs)} jobs"
        lines.append(f"{job.name}  <-  {needs}" if needs else job.name)
    counts = Counter(job.kind for job in jobs)
    shown = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return [*lines, f"{len(jobs)} jobs: {shown}."]


def _check_installed(slurm: bool) -> None:
    check_extra("sweep", "A sweep")
    if slurm and shutil.which("sbatch") is None:
        raise RuntimeError("There is no SLURM here: the command sbatch was not found.")


def _keep_plan(plan: Path, folder: Path) -> None:
    """A copy beside the results says what they are results of."""
    copy = folder / "plan.toml"
    if not copy.exists() or not copy.samefile(plan):
        replace_file(copy, lambda path: shutil.copyfile(plan, path))
