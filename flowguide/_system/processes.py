"""Worker processes, forked from a server that imported everything once and started no thread.

A plain fork would copy the threads of JAX and can hang; a spawned process imports for seconds.
"""

import multiprocessing
import multiprocessing.process
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
from typing import Any

START_METHOD = "forkserver"
# `pymp-` and `listener-` with their random letters come behind it, in 107 letters.
LONGEST_FOLDER = 70


def worker_context() -> BaseContext:
    """The context of all worker processes. The first call decides what the server imports."""
    context = multiprocessing.get_context(START_METHOD)
    multiprocessing.set_forkserver_preload(["flowguide._preload"])
    forget_missing_script()
    with _same_imports(), _short_temporary_folder(), without_interrupts():
        forkserver.ensure_running()
    return context


def forget_missing_script() -> None:
    """A script that came through a pipe (`python - < script`) has a name and no file: processes
    would look for it, find nothing, and die."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is not None and not os.path.exists(file) and getattr(main, "__spec__", None) is None:
        del main.__file__


def same_imports() -> dict[str, str]:
    """The variables of an environment in which Python imports what this process imports.

    By itself it would look into the working folder first, and a folder `ogbench` that happens to be
    there would be what is played.
    """
    paths = [os.path.abspath(path) for path in sys.path]
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def _same_imports() -> Iterator[None]:
    """What is started within imports what this process imports."""
    wanted = same_imports()
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def without_interrupts(on_interrupt: Callable[[], object] | None = None) -> Iterator[None]:
    """Puts off a Ctrl-C until the end: neither a half-started process nor one in the middle of its
    imports can end in words. What is started within never sees it.

    **Arguments:**

    - `on_interrupt`: called when it comes, such as to shorten what goes on within.
    """
    # Whoever starts it lets interrupts in again.
    resource_tracker.ensure_running()
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Python interrupts only the main thread, and not one that ignores it.
        with _blocked(signal.SIGINT):
            yield
        return
    has_come = False

    def put_off(*_: Any) -> None:
        nonlocal has_come
        has_come = True
        if on_interrupt is not None:
            on_interrupt()

    before = signal.signal(signal.SIGINT, put_off)
    try:
        with _blocked(signal.SIGINT):
            yield
    finally:
        # None: it was set by what is not Python.
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
        if has_come:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _blocked(number: signal.Signals) -> Iterator[None]:
    """Processes that are started within have the signal blocked."""
    block = getattr(signal, "pthread_sigmask", None)
    if block is None:  # Not on this operating system.
        yield
        return
    before = block(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        block(signal.SIG_SETMASK, before)


@contextmanager
def _short_temporary_folder() -> Iterator[None]:
    """Sockets have names of at most about 100 letters, and TMPDIR can be longer than that."""
    before = tempfile.tempdir
    if len(tempfile.gettempdir()) > LONGEST_FOLDER:
        usable = [folder for folder in ("/tmp", "/var/tmp") if os.access(folder, os.W_OK)]
        if not usable:
            raise OSError(
                f"Worker processes need a temporary folder whose name has at most {LONGEST_FOLDER} "
                f"letters, and TMPDIR is {tempfile.gettempdir()!r}. Set it to a shorter one."
            )
        tempfile.tempdir = usable[0]
    try:
        yield
    finally:
        tempfile.tempdir = before


def why_it_died(what: str) -> str:
    """Why worker processes of the evaluation, or whatever it is, died, as far as one can know."""
    killed = "it was killed (out of memory? try fewer workers)"
    if not hasattr(sys.modules["__main__"], "__file__"):
        return f"Perhaps {killed}."
    return (
        f"Either {killed}, or the calling script starts {what} while it is being imported: call it "
        'under `if __name__ == "__main__":`.'
    )


def cores() -> int:
    """How many cores this process may use."""
    # macOS does not say.
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def start_worker() -> None:
    """What every worker process does first. In the caller's process it does nothing."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    # Ctrl-C reaches all processes of the terminal. The caller's decides; workers finish quietly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Workers can wait for work for ever if the caller is killed: each of a pool's workers holds
    # the pipe's other end, too.
    threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
