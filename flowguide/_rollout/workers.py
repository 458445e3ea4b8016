"""Environments in worker processes, which can die or hang."""

import multiprocessing
import tempfile
import threading
import time
from multiprocessing.connection import wait
from typing import Any, NamedTuple, NoReturn

import gymnasium
import jax
import numpy as np

from .._system.processes import START_METHOD, why_it_died, without_interrupts, worker_context
from .make_player import MakePlayer
from .players import MakePlayers, NONE

# Seconds, at least: a simulation of MuJoCo takes one or two.
LONGEST_BUILDING = 300.0


class Lost(Exception):
    """Some processes died or hung. All were replaced, and what their environments played is gone.

    **Attributes:**

    - `culprits`: the numbers of the environments at which they died or hung.
    """

    def __init__(self, culprits: list[int], reason: str):
        super().__init__(reason)
        self.culprits = culprits


class Outcome(NamedTuple):
    """What the environments returned, each field with a leading axis."""

    observations: Any
    done: np.ndarray
    infos: dict[str, np.ndarray]


class Workers:
    """Environments that step together, spread over worker processes.

    **Arguments:**

    - `make`: builds an environment, in its process.
    - `count`: how many environments there are.
    - `processes`: in how many processes, at most.
    - `timeout`: seconds after which a process that has not answered counts as hung.
    """

    def __init__(self, make: MakePlayer, count: int, processes: int, timeout: float):
        self.count, self._timeout = count, timeout
        self._rows = -(-count // processes)
        self._marks_file = tempfile.NamedTemporaryFile(prefix="flowguide-marks-")
        left = range(count, 0, -self._rows)
        np.full(len(left), NONE, np.int32).tofile(self._marks_file.name)
        self._marks = np.memmap(self._marks_file.name, np.int32, "r+")
        self._makers = [
            MakePlayers(make, min(n, self._rows), self._rows, self._marks_file.name, i)
            for i, n in enumerate(left)
        ]
        space: Any = make.action_space
        self.actions_shape = (count, *space["actions"].shape)
        self._start()

    def _start(self) -> None:
        self._is_broken = False
        self._marks[:] = NONE
        worker_context()
        patience = max(10 * self._timeout, LONGEST_BUILDING)
        before, is_late = set(multiprocessing.active_children()), threading.Event()

        def kill_new() -> None:
            for process in set(multiprocessing.active_children()) - before:
                process.kill()

        def give_up() -> None:
            is_late.set()
            kill_new()

        # What builds the environments waits for them without a limit.
        timer = threading.Timer(patience, give_up)
        timer.daemon = True
        timer.start()
        try:
            with without_interrupts(on_interrupt=kill_new):
                self._env = gymnasium.vector.AsyncVectorEnv(
                    self._makers,
                    context=START_METHOD,
                    autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED,
                )
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            reason = self._why_not_built()
            if is_late.is_set():
                reason = f"A worker process has not built its environment in {patience:g} s."
            kill_new()
            self._forget()
            raise RuntimeError(reason) from error
        except KeyboardInterrupt:
            kill_new()
            self._forget()
            raise
        finally:
            timer.cancel()

    def _why_not_built(self) -> str:
        for maker in self._makers:
            problem = maker.problem()
            if problem:
                return (
                    f"A worker process could not build its environment: {problem} This process "
                    "could: what only this one has patched or changed is not there. A function "
                    "that builds the environment, in a module that can be imported, does the same "
                    "everywhere."
                )
        return f"A worker process died when it started. {why_it_died('the evaluation')}"

    def send(self, actions: np.ndarray, seeds: np.ndarray) -> None:
        """Starts a step of every environment: a chunk of actions, or an episode from its seed.

        **Arguments:**

        - `actions`: shape `(count, horizon, *action)`.
        - `seeds`: shape `(count,)`; `GO_ON` where no episode begins.
        """
        try:
            self._env.step_async({"actions": self._spread(actions), "seed": self._spread(seeds)})
        except (BrokenPipeError, ConnectionResetError):
            # Those after the dead one were sent nothing: `receive` must not wait for them.
            self._is_broken = True

    def receive(self) -> Outcome:
        """What the step gave.

        **Raises:**

        `Lost` if a process died or has not answered in time.
        """
        if self._is_broken:
            self._replace_dead()
        self._wait()
        try:
            observations, _, _, _, infos = self._env.step_wait()
        except (EOFError, ConnectionResetError):
            self._replace_dead()
        # What a mask says of each, gymnasium's `_name`, is always yes.
        gathered = {name: self._gather(x) for name, x in infos.items() if not name.startswith("_")}
        return Outcome(jax.tree.map(self._gather, observations), gathered.pop("done"), gathered)

    def _spread(self, rows: np.ndarray) -> np.ndarray:
        """Rows of all environments as those of each process; the last can have some to spare."""
        spare = len(self._makers) * self._rows - self.count
        # Any rows will do: nobody plays them.
        padded = np.concatenate([rows, rows[:1].repeat(spare, axis=0)])
        return padded.reshape(len(self._makers), self._rows, *rows.shape[1:])

    def _gather(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(-1, *x.shape[2:])[: self.count]

    def _wait(self) -> None:
        """Until every process has answered. A dead one's pipe counts as an answer: its end."""
        deadline = time.monotonic() + self._timeout
        silent = [
            i
            for i, pipe in enumerate(self._env.parent_pipes)
            if not pipe.poll(max(0.0, deadline - time.monotonic()))
        ]
        if silent:
            self._replace(silent, f"its worker did not answer for {self._timeout:g} s")

    def _replace_dead(self) -> NoReturn:
        wait([process.sentinel for process in self._env.processes], self._timeout)
        dead = [i for i, process in enumerate(self._env.processes) if not process.is_alive()]
        code = self._env.processes[dead[0]].exitcode
        self._replace(dead, f"its worker process died (exit code {code})")

    def _replace(self, processes: list[int], reason: str) -> NoReturn:
        culprits = [number for i in processes for number in self._playing(i)]
        self._kill()
        self._start()
        raise Lost(culprits, reason)

    def _playing(self, process: int) -> list[int]:
        """The environment at which a process is; all of its own if it is at none."""
        first, mark = process * self._rows, int(self._marks[process])
        if mark != NONE:
            return [first + mark]
        return list(range(first, min(first + self._rows, self.count)))

    def _kill(self) -> None:
        # Not `close`, which waits for answers: a stopped process answers nothing, not even SIGTERM.
        for process in self._env.processes:
            process.kill()
        for process in self._env.processes:
            process.join()
        for pipe in self._env.parent_pipes:
            pipe.close()
        self._env.closed = True

    def close(self) -> None:
        """Ends the processes, whatever they are doing."""
        self._kill()
        self._forget()

    def _forget(self) -> None:
        self._marks_file.close()
        for maker in self._makers:
            maker.forget_problem()
