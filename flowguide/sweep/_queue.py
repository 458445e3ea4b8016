"""What SLURM knows about the jobs of a sweep. Its names say which they are, so nothing about them
is kept in files that a killed process could leave wrong."""

import dataclasses
import getpass
import hashlib
import json
import subprocess
from collections.abc import Iterable

from ._jobs import Job

# States in which a job is over. All others are before or in it.
_OVER = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "TIMEOUT"),
}
_RUNNING = {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "STAGE_OUT"}


class NoAnswer(RuntimeError):
    """SLURM does not say what is in its queue."""


@dataclasses.dataclass(frozen=True)
class Queued:
    """A job as SLURM shows it.

    **Attributes:**

    - `id`: SLURM's number.
    - `state`: SLURM's word, such as `PENDING`.
    - `reason`: why it waits, such as `Dependency`.
    - `digest`: of what it was when it was submitted; `digest(job)`.
    """

    id: str
    state: str
    reason: str
    digest: str

    @property
    def is_over(self) -> bool:
        return self.state in _OVER

    @property
    def is_running(self) -> bool:
        return self.state in _RUNNING


def digest(job: Job) -> str:
    """Of all that a job follows from."""
    return hashlib.sha256(json.dumps(job.spec, sort_keys=True).encode()).hexdigest()[:8]


def slurm_name(job: Job, sweep: str) -> str:
    """A job's name in SLURM: its own, the sweep's, and what it is."""
    return f"{job.name}.{sweep}.{digest(job)}"


def read_queue(sweep: str) -> list[tuple[str, Queued]]:
    """The jobs of a sweep, by name, that SLURM has or had until a few minutes ago.

    **Raises:**

    `NoAnswer`.
    """
    command = ["squeue", "--noheader", "--states=all", "--format=%i|%T|%r|%j"]
    try:
        text = subprocess.run(
            [*command, f"--user={getpass.getuser()}"],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
    except FileNotFoundError as error:
        raise NoAnswer("There is no SLURM here: the command squeue was not found.") from error
    except subprocess.TimeoutExpired as error:
        raise NoAnswer("SLURM does not answer: squeue took more than 120 s.") from error
    except subprocess.CalledProcessError as error:
        raise NoAnswer(f"SLURM does not answer: {error.stderr.strip()}") from error
    return parse_queue(text.splitlines(), sweep)


def parse_queue(lines: Iterable[str], sweep: str) -> list[tuple[str, Queued]]:
    """The lines of squeue that are about a sweep, in the order of submission."""
    found = []
    for line in lines:
        number, state, reason, full_name = line.strip().split("|", 3)
        name, _, rest = full_name.rpartition(f".{sweep}.")
        if name:
            found.append((name, Queued(number, state, reason, rest)))
    return sorted(found, key=lambda each: int(each[1].id))
