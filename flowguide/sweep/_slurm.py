import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ._board import Board
from ._jobs import Job
from ._queue import digest, NoAnswer, Queued, read_queue, slurm_name
from ._resources import Resources
from ._sbatch import parameters
from ._state import begin, end, is_done, JOBS, read_state, read_states, State, to_do
from ._status import Status, statuses
from ._work import Work

# Ends that are no fault of the job: it is submitted again.
_AGAIN = {"BOOT_FAIL", "NODE_FAIL", "PREEMPTED", "REVOKED", "TIMEOUT"}


class SlurmSweep:
    """A graph in SLURM's queue. Each job is submitted once, with its dependencies: SLURM goes on
    with the graph whether or not this process lives.

    SLURM's queue is the only memory of what was submitted. A driver that was killed, at whatever
    moment, finds its jobs there by their names.

    **Arguments:**

    - `jobs`: the graph, in order.
    - `out`: the folder of the sweep, which all nodes see under this path.
    - `sweep`: the sweep's name among others.
    - `resources`: what each kind of job asks for.
    """

    def __init__(
        self, jobs: Sequence[Job], out: Path, sweep: str, resources: Mapping[str, Resources]
    ):
        self._submitit = _import_submitit()
        self._jobs, self._out, self._sweep = jobs, out.absolute(), sweep
        self._resources = resources
        self._by_name = {job.name: job for job in jobs}
        self._to_do = to_do(jobs, read_states(out, jobs))
        # Of jobs that this process submitted or found in the queue: their file at that time.
        self._seen: dict[str, State | None] = {}
        self._tries: dict[str, int] = {}
        self._refusal = ""

    def step(self, board: Board) -> dict[str, Status]:
        """Submits what can be submitted, and says where each job stands."""
        known = read_queue(self._sweep)
        queue = self._without_cut_short({n: each for n, each in known if not each.is_over})
        last = {name: queued for name, queued in known if queued.is_over}
        self._check_same(queue)
        for name in self._to_do & {*queue} - {*self._seen}:
            self._seen[name] = read_state(self._out, name)
        self._account(queue, last)
        ahead = self._to_do - {*self._seen}
        found = statuses(self._jobs, self._out, queue=queue, ahead=ahead, is_local=False)
        for job in self._jobs:
            if job.name in ahead and found[job.name].stage == "waiting":
                number = self._try_to_submit(job, queue, board)
                if number is None:
                    break
                queue[job.name] = Queued(number, "PENDING", "submitted", digest(job))
                found[job.name] = Status("waiting", f"SLURM job {number}")
        return found

    def _without_cut_short(self, queue: dict[str, Queued]) -> dict[str, Queued]:
        """Cancels what a driver submitted that was killed before it could say what the job does:
        submitit writes that afterwards."""
        cut_short = {
            name: queued.id
            for name, queued in queue.items()
            if not self._submitit.core.utils.JobPaths(
                self._folder, queued.id
            ).submitted_pickle.exists()
        }
        if cut_short:
            subprocess.run(["scancel", *cut_short.values()], check=True)
        return {name: queued for name, queued in queue.items() if name not in cut_short}

    def is_over(self, found: Mapping[str, Status]) -> bool:
        return all(status.stage not in ("running", "waiting") for status in found.values())

    def _check_same(self, queue: Mapping[str, Queued]) -> None:
        """Refuses to go on beside jobs of an earlier version of the plan."""
        other = {
            name: queued.id
            for name, queued in queue.items()
            if name in self._by_name and queued.digest != digest(self._by_name[name])
        }
        if other:
            raise RuntimeError(
                f"SLURM's queue has {len(other)} jobs as an earlier version of this plan says, "
                f"such as {next(iter(other))}. Wait for them, or cancel them with "
                f"`scancel {' '.join(other.values())}` and give the same command again."
            )

    def _account(self, queue: Mapping[str, Queued], last: Mapping[str, Queued]) -> None:
        """What has left the queue is done, or has failed, or is to be submitted again."""
        states = read_states(self._out, self._jobs)
        for job in self._jobs:
            if job.name not in self._seen or job.name in queue:
                continue
            state, ended = states[job.name], last.get(job.name)
            # What its process wrote since, if anything.
            wrote = state.state if state and state != self._seen[job.name] else None
            if wrote == "done" and not is_done(job, states):
                # What it needs was made once more after it.
                del self._seen[job.name]
            elif wrote in ("done", "failed"):
                continue
            elif ended is not None and ended.state == "COMPLETED":
                # Its file comes later than SLURM's word, on some network file systems.
                continue
            elif not job.tolerant and not self._has_all(job, queue, states):
                # SLURM took it back with a job that it needs.
                del self._seen[job.name]
            elif ended is not None and ended.state in _AGAIN and self._may_try_again(job):
                del self._seen[job.name]
            else:
                why = f"SLURM says {ended.state}" if ended else "it left SLURM's queue unfinished"
                state = begin(self._out, job.name, job.spec, job.needs)
                end(self._out, job.name, state, f"{why} (see {self._folder})")
                self._seen[job.name] = None

    def _has_all(
        self, job: Job, queue: Mapping[str, Queued], states: Mapping[str, State | None]
    ) -> bool:
        """Whether all that a job needs was done, so that it could run."""
        return all(
            need not in queue and (need not in self._to_do or is_done(self._by_name[need], states))
            for need in job.needs
        )

    def _may_try_again(self, job: Job) -> bool:
        self._tries[job.name] = self._tries.get(job.name, 0) + 1
        return self._tries[job.name] <= self._resources[job.kind].timeouts

    def _try_to_submit(self, job: Job, queue: Mapping[str, Queued], board: Board) -> str | None:
        """SLURM's number of the job; None if it takes no more for now."""
        before = read_state(self._out, job.name)
        try:
            number = self._submit(job, [queue[need].id for need in job.needs if need in queue])
        except self._submitit.core.utils.FailedJobError as error:
            lines = str(error).strip().splitlines()
            refusals = " ".join([line for line in lines if "sbatch: error" in line] or lines[-1:])
            if not queue:
                raise RuntimeError(f"SLURM does not take {job.name}: {refusals}") from error
            if refusals != self._refusal:
                board.tell(f"SLURM takes no more jobs for now: {refusals}")
            self._refusal = refusals
            return None
        self._seen[job.name] = before
        return number

    def _submit(self, job: Job, after: Sequence[str]) -> str:
        resources = self._resources[job.kind]
        executor = self._submitit.SlurmExecutor(
            folder=self._folder, max_num_timeout=resources.timeouts
        )
        executor.update_parameters(
            **parameters(job, slurm_name(job, self._sweep), resources, after)
        )
        return executor.submit(Work(job, self._out, resources.cpus)).job_id

    @property
    def _folder(self) -> Path:
        return self._out / JOBS / "slurm"


def _import_submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ImportError(
            "SLURM is used through submitit, which is not installed: "
            "pip install 'flowguide[slurm]'."
        ) from error
    if shutil.which("sbatch") is None:
        raise RuntimeError("There is no SLURM here: the command sbatch was not found.")
    return submitit


def run_slurm(
    sweep: SlurmSweep, board: Board, *, wait: bool, poll: float = 15.0
) -> dict[str, Status]:
    """Brings a graph into SLURM's queue, and follows it to its end if asked to.

    **Arguments:**

    - `sweep`: the graph.
    - `board`: where it is shown.
    - `wait`: whether to stay until nothing runs or waits.
    - `poll`: seconds between two looks at SLURM's queue.

    **Returns:**

    Where each job stands.
    """
    found = sweep.step(board)
    board.show(found)
    while wait and not sweep.is_over(found):
        time.sleep(poll)
        try:
            found = sweep.step(board)
        except NoAnswer as error:
            # Its controller may be restarted; what is queued is safe meanwhile.
            board.tell(str(error))
            continue
        board.show(found)
    return found
