import dataclasses
import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, UTC
from pathlib import Path
from typing import Any, Literal

from .._system.files import replace_file
from ._jobs import Job

JOBS = "jobs"


@dataclasses.dataclass(frozen=True)
class State:
    """What a job's last process left behind, `OUT/jobs/NAME.json`.

    **Attributes:**

    - `state`: running (or killed while it was), done or failed.
    - `spec`: what the job was: `Job.spec`.
    - `why`: it failed.
    - `result`: a name for what it made, another one each time.
    - `used`: the results of the jobs that it needed, by their names.
    - `started`, `ended`: times in UTC.
    - `starts`: how many processes have worked on this specification.
    """

    state: Literal["running", "done", "failed"]
    spec: dict[str, Any]
    why: str | None = None
    result: str | None = None
    used: dict[str, str | None] = dataclasses.field(default_factory=dict)
    started: str | None = None
    ended: str | None = None
    starts: int = 1


def state_file(out: Path, name: str) -> Path:
    return out / JOBS / f"{name}.json"


def log_file(out: Path, name: str) -> Path:
    return out / JOBS / f"{name}.log"


def read_state(out: Path, name: str) -> State | None:
    """None for a job that never ran, or whose file cannot be read: it will run."""
    try:
        return State(**json.loads(state_file(out, name).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def read_states(out: Path, jobs: Iterable[Job]) -> dict[str, State | None]:
    return {job.name: read_state(out, job.name) for job in jobs}


def begin(out: Path, name: str, spec: dict[str, Any], needs: Iterable[str]) -> State:
    """Writes that a job is running now."""
    before = read_state(out, name)
    starts = before.starts + 1 if before and before.spec == spec and before.result is None else 1
    found = {need: read_state(out, need) for need in needs}
    used = {need: state.result if state else None for need, state in found.items()}
    state = State("running", spec, used=used, started=_now(), starts=starts)
    write_state(out, name, state)
    return state


def end(out: Path, name: str, state: State, why: str | None) -> None:
    """Writes how a job ended: done, or failed and why."""
    result = uuid.uuid4().hex if why is None else None
    verdict = "done" if why is None else "failed"
    ended = dataclasses.replace(state, state=verdict, why=why, result=result, ended=_now())
    write_state(out, name, ended)


def write_state(out: Path, name: str, state: State) -> None:
    text = json.dumps(dataclasses.asdict(state), indent=2) + "\n"
    replace_file(state_file(out, name), lambda path: path.write_text(text))


def is_done(job: Job, states: Mapping[str, State | None]) -> bool:
    """Whether a job has been done as it is now, with what the jobs that it needs made last."""
    state = states[job.name]
    if state is None or state.state != "done" or state.spec != job.spec:
        return False
    results = {need: states[need] for need in job.needs}
    return all(
        state.used.get(need) == (found.result if found else None) for need, found in results.items()
    )


def to_do(jobs: Iterable[Job], states: Mapping[str, State | None]) -> set[str]:
    """The names of what has to run: what is not done, and what needs something of that."""
    found: set[str] = set()
    for job in jobs:
        if not is_done(job, states) or found.intersection(job.needs):
            found.add(job.name)
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
