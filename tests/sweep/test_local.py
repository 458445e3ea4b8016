import dataclasses
import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from flowguide._system.locks import is_locked, locked
from flowguide.sweep import Status
from flowguide.sweep._board import Board, graph_lines, table
from flowguide.sweep._local import run_local
from flowguide.sweep._state import begin, end, is_done, log_file, read_state, read_states, to_do
from flowguide.sweep._status import statuses
from tests.sweep.fake import fake

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def out(tmp_path: Path, monkeypatch) -> Path:
    # Jobs find the fakes from here.
    monkeypatch.chdir(ROOT)
    (tmp_path / "jobs").mkdir()
    return tmp_path


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def run(jobs, out: Path, at_a_time: int = 2) -> tuple[dict[str, Status], str]:
    shown = console()
    with Board(jobs, out, shown) as board:
        found = run_local(jobs, out, board, at_a_time=at_a_time)
    return found, shown.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        # One that has ended stays a zombie where nobody collects it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_failed_job_keeps_back_what_needs_it_and_a_rerun_does_the_rest(out: Path):
    jobs = [
        fake("critic.a", "fail_unless", file="data"),
        fake("evaluate.a", needs=["critic.a"]),
        fake("evaluate.b"),
        fake("report", needs=["evaluate.a", "evaluate.b"], tolerant=True),
    ]
    found, shown = run(jobs, out)
    why = "ValueError: there is no data"
    assert found == {
        "critic.a": Status("failed", why),
        "evaluate.a": Status("blocked", "needs critic.a"),
        "evaluate.b": Status("done"),
        "report": Status("done"),
    }
    assert f"failed: critic.a: {why} (log: {log_file(out, 'critic.a')})" in shown
    assert "Traceback" in log_file(out, "critic.a").read_text()
    assert not (out / "evaluate.a").exists()
    # What is shown later, without a driver, is the same.
    assert statuses(jobs, out) == found
    summary = console()
    summary.print(table(jobs, found, out))
    text = summary.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert why in text and str(log_file(out, "critic.a")) in text
    assert [line.split() for line in text.splitlines()[:3]] == [
        ["jobs", "done", "running", "waiting", "failed", "blocked"],
        ["critic", "-", "-", "-", "1", "-"],
        ["evaluate", "1", "-", "-", "-", "1"],
    ]

    (out / "data").touch()
    found, _ = run(jobs, out)
    assert {status.stage for status in found.values()} == {"done"}
    # What was done did not run again; the report did, for it has one more evaluation.
    lines = {job.name: (out / job.name).read_text().count("\n") for job in jobs}
    assert lines == {"critic.a": 1, "evaluate.a": 1, "evaluate.b": 1, "report": 2}
    assert run(jobs, out)[1] == ""


def test_a_process_that_dies_is_a_failure(out: Path):
    found, _ = run([fake("tune.a", "die")], out)
    why = "the process was ended by SIGKILL (out of memory?)"
    assert found == {"tune.a": Status("failed", why)}


def test_what_is_done_follows_from_the_specification_and_the_results(out: Path):
    first, second = fake("policy.a"), fake("critic.a", needs=["policy.a"])
    for job in (first, second):
        end(out, job.name, begin(out, job.name, job.spec, job.needs), None)
    jobs = [first, second]
    assert to_do(jobs, read_states(out, jobs)) == set()
    changed = [dataclasses.replace(first, arguments={**first.arguments, "text": "x"}), second]
    assert to_do(changed, read_states(out, changed)) == {"policy.a", "critic.a"}
    assert [s.stage for s in statuses(changed, out).values()] == ["waiting", "done"]
    end(out, "policy.a", begin(out, "policy.a", first.spec, ()), None)
    states = read_states(out, jobs)
    assert is_done(first, states) and not is_done(second, states)
    assert statuses(jobs, out)["critic.a"] == Status("waiting", "what it needs has changed")
    # A file that was cut short is that of a job that never ran.
    (out / "jobs" / "policy.a.json").write_text('{"state": "do')
    assert read_state(out, "policy.a") is None
    running = begin(out, "policy.a", first.spec, ())
    assert statuses(jobs, out)["policy.a"] == Status("waiting", "was stopped in the middle")
    assert running.starts == 1 and begin(out, "policy.a", first.spec, ()).starts == 2


