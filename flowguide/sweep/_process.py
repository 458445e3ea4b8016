import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from .._system.processes import same_imports
from ._jobs import Job
from ._state import log_file

# Seconds between asking a job's processes to end and ending them.
PATIENCE = 5.0


class JobProcess:
    """A job in a process of its own, with its output in `OUT/jobs/NAME.log`.

    It does not outlive this process, even one that is killed: see `_job`.

    **Arguments:**

    - `job`: what it does.
    - `out`: the folder of the sweep.
    - `cpus`: how many cores it may count on; None for all that it is allowed.
    """

    def __init__(self, job: Job, out: Path, cpus: int | None = None):
        order = {
            "out": str(out.absolute()),
            "name": job.name,
            "spec": job.spec,
            "needs": list(job.needs),
            "cpus": cpus,
        }
        file = log_file(out, job.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "flowguide.sweep._job"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **same_imports()},
                # A group of its own, so that its workers end with it and Ctrl-C is up to us.
                start_new_session=True,
                text=True,
            )
        assert self._process.stdin is not None
        self._lifeline = self._process.stdin
        try:
            self._lifeline.write(json.dumps(order) + "\n")
            self._lifeline.flush()
        except BrokenPipeError:
            pass  # It is dead already; its exit code says so.

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait()

    def stop(self) -> None:
        """Ends it and all that it started."""
        for number, seconds in ((signal.SIGINT, PATIENCE), (signal.SIGKILL, None)):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
        self.close()

    def close(self) -> None:
        """Of a process that has ended."""
        self._process.wait()
        try:
            self._lifeline.close()
        except BrokenPipeError:
            pass


def describe_exit(code: int) -> str:
    """Why a process ended that could not say so itself."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        return f"the process was ended by {name}{hint}"
    return f"the process ended with exit code {code}"
