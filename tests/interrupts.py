"""Ctrl-C at random moments of every command: `python -m tests.interrupts --times 10`.

Each command is started and interrupted as a terminal does it: its whole process group gets SIGINT.
It must end with 130 and by no signal, leave no process behind, and what was finished whole. Then it
is run to its end.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TASK = "pointmaze-medium-navigate-singletask-task1-v0"
DATASET = "pointmaze-medium-navigate-v0"
PLAN = f"""
tasks = ["{TASK}"]
seeds = [0]
dataset_dir = "data"
[train.tiny]
steps = 400
log_every = 100
checkpoint_every = 100
hidden = [16]
[[evaluate.conditions]]
methods = ["qgf"]
weights = [0.1]
[evaluate]
episodes = 2
"""
# Until then Python imports: there is no command yet that could be stopped in words. So many times
# as long as the help of one takes, since machines have other work, too.
IMPORTED = 1.3


def commands(folder: Path) -> dict[str, list[str]]:
    """What is interrupted; each needs what those before it made."""
    run, results = folder / "run", folder / "results.jsonl"
    train = ["--steps", "6000", "--log-every", "100", "--checkpoint-every", "500"]
    return {
        "collect": ["collect", DATASET, "--episodes", "40", "--out", str(folder / "data")],
        "train": [
            *("train", TASK, "--dataset-dir", str(folder / "data"), "--out", str(run)),
            *(*train, "--hidden", "32", "32"),
        ],
        "evaluate": [
            *("evaluate", str(run), "--weights", "0.1", "--episodes", "6"),
            *("--out", str(results)),
        ],
        "report": ["report", str(results), "--out", str(folder / "report")],
        "sweep": ["sweep", str(folder / "plan.toml"), "--out", str(folder / "sweep")],
    }


def start(arguments: Sequence[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "flowguide", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def in_session(session: int) -> list[int]:
    """The processes of a session that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def interrupt(
    arguments: Sequence[str], after: float, is_due: Callable[[], bool] = lambda: True
) -> tuple[int | None, str, float]:
    """The exit code of a command that is interrupted, its output, and how long it took to stop.

    **Arguments:**

    - `arguments`: of the command.
    - `after`: so many seconds after its start.
    - `is_due`: and when this is true.
    """
    process = start(arguments)
    time.sleep(after)
    while not is_due() and process.poll() is None:
        time.sleep(0.02)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    began = time.perf_counter()
    try:
        output, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    took = time.perf_counter() - began
    # Workers see within moments that they are alone.
    deadline = time.monotonic() + 10
    while (left := in_session(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"{arguments[0]} left the processes {left} behind.")
    return process.returncode, output, took


def run_to_its_end(arguments: Sequence[str]) -> float:
    """How many seconds a command takes that nobody interrupts."""
    began = time.perf_counter()
    process = start(arguments)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, f"{arguments[0]} ended with {process.returncode}:\n{output}"
    return time.perf_counter() - began


def check(name: str, base: Path, times: int, seed: int) -> str:
    """Interrupts a command at random moments, each time from the beginning, and lets it go on.

    **Arguments:**

    - `name`: of the command.
    - `base`: a folder with what it needs, in which it then has been run to its end.
    - `times`, `seed`: how often, and which moments.

    **Returns:**

    A line for people.

    **Raises:**

    `AssertionError` for a wrong exit.
    """
    rng = random.Random(f"{name} {seed}")
    codes, slowest = [], 0.0
    with tempfile.TemporaryDirectory() as fresh:
        shutil.copytree(base, fresh, dirs_exist_ok=True)
        duration = run_to_its_end(commands(base)[name])
        earliest = IMPORTED * run_to_its_end([name, "--help"])
        for number in range(times):
            folder = Path(fresh) / f"attempt_{number}"
            shutil.copytree(fresh, folder, ignore=shutil.ignore_patterns("attempt_*"))
            arguments = commands(folder)[name]
            after = rng.uniform(earliest, max(duration, earliest))
            code, output, took = interrupt(arguments, after)
            # 0: it was done before.
            assert code in (130, 0), f"{name} after {after:.2f} s ended with {code}:\n{output}"
            assert "Traceback" not in output and "leaked" not in output, (
                f"{name} after {after:.2f} s:\n{output}"
            )
            codes.append(code)
            slowest = max(slowest, took)
            # What it left is no obstacle.
            run_to_its_end(arguments)
            shutil.rmtree(folder)
    return (
        f"{name} ({duration:.1f} s): {codes.count(130)} of {times} interrupted (exit 130), "
        f"{codes.count(0)} done before; the slowest stopped in {slowest:.1f} s; all went on to "
        "their end"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", default=list(commands(Path())))
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plan.toml").write_text(PLAN)
        for command, arguments in commands(folder).items():
            if command in settings.commands:
                print(check(command, folder, settings.times, settings.seed), flush=True)
            else:
                run_to_its_end(arguments)


if __name__ == "__main__":
    main()
