import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from .._system.locks import is_locked
from ._jobs import Job
from ._queue import Queued
from ._state import is_done, log_file, read_states, State

Stage = Literal["done", "running", "waiting", "failed", "blocked"]
STAGES: tuple[Stage, ...] = ("done", "running", "waiting", "failed", "blocked")


@dataclasses.dataclass(frozen=True)
class Status:
    """Where a job stands.

    **Attributes:**

    - `stage`: done, running, waiting, failed, or blocked by a job that failed.
    - `why`: in a few words, where there is something to say.
    """

    stage: Stage
    why: str = ""


def statuses(
    jobs: Sequence[Job],
    out: Path,
    *,
    queue: Mapping[str, Queued] | None = None,
    ahead: Collection[str] = (),
    is_local: bool = True,
) -> dict[str, Status]:
    """Where each job of a graph stands, from the files of the sweep and SLURM's queue.

    **Arguments:**

    - `jobs`: the graph, in order.
    - `out`: the folder of the sweep.
    - `queue`: of jobs by name, what SLURM says about those in its queue.
    - `ahead`: names of jobs that will run, whatever their files say.
    - `is_local`: whether the processes of jobs are on this machine, if there are any.
    """
    # After the queue was read: a job that has left it has written its state before.
    states = read_states(out, jobs)
    found: dict[str, Status] = {}
    for job in jobs:
        queued = (queue or {}).get(job.name)
        if queued is not None:
            found[job.name] = _in_queue(queued, states[job.name])
        else:
            found[job.name] = _of(job, states, out, found, job.name in ahead, is_local)
    return found


def _in_queue(queued: Queued, state: State | None) -> Status:
    if queued.is_running:
        return Status("running", f"SLURM job {queued.id}{_restarts(state)}")
    return Status("waiting", f"SLURM job {queued.id}: {queued.reason}{_restarts(state)}")


def _of(
    job: Job,
    states: Mapping[str, State | None],
    out: Path,
    found: Mapping[str, Status],
    is_ahead: bool,
    is_local: bool,
) -> Status:
    state = states[job.name]
    if not is_ahead and is_done(job, states):
        return Status("done")
    if state is not None and state.state == "running" and is_local:
        if is_locked(log_file(out, job.name)):
            return Status("running", f"since {state.started}{_restarts(state)}")
    lost = [need for need in job.needs if found[need].stage in ("failed", "blocked")]
    if lost and not job.tolerant:
        return Status("blocked", f"needs {lost[0]}")
    if is_ahead or state is None or state.spec != job.spec:
        return Status("waiting")
    if state.state == "failed":
        return Status("failed", state.why or "")
    if state.state == "running":
        return Status("waiting", "was stopped in the middle")
    return Status("waiting", "what it needs has changed")


def _restarts(state: State | None) -> str:
    return f", start {state.starts}" if state is not None and state.starts > 1 else ""