# Tests can be started with Ctrl-C ignored, as jobs in the background of a script are; then so would
# be the processes that they start.
DRIVER = """
import signal, sys
from pathlib import Path
import tests.sweep.test_local as t
signal.signal(signal.SIGINT, signal.default_int_handler)
t.run([t.fake('policy.a', 'start_another')], Path(sys.argv[1]))
"""
TIMEOUT = 120


def start_driver(out: Path) -> subprocess.Popen:
    """A driver in a process of its own, whose job starts another process."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(out)], cwd=ROOT, stderr=subprocess.DEVNULL
    )


def test_a_killed_driver_leaves_nobody_behind_and_goes_on(out: Path):
    driver = start_driver(out)
    wait_until((out / "started").exists)
    processes = [int(pid) for pid in (out / "started").read_text().split()]
    jobs = [fake("policy.a", "start_another")]
    assert all(map(is_alive, processes))
    assert statuses(jobs, out)["policy.a"].stage == "running"
    driver.send_signal(signal.SIGKILL)
    driver.wait(TIMEOUT)
    wait_until(lambda: not any(map(is_alive, processes)))
    # Its last thread ends after its first, and only then is its lock free.
    stopped = Status("waiting", "was stopped in the middle")
    wait_until(lambda: statuses(jobs, out)["policy.a"] == stopped)
    assert run(jobs, out)[0]["policy.a"].stage == "done"
    assert (out / "policy.a").read_text() == "\n"


def test_ctrl_c_ends_the_jobs(out: Path):
    driver = start_driver(out)
    wait_until((out / "started").exists)
    processes = [int(pid) for pid in (out / "started").read_text().split()]
    driver.send_signal(signal.SIGINT)
    assert driver.wait(TIMEOUT) != 0
    assert not any(map(is_alive, processes))


def test_locks(tmp_path: Path):
    file = tmp_path / "lock"
    assert not is_locked(file)
    with locked(file, wait=False) as first, locked(file, wait=False) as second:
        assert first and not second
        assert is_locked(file)
    assert not is_locked(file)
    # Not even a child that is forked while it is held keeps it.
    with locked(file, wait=True):
        process = subprocess.Popen(["sleep", "600"])
    assert not is_locked(file)
    process.kill()
    process.wait()


def test_the_lines_of_a_graph():
    jobs = [fake("policy.a"), fake("critic.a", needs=["policy.a"])]
    jobs.append(fake("report", needs=[f"critic.{n}" for n in range(4)]))
    assert graph_lines(jobs) == [
        "policy.a",
        "critic.a  <-  policy.a",
        "report  <-  4 jobs",
        "3 jobs: 1 policy, 1 critic, 1 report.",
    ]


def test_a_long_table_is_cut(tmp_path: Path):
    jobs = [fake(f"critic.{n}") for n in range(30)]
    found = {job.name: Status("failed", "x") for job in jobs}
    shown = console()
    shown.print(table(jobs, found, tmp_path, rows=5))
    text = shown.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "failed: 25 more" in text and "critic.4" in text and "critic.5" not in text


def test_a_terminal_shows_a_table_that_changes(tmp_path: Path):
    jobs = [fake("policy.a")]
    shown = Console(file=io.StringIO(), width=100, force_terminal=True)
    with Board(jobs, tmp_path, shown) as board:
        for stage in ("waiting", "running"):
            board.show({"policy.a": Status(stage)})
        board.tell("a line above it")
    text = shown.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "blocked" in text and "policy.a.log" in text and "a line above it" in text
