"""The process of one job: `python -m flowguide.sweep._job`, which `_process` starts.

The first line of its standard input says what it does. When that input ends, whoever started this
process is gone, and it ends as well with all that it started.
"""

import importlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from .._system.locks import locked
from .._system.processes import cores
from ._state import begin, end, log_file


def main() -> None:
    line = _take_input()
    order = json.loads(line)
    out, name = Path(order["out"]), order["name"]
    # After a driver was killed, and started again, the older process may need a moment to end.
    with locked(log_file(out, name), wait=True):
        state = begin(out, name, order["spec"], order["needs"])
        print(f"--- {state.started}: {name} on {socket.gethostname()}", flush=True)
        why = _call(order["spec"], out, order["cpus"])
        end(out, name, state, why)
    sys.exit(0 if why is None else 1)


def _call(spec: dict[str, Any], out: Path, cpus: int | None) -> str | None:
    """Does the work; why it failed, if it did, in a line."""
    module, _, function = spec["call"].partition(":")
    try:
        work = getattr(importlib.import_module(module), function)
        work(out, spec["arguments"], cpus or cores())
    except KeyboardInterrupt:
        # Its file goes on to say that it runs; that it does not is to be seen from its lock.
        sys.exit("--- stopped")
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


def _take_input() -> str:
    if "SLURM_JOB_ID" in os.environ:
        _ignore_warnings()
    lifeline = os.dup(0)
    # What is started from here must not read from it.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    stream = os.fdopen(lifeline)
    line = stream.readline()

    def end_with_it() -> None:
        stream.read()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=end_with_it, daemon=True).start()
    return line


def _ignore_warnings() -> None:
    """SLURM sends signals to all processes of a job some time before it ends them. To the first,
    for a time limit, the process reacts that waits for this one. The second begins a preemption,
    and what is done until the end of it counts."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    # A function, which workers do not inherit: they are ended with this signal.
    signal.signal(signal.SIGTERM, lambda number, frame: None)


if __name__ == "__main__":
    main()
