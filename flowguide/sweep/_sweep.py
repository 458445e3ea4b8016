import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TYPE_CHECKING

from .._checks import as_positive_int
from .._system.files import replace_file
from .._system.locks import locked
from .._system.progress import make_console
from ._board import Board, graph_lines
from ._graph import make_jobs
from ._jobs import Job
from ._local import run_local
from ._plan import read_plan
from ._queue import NoAnswer, Queued, read_queue
from ._slurm import run_slurm, SlurmSweep
from ._state import JOBS
from ._status import Status, statuses

if TYPE_CHECKING:
    from rich.console import Console

LOCK = "lock"
ABOUT = "sweep.json"
PLAN = "plan.toml"


def sweep(
    plan: str | os.PathLike,
    out: str | os.PathLike,
    *,
    jobs: int = 1,
    slurm: bool = False,
    wait: bool = True,
    poll: float = 15.0,
    console: "Console | None" = None,
) -> tuple[list[Job], dict[str, Status]]:
    """Trains and evaluates what a plan says. Called again, it does what is not done.

    **Arguments:**

    - `plan`: a TOML file; see `docs/sweeps.md`.
    - `out`: the folder for everything.
    - `jobs`: how many processes run at a time on this machine.
    - `slurm`: whether the jobs run on a SLURM cluster instead.
    - `wait`: with SLURM, whether to follow the jobs to their end.
    - `poll`: with SLURM, seconds between two looks at its queue.
    - `console`: where it is shown; by default standard output.

    **Returns:**

    The graph, and where each of its jobs stands at the end, by its name.

    **Raises:**

    `FileNotFoundError` or `ValueError` for a plan that is missing or makes no sense; `RuntimeError`
    while another sweep works in the folder, or SLURM does not answer or take a job; `ImportError`
    without submitit.
    """
    at_a_time = as_positive_int("jobs", jobs)
    parsed, folder = read_plan(plan), Path(out).expanduser()
    (folder / JOBS).mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, wait=False) as is_alone:
        if not is_alone:
            raise RuntimeError(f"Another sweep works in {folder}.")
        graph = make_jobs(parsed, folder)
        _keep_plan(Path(plan).expanduser(), folder)
        with Board(graph, folder, console or make_console()) as board:
            if slurm:
                in_slurm = SlurmSweep(graph, folder, _name(folder, slurm=True), parsed.resources)
                return graph, run_slurm(in_slurm, board, wait=wait, poll=poll)
            _refuse_beside_slurm(folder)
            return graph, run_local(graph, folder, board, at_a_time=at_a_time)


def status(
    plan: str | os.PathLike, out: str | os.PathLike, *, on_message: Callable[[str], Any] = print
) -> tuple[list[Job], dict[str, Status]]:
    """The graph of a plan and where each of its jobs stands. Changes nothing.

    **Arguments:**

    - `plan`, `out`: as in `sweep`.
    - `on_message`: called with a sentence if SLURM has jobs of the sweep and cannot be asked.

    **Raises:**

    As `sweep`, for the plan.
    """
    folder = Path(out).expanduser()
    graph = make_jobs(read_plan(plan), folder)
    queue = {}
    try:
        queue = _queue_of(folder)
    except NoAnswer as error:
        on_message(str(error))
    return graph, statuses(graph, folder, queue=queue)


def dry_run(plan: str | os.PathLike, out: str | os.PathLike) -> list[str]:
    """The graph of a plan as lines: each job with what it needs, and the counts of each kind.

    **Arguments:**

    - `plan`: the plan's file.
    - `out`: the folder that the sweep would write to. Nothing is written.

    **Raises:**

    As `read_plan`.
    """
    return graph_lines(make_jobs(read_plan(plan), Path(out).expanduser()))


def _keep_plan(plan: Path, folder: Path) -> None:
    """A copy beside the results says what they are results of."""
    copy = folder / PLAN
    if not copy.exists() or not copy.samefile(plan):
        replace_file(copy, lambda path: shutil.copyfile(plan, path))


def _about(folder: Path) -> dict[str, str | bool]:
    try:
        return json.loads((folder / ABOUT).read_text())
    except (OSError, ValueError):
        return {}


def _name(folder: Path, *, slurm: bool) -> str:
    """What the sweep is called in SLURM. It stays with the folder, wherever that goes."""
    about = {"name": uuid.uuid4().hex[:8], **_about(folder), "slurm": slurm}
    replace_file(folder / ABOUT, lambda path: path.write_text(json.dumps(about) + "\n"))
    return str(about["name"])


def _queue_of(folder: Path) -> dict[str, Queued]:
    about = _about(folder)
    if not about.get("slurm"):
        return {}
    return {n: queued for n, queued in read_queue(str(about["name"])) if not queued.is_over}


def _refuse_beside_slurm(folder: Path) -> None:
    try:
        queue = _queue_of(folder)
    except NoAnswer:
        # Not on the cluster any more, or without one: then nothing of it can be seen from here.
        return
    if queue:
        numbers = " ".join(queued.id for queued in queue.values())
        raise RuntimeError(
            f"{len(queue)} jobs of this sweep are in SLURM's queue: add --slurm, or cancel them "
            f"first with `scancel {numbers}`."
        )
