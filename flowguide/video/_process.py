"""The process that renders, and the talk with it."""

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .._system.processes import forget_missing_script, start_worker, without_interrupts
from ._film import NEEDED, Starter


def in_process(
    work: Callable[[Starter], str | None],
    receive: Callable[[str, str], Any],
    choose: Callable[..., np.ndarray] | None = None,
) -> str | None:
    """Does the work in a fresh process that can render, and returns the problem that it met.

    Not in a forked one: MuJoCo reads its GL backend from the environment when it is imported.

    **Arguments:**

    - `work`: sent there.
    - `receive`: called with the kind and the text of each thing that it sends.
    - `choose`: answers what it asks.
    """
    forget_missing_script()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(work, there), daemon=True)
    with _environment_to_render(), without_interrupts():
        process.start()
    there.close()
    try:
        while True:
            kind, content = here.recv()
            if kind == "done":
                return content
            if kind == "failed":
                raise RuntimeError(f"The process that renders failed:\n{content}")
            if kind == "asked":
                assert choose is not None
                here.send(choose(*content))
            else:
                receive(kind, content)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        process.join()
        return (
            f"the process that renders died (exit code {process.exitcode}), as it does with a "
            f"broken GL library. {NEEDED}"
        )
    finally:
        here.close()
        process.kill()
        process.join()


class _Starter:
    """The other end of the pipe."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def send(self, kind: str, text: str) -> None:
        self._connection.send((kind, text))

    def ask(self, label: str, observation: Any, seed: int, decision: int) -> np.ndarray:
        self._connection.send(("asked", (label, observation, seed, decision)))
        return self._connection.recv()


def _run(work: Callable[[Starter], str | None], connection: Connection) -> None:
    start_worker()
    try:
        problem = work(_Starter(connection))
    except Exception:
        connection.send(("failed", traceback.format_exc()))
    else:
        connection.send(("done", problem))


@contextmanager
def _environment_to_render() -> Iterator[None]:
    """What a process that is started within needs to render without a screen."""
    wanted = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        wanted["MUJOCO_GL"] = "egl"
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
