"""Worker processes, forked from a server that imported everything once and started no thread.

A plain fork would copy the threads of JAX and can hang; a spawned process imports for seconds.
"""

import multiprocessing
import multiprocessing.process
import os
import signal
import threading
from multiprocessing.context import BaseContext

START_METHOD = "forkserver"


def worker_context() -> BaseContext:
    """The context of all worker processes. The first call decides what the server imports."""
    multiprocessing.set_forkserver_preload(["flowguide._preload"])
    return multiprocessing.get_context(START_METHOD)


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
