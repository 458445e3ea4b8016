"""Environments in worker processes, which can die or hang."""

import time
from multiprocessing.connection import wait
from typing import Any, NamedTuple, NoReturn

import gymnasium
import numpy as np

from .._processes import START_METHOD, worker_context
from ._player import MakePlayer


class Lost(Exception):
    """Some workers died or hung. All of them have been replaced, and what they played is gone.

    **Attributes:**

    - `culprits`: the numbers of those that died or hung.
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
    """A vector of environments, each in a process of its own, that step together.

    **Arguments:**

    - `make`: builds an environment, in its worker.
    - `count`: how many there are.
    - `timeout`: seconds after which a worker that has not answered counts as hung.
    """

    def __init__(self, make: MakePlayer, count: int, timeout: float):
        self._make, self.count, self._timeout = make, count, timeout
        space: Any = make.action_space
        self.actions_shape = (count, *space["actions"].shape)
        self._start()

    def _start(self) -> None:
        self._is_broken = False
        worker_context()
        try:
            self._env = gymnasium.vector.AsyncVectorEnv(
                [self._make] * self.count,
                context=START_METHOD,
                autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED,
            )
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise RuntimeError(
                "A worker process died while it built its environment. Either it was killed (out "
                "of memory? try fewer workers), or the calling script starts the evaluation while "
                'it is being imported: call it under `if __name__ == "__main__":`.'
            ) from error

    def send(self, actions: np.ndarray, seeds: np.ndarray) -> None:
        """Starts a step of every environment: a chunk of actions, or an episode from its seed.

        **Arguments:**

        - `actions`: shape `(count, horizon, *action)`.
        - `seeds`: shape `(count,)`; `GO_ON` where no episode begins.
        """
        try:
            self._env.step_async({"actions": actions, "seed": seeds})
        except (BrokenPipeError, ConnectionResetError):
            # Those after the dead one were sent nothing: `receive` must not wait for them.
            self._is_broken = True

    def receive(self) -> Outcome:
        """What the step gave.

        **Raises:**

        `Lost` if a worker died or has not answered in time.
        """
        if self._is_broken:
            self._replace_dead()
        self._wait()
        try:
            observations, _, terminated, _, infos = self._env.step_wait()
        except (EOFError, ConnectionResetError):
            self._replace_dead()
        return Outcome(observations, terminated, infos)

    def _wait(self) -> None:
        """Until every worker has answered. A dead one's pipe counts as an answer: its end."""
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

    def _replace(self, culprits: list[int], reason: str) -> NoReturn:
        self._kill()
        self._start()
        raise Lost(culprits, reason)

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
