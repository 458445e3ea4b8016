"""Jobs that cost nothing, and say in files what became of them."""

import importlib
import os
import signal
import subprocess
import time
from pathlib import Path

from flowguide.sweep import Job


def fake(name: str, function: str = "write", needs=(), tolerant=False, **arguments) -> Job:
    call = f"tests.sweep.fake:{function}"
    return Job(name, name.split(".")[0], call, {"name": name, **arguments}, tuple(needs), tolerant)


def write(out: Path, arguments, cpus: int) -> None:
    """One more line in the job's file."""
    del cpus
    with (out / arguments["name"]).open("a") as file:
        file.write(f"{arguments.get('text', '')}\n")


def imports(out: Path, arguments, cpus: int) -> None:
    """Imports what it is told to."""
    del out, cpus
    importlib.import_module(arguments["module"])


def fail_unless(out: Path, arguments, cpus: int) -> None:
    """Fails, until there is a file."""
    if not (out / arguments["file"]).exists():
        raise ValueError(f"there is\nno {arguments['file']}")
    write(out, arguments, cpus)


def die(out: Path, arguments, cpus: int) -> None:
    del out, arguments, cpus
    os.kill(os.getpid(), signal.SIGKILL)


def start_another(out: Path, arguments, cpus: int) -> None:
    """Starts a process and waits for it, the first time."""
    file = out / "started"
    if not file.exists():
        process = subprocess.Popen(["sleep", "600"])
        partial = file.with_suffix(".partial")
        partial.write_text(f"{os.getpid()} {process.pid}")
        partial.rename(file)
        process.wait()
    write(out, arguments, cpus)


def count(out: Path, arguments, cpus: int) -> None:
    """Counts, with a checkpoint at each number, from the last one on; half way it waits for leave
    to go on."""
    del cpus
    file, to = out / arguments["name"], arguments["to"]
    begin = int(file.read_text()) if file.exists() else 0
    print(f"set up: {os.environ.get('SET_UP')}\ngoing on from {begin}", flush=True)
    for number in range(begin + 1, to + 1):
        while number > to // 2 and not (out / "go").exists():
            time.sleep(0.05)
        time.sleep(0.05)
        partial = file.with_suffix(".partial")
        partial.write_text(str(number))
        partial.rename(file)
