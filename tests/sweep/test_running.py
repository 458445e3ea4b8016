"""Through a real Snakemake, on this machine. Each start of one takes seconds: tests share them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowguide._system.locks import is_locked, locked
from flowguide.cli._sweep import table
from flowguide.sweep import Status
from flowguide.sweep._state import job_file, read_state, statuses, write_state
from tests.sweep.fake import fake
from tests.sweep.running import console, is_alive, ROOT, run, shown, start, wait_until

TIMEOUT = 120


@pytest.fixture
def out(tmp_path: Path, monkeypatch) -> Path:
    # Jobs find the fakes from here.
    monkeypatch.syspath_prepend(str(ROOT))
    (tmp_path / "jobs").mkdir()
    return tmp_path


def count_lines(jobs, out: Path) -> dict[str, int]:
    files = {job.name: out / job.name for job in jobs}
    return {n: file.read_text().count("\n") if file.exists() else 0 for n, file in files.items()}


def test_failures_keep_back_what_needs_them_and_a_rerun_does_the_rest(out: Path, monkeypatch):
    # In a job of SLURM that is not one of ours, by somebody who has a profile.
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(out / "profile"))
    jobs = [
        fake("collect.a"),
        fake("critic.a", "fail_unless", ["collect.a"], file="data"),
        fake("evaluate.a", needs=["critic.a"]),
        fake("evaluate.b"),
        fake("tune.a", "die"),
        fake("report", needs=["evaluate.a", "evaluate.b", "tune.a"], tolerant=True),
    ]
    # What an older sweep or an earlier plan left: one is as it was, the other is not.
    write_state(out, "collect.a", {"state": "done", "spec": jobs[0].spec, "result": "x"})
    write_state(out, "evaluate.b", {"state": "done", "spec": {"call": "", "arguments": {}}})
    found, lines = run(jobs, out)
    why = "ValueError: there is no data"
    log = job_file(out, "snakemake", "log")
    killed = f"its process was killed (out of memory or time?); see {log}"
    assert found == {
        "collect.a": Status("done"),
        "critic.a": Status("failed", why),
        "evaluate.a": Status("blocked", "needs critic.a"),
        "evaluate.b": Status("done"),
        "tune.a": Status("failed", killed),
        "report": Status("done"),
    }
    assert f"failed: critic.a: {why} (log: {job_file(out, 'critic.a', 'log')})" in lines
    assert "blocked: evaluate.a: needs critic.a" in lines and "done: report" in lines
    assert "Traceback" in job_file(out, "critic.a", "log").read_text()
    assert count_lines(jobs, out) == {
        "collect.a": 0,
        "critic.a": 0,
        "evaluate.a": 0,
        "evaluate.b": 1,
        "tune.a": 0,
        "report": 1,
    }
    summary = console()
    summary.print(table(jobs, found, out))
    text = shown(summary)
    assert why in text and str(job_file(out, "critic.a", "log")) in text
    assert [line.split() for line in text.splitlines()[:4]] == [
        ["jobs", "done", "running", "waiting", "failed", "blocked"],
        ["collect", "1", "-", "-", "-", "-"],
        ["critic", "-", "-", "-", "1", "-"],
        ["evaluate", "1", "-", "-", "-", "1"],
    ]

    # What failed is tried again, and another specification is done once more, with all that needs
    # it; what was done does not run again.
    (out / "data").touch()
    jobs[3] = fake("evaluate.b", text="x")
    jobs[4] = fake("tune.a")
    stages = {name: status.stage for name, status in statuses(jobs, out).items()}
    assert stages["collect.a"] == "done" and stages["evaluate.b"] == "waiting"
    found, _ = run(jobs, out)
    assert {status.stage for status in found.values()} == {"done"}
    again = {"critic.a": 1, "evaluate.a": 1, "evaluate.b": 2, "tune.a": 1, "report": 2}
    assert count_lines(jobs, out) == {"collect.a": 0, **again}

    # Nothing is left to do: Snakemake does not even start.
    log = job_file(out, "snakemake", "log").read_text()
    assert run(jobs, out)[1] == [] and job_file(out, "snakemake", "log").read_text() == log

    # People go on with Snakemake itself: the files that flowguide leaves say what is done.
    job_file(out, "tune.a", "done").unlink()
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "1", "--rerun-triggers", "params"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.defpath}
    subprocess.run(snakemake, cwd=out, env=environment, check=True, capture_output=True)
    assert count_lines(jobs, out) == {"collect.a": 0, **again, "tune.a": 2, "report": 3}


def test_a_sweep_that_ends_takes_its_jobs_with_it_and_goes_on(out: Path):
    jobs = [fake("policy.a", "start_another")]
    for number in (signal.SIGINT, signal.SIGKILL):
        stop_in_the_middle(number, out)
        # Its last thread ends after its first, and only then is its lock free.
        wait_until(lambda: statuses(jobs, out)["policy.a"] == STOPPED)
    assert run(jobs, out)[0]["policy.a"].stage == "done"
    assert (out / "policy.a").read_text() == "\n"
    assert read_state(out, "policy.a")["starts"] == 3


STOPPED = Status("waiting", "was stopped in the middle")


def stop_in_the_middle(number: signal.Signals, out: Path) -> None:
    (out / "started").unlink(missing_ok=True)
    driver = start("run([fake('policy.a', 'start_another')], out)", out)
    wait_until((out / "started").exists)
    processes = [int(pid) for pid in (out / "started").read_text().split()]
    assert all(map(is_alive, processes))
    driver.send_signal(number)
    assert driver.wait(TIMEOUT) != 0
    if number == signal.SIGKILL:
        wait_until(lambda: not any(map(is_alive, processes)))
    assert not any(map(is_alive, processes))


def test_states(out: Path):
    first, second = fake("policy.a"), fake("critic.a", needs=["policy.a"])
    jobs = [first, second]
    write_state(out, "critic.a", {"state": "done", "spec": second.spec})
    # A file that was cut short is that of a job that never ran.
    for text in ('{"state": "do', "[]", ""):
        job_file(out, "policy.a", "json").write_text(text)
        assert read_state(out, "policy.a") == {}
    assert statuses(jobs, out) == {
        "policy.a": Status("waiting"),
        "critic.a": Status("waiting", "what it needs has changed"),
    }
    write_state(out, "policy.a", {"state": "running", "spec": first.spec, "started": "x"})
    assert statuses(jobs, out)["policy.a"] == Status("waiting", "was stopped in the middle")
    with locked(job_file(out, "policy.a", "log"), wait=True):
        assert statuses(jobs, out)["policy.a"] == Status("running", "since x")
    assert json.loads(json.dumps(first.spec)) == first.spec


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


def test_a_long_table_is_cut(tmp_path: Path):
    jobs = [fake(f"critic.{n}") for n in range(30)]
    found = {job.name: Status("failed", "x") for job in jobs}
    summary = console()
    summary.print(table(jobs, found, tmp_path, rows=5))
    text = shown(summary)
    assert "failed: 25 more" in text and "critic.4" in text and "critic.5" not in text
