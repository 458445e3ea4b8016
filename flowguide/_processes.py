"""Worker processes, forked from a server that imported everything once and started no thread.

A plain fork would copy the threads of JAX and can hang; a spawned process imports for seconds.
"""

import multiprocessing
from multiprocessing.context import BaseContext

START_METHOD = "forkserver"


def worker_context() -> BaseContext:
    """The context of all worker processes. The first call decides what the server imports."""
    multiprocessing.set_forkserver_preload(["flowguide._preload"])
    return multiprocessing.get_context(START_METHOD)
