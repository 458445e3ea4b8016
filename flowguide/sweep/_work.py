import dataclasses
from pathlib import Path
from typing import Any

from ._jobs import Job
from ._process import describe_exit, JobProcess
from ._state import begin, end, read_state


@dataclasses.dataclass(frozen=True)
class Work:
    """What runs on a node, through submitit: the job in a process of its own, which this waits for.

    Python acts on a signal only between two steps of the interpreter, and a compiled update may
    take longer than SLURM waits. A process that only waits acts at once.

    **Arguments:**

    - `job`: what is done.
    - `out`: the folder of the sweep.
    - `cpus`: how many cores it asked for.
    """

    job: Job
    out: Path
    cpus: int

    def __call__(self) -> None:
        process = JobProcess(self.job, self.out, self.cpus)
        try:
            code = process.wait()
        except Exception as error:  # submitit's, in its signal handler: too many timeouts.
            process.stop()
            self._fail(str(error))
            raise
        finally:
            # Also when it is put back into the queue, which ends this process.
            process.stop()
        if code != 0:
            self._fail(describe_exit(code))
            state = read_state(self.out, self.job.name)
            raise RuntimeError(state.why if state else describe_exit(code))

    def _fail(self, why: str) -> None:
        """Says why in the job's file, if its process could not."""
        state = read_state(self.out, self.job.name)
        if state is None:
            state = begin(self.out, self.job.name, self.job.spec, self.job.needs)
        if state.state == "running":
            end(self.out, self.job.name, state, why)

    def checkpoint(self) -> Any:
        """Called by submitit before it puts the job back into the queue: the same again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
