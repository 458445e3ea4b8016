import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from .._system.processes import cores
from ._board import Board
from ._jobs import Job
from ._process import describe_exit, JobProcess
from ._state import begin, end, read_state, read_states, State, to_do
from ._status import Status, statuses

# Seconds between two looks at the processes.
POLL = 0.2


def run_local(jobs: Sequence[Job], out: Path, board: Board, *, at_a_time: int) -> dict[str, Status]:
    """Runs what is not done of a graph, as processes on this machine.

    A job that fails keeps back what needs it, and nothing else. When this process ends, however it
    ends, so do the processes that it started.

    **Arguments:**

    - `jobs`: the graph, in order.
    - `out`: the folder of the sweep.
    - `board`: where it is shown.
    - `at_a_time`: how many processes there are, which share the cores.

    **Returns:**

    Where each job stands at the end.
    """
    waiting = to_do(jobs, read_states(out, jobs))
    cpus = max(1, cores() // at_a_time)
    running: dict[str, _Running] = {}
    try:
        while True:
            for name in [name for name, each in running.items() if each.process.poll() is not None]:
                running.pop(name).settle(out)
            found = statuses(jobs, out, ahead={*waiting, *running})
            ready = [job for job in jobs if job.name in waiting and _is_ready(job, found)]
            for job in ready[: at_a_time - len(running)]:
                waiting.discard(job.name)
                before = read_state(out, job.name)
                running[job.name] = _Running(job, before, JobProcess(job, out, cpus))
            found |= {name: Status("running") for name in running}
            board.show(found)
            if not running:
                return found
            while all(each.process.poll() is None for each in running.values()):
                time.sleep(POLL)
    finally:
        for each in running.values():
            each.process.stop()


@dataclasses.dataclass(frozen=True)
class _Running:
    job: Job
    before: State | None
    process: JobProcess

    def settle(self, out: Path) -> None:
        """Says in the job's file why it failed, if its process could not."""
        code = self.process.wait()
        self.process.close()
        state = read_state(out, self.job.name)
        if state is None or state == self.before:
            # It died before it could write anything.
            state = begin(out, self.job.name, self.job.spec, self.job.needs)
        if state.state == "running":
            end(out, self.job.name, state, describe_exit(code))


def _is_ready(job: Job, found: dict[str, Status]) -> bool:
    over = ("done", "failed", "blocked") if job.tolerant else ("done",)
    return all(found[need].stage in over for need in job.needs)
