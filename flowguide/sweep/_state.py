import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from .._system.files import replace_file
from .._system.locks import is_locked
from ._graph import Job

JOBS, WORKFLOW = "jobs", "workflow.json"

Stage = Literal["done", "running", "waiting", "failed", "blocked"]


@dataclasses.dataclass(frozen=True)
class Status:
    """Where a job stands.

    **Attributes:**

    - `stage`: done, running, waiting, failed, or blocked by a job that failed.
    - `why`: in a few words, where there is something to say.
    """

    stage: Stage
    why: str = ""


def job_file(out: Path, name: str, ending: str) -> Path:
    """A file of a job: its output, `log`, its state, `json`, and `done`, by which Snakemake knows
    that it is done."""
    return out / JOBS / f"{name}.{ending}"


def read_state(out: Path, name: str) -> dict[str, Any]:
    """What a job's last process left: its `state` (running, done or failed), its `spec` and `why`
    it failed. Empty for a job that never ran, or whose file cannot be read: it will run."""
    try:
        return dict(json.loads(job_file(out, name, "json").read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def write_state(out: Path, name: str, state: dict[str, Any]) -> None:
    text = json.dumps(state, indent=2) + "\n"
    replace_file(job_file(out, name, "json"), lambda path: path.write_text(text))


def statuses(jobs: Sequence[Job], out: Path) -> dict[str, Status]:
    """Where each job of a graph stands, by its name, from the files of the sweep."""
    found: dict[str, Status] = {}
    for job in jobs:
        found[job.name] = _status(job, out, found)
    return found


def _status(job: Job, out: Path, found: dict[str, Status]) -> Status:
    state = read_state(out, job.name)
    stage = state.get("state")
    if stage == "running" and is_locked(job_file(out, job.name, "log")):
        again = f", start {state['starts']}" if state.get("starts", 1) > 1 else ""
        return Status("running", f"since {state['started']}{again}")
    lost = [need for need in job.needs if found[need].stage in ("failed", "blocked")]
    if lost and not job.tolerant:
        return Status("blocked", f"needs {lost[0]}")
    if stage is None or state.get("spec") != job.spec:
        return Status("waiting")
    if stage == "failed":
        return Status("failed", state.get("why") or "")
    if stage == "running":
        return Status("waiting", "was stopped in the middle")
    if not job.tolerant and any(found[need].stage != "done" for need in job.needs):
        return Status("waiting", "what it needs has changed")
    return Status("done")


def prepare(jobs: Sequence[Job], out: Path) -> None:
    """Leaves Snakemake the markers of what is done as the plan is now, and forgets the rest: it is
    to be done, and all that needs it."""
    found, done = statuses(jobs, out), set[str]()
    for job in jobs:
        if found[job.name].stage == "done" and done.issuperset(job.needs):
            done.add(job.name)
            job_file(out, job.name, "done").touch()
        else:
            job_file(out, job.name, "done").unlink(missing_ok=True)
            if read_state(out, job.name).get("state") != "running":
                job_file(out, job.name, "json").unlink(missing_ok=True)


def settle(jobs: Sequence[Job], out: Path, log: Path) -> None:
    """Says of jobs that have failed what they could not say themselves. Snakemake has ended, and
    nothing kept them back.

    **Arguments:**

    - `jobs`, `out`: the graph, or a part of it that needs no more; the folder of the sweep.
    - `log`: what Snakemake printed.
    """
    found = statuses(jobs, out)
    for job in jobs:
        is_ready = job.tolerant or all(found[need].stage == "done" for need in job.needs)
        if found[job.name].stage == "waiting" and is_ready:
            began = read_state(out, job.name).get("state") == "running"
            why = (
                "its process was killed (out of memory or time?)" if began else "it was not started"
            )
            state = {"state": "failed", "spec": job.spec, "why": f"{why}; see {log}"}
            write_state(out, job.name, state)
