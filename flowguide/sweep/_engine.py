"""Snakemake, which ends with whoever started it: run by its path, not imported.

When standard input ends, the process that held it open is gone or wants an end. Then all jobs are
interrupted (on a cluster: cancelled), and killed if that takes too long.
"""

import os
import signal
import sys
import threading
import time

# Seconds that jobs have to end; that a cluster has to cancel its jobs.
PATIENCE = {"local": 5.0, "cluster": 30.0}


def _end_with(stream: int, seconds: float) -> None:
    while os.read(stream, 1):
        pass
    os.killpg(0, signal.SIGINT)
    time.sleep(seconds)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    # Whoever was started in the background of a script ignores interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lifeline = os.dup(0)
    # Nothing that is started from here reads from it.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    patience = PATIENCE["cluster" if "--executor" in sys.argv else "local"]
    threading.Thread(target=_end_with, args=(lifeline, patience), daemon=True).start()
    from snakemake.cli import main

    main(sys.argv[1:])
