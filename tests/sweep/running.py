"""Graphs of jobs that cost nothing, run as a sweep runs its own."""

import io
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from flowguide.sweep import Job, Status
from flowguide.sweep._plan import Resources
from flowguide.sweep._snakemake import on_slurm, run_jobs, write_workflow
from flowguide.sweep._state import prepare, statuses

ROOT = Path(__file__).resolve().parents[2]


def run(
    jobs: Sequence[Job],
    out: Path,
    at_a_time: int = 2,
    slurm: Mapping[str, Resources] | None = None,
) -> tuple[dict[str, Status], list[str]]:
    """Where each job stands at the end, and the lines that were shown."""
    (out / "jobs").mkdir(exist_ok=True)
    write_workflow(jobs, out, slurm or {}, None if slurm else 1)
    prepare(jobs, out)
    lines: list[str] = []
    run_jobs(jobs, out, on_slurm(10, 1) if slurm else ["--cores", str(at_a_time)], lines.append)
    return statuses(jobs, out), lines


def start(code: str, out: Path) -> subprocess.Popen:
    """A process of its own that runs a graph: `code` has `jobs`, `out` and this module's names."""
    # Tests can be started with Ctrl-C ignored, as jobs in the background of a script are.
    before = (
        "import signal, sys; from tests.sweep.running import *; from tests.sweep.fake import fake; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); out = Path(sys.argv[1]); "
    )
    return subprocess.Popen(
        [sys.executable, "-c", before + code, str(out)], cwd=ROOT, stderr=subprocess.DEVNULL
    )


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        # One that has ended stays a zombie where nobody collects it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def shown(console: Console) -> str:
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
