"""The process of one job: `python -m flowguide.sweep._job NAME CPUS`, in the sweep's folder."""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from datetime import datetime, UTC
from pathlib import Path
from typing import Any

from .._system.locks import is_locked, locked
from ._state import job_file, read_state, WORKFLOW, write_state

# Seconds before the end of its time at which a job asks SLURM for more: it ends jobs once in a
# minute, and some of them a minute early.
MARGIN = 120


def main(name: str, cpus: int) -> None:
    # Whoever was started in the background of a script ignores interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    out = Path.cwd()
    workflow = json.loads((out / WORKFLOW).read_text())
    job = next((job for job in workflow["jobs"] if job["name"] == name), None)
    if job is None:
        sys.exit(f"--- {name} is no job of this sweep any more: its plan has changed")
    # After a driver was killed, and started again, an older process may work on the same.
    log = job_file(out, name, "log")
    is_second = is_locked(log)
    with locked(log, wait=True):
        before = read_state(out, name)
        before = before if before.get("spec") == job["spec"] else {}
        if is_second and before.get("state") == "done":
            return
        starts = before.get("starts", 0) + 1 if before.get("state") == "running" else 1
        state = {"state": "running", "spec": job["spec"], "started": _now(), "starts": starts}
        write_state(out, name, state)
        print(f"--- {state['started']}: {name} on {socket.gethostname()}")
        asked = workflow["kinds"][job["kind"]]
        # A sweep on the cores of one machine may itself be a job of SLURM, which is not ours.
        if "SLURM_JOB_ID" in os.environ and "timeouts" in asked:
            _stay_in_slurm(asked, starts)
        why = _call(job["spec"], out, cpus)
        verdict = "done" if why is None else "failed"
        write_state(out, name, {**state, "state": verdict, "why": why, "ended": _now()})
    sys.exit(why is not None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _call(spec: dict[str, Any], out: Path, cpus: int) -> str | None:
    """Does the work; why it failed, if it did, in a line."""
    module, _, function = spec["call"].partition(":")
    try:
        getattr(importlib.import_module(module), function)(out, spec["arguments"], cpus)
    except KeyboardInterrupt:
        # Its state goes on to say that it runs; that it does not is to be seen from its lock.
        sys.exit("--- stopped")
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


def _stay_in_slurm(asked: dict[str, Any], starts: int) -> None:
    """Goes back into the queue when the time is over, to go on from the last checkpoint."""
    # It comes before a preemption, and what is done until the end of that counts. A function, which
    # worker processes do not inherit: they are ended with this signal.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    if starts <= asked["timeouts"]:
        requeue = ["scontrol", "requeue", os.environ["SLURM_JOB_ID"]]
        seconds = max(0, 60 * asked["resources"]["runtime"] - MARGIN)
        timer = threading.Timer(seconds, subprocess.run, [requeue])
        timer.daemon = True
        timer.start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
