"""Against a real SLURM of one node, where Debian's slurm-wlm and munge are installed."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from flowguide.sweep import Status
from flowguide.sweep._plan import KINDS, Resources
from flowguide.sweep._snakemake import asked_of_slurm
from flowguide.sweep._state import job_file, read_state, statuses
from tests.sweep.fake import fake
from tests.sweep.running import ROOT, run, start, wait_until

HERE = Path(__file__).parent
# Where it is set, as in our CI, a SLURM that does not start is an error.
REQUIRED = "FLOWGUIDE_TESTS_NEED_SLURM"

LIKE_A_PLAN = Resources(
    cpus=1, time=30, memory_gb=0.5, partition="main", setup=("export SET_UP=${HOME:+1}",)
)
RESOURCES: dict[str, Resources] = {kind: LIKE_A_PLAN for kind in KINDS}
# What is left of its time is less than the margin: it asks for more at once, so often.
RESOURCES["tune"] = Resources(cpus=1, time=2, timeouts=1, gpus=1)


def free_port() -> int:
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        return first.getsockname()[1]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    if shutil.which("sbatch") is None and not os.environ.get(REQUIRED):
        pytest.skip("SLURM is not installed: apt-get install slurm-wlm munge")
    started = [str(HERE / "start_slurm.sh"), str(folder), str(free_port())]
    # Its daemons would keep a pipe open.
    with (folder / "told").open("w") as told:
        code = subprocess.run(started, stdout=told, stderr=told, timeout=120).returncode
    if code != 0:
        why = f"SLURM does not start here: {(folder / 'told').read_text()}"
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(why)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        # Jobs find the fakes from here.
        patch.syspath_prepend(str(ROOT))
        yield
    subprocess.run([str(HERE / "stop_slurm.sh"), str(folder)], check=True, timeout=120)


def queue() -> list[str]:
    found = subprocess.run(["squeue", "--noheader", "--format=%i %T"], capture_output=True)
    return found.stdout.decode().splitlines()


def starts(out: Path, name: str) -> list[int]:
    """From which numbers a counting went on."""
    log = job_file(out, name, "log")
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.split()[-1]) for line in lines if line.startswith("going on from")]


def counted(out: Path, name: str) -> int:
    file = out / name
    return int(file.read_text()) if file.exists() else 0


def test_a_preempted_job_goes_on_and_a_failure_keeps_back_what_needs_it(slurm, tmp_path: Path):
    out, found = tmp_path, {}
    jobs = [
        fake("critic.a", "fail_unless", file="data"),
        fake("critic.b", "count", to=40),
        fake("evaluate.a", needs=["critic.a"]),
        fake("evaluate.b", needs=["critic.b"]),
        fake("tune.a", "count", to=100),
        fake("report", needs=["evaluate.a", "evaluate.b", "tune.a"], tolerant=True),
    ]

    def finish() -> None:
        found.update(run(jobs, out, slurm=RESOURCES)[0])

    sweep = threading.Thread(target=finish, daemon=True)
    sweep.start()
    # The one has been back in the queue, the other waits for leave to go on.
    wait_until(lambda: counted(out, "critic.b") > 5 and len(starts(out, "tune.a")) == 2)
    urgent = ["--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
    subprocess.run(["sbatch", *urgent], check=True, capture_output=True)
    wait_until(lambda: len(starts(out, "critic.b")) == 2)
    assert statuses(jobs, out)["critic.b"].why.endswith("start 2")
    (out / "go").touch()
    sweep.join(300)
    assert found == {
        "critic.a": Status("failed", "ValueError: there is no data"),
        "critic.b": Status("done"),
        "evaluate.a": Status("blocked", "needs critic.a"),
        "evaluate.b": Status("done"),
        "tune.a": Status("done"),
        "report": Status("done"),
    }
    assert counted(out, "critic.b") == 40 and 5 < starts(out, "critic.b")[1] <= 20
    assert "set up: 1\n" in job_file(out, "critic.b", "log").read_text()
    # What needs it ran once, when it was done.
    assert (out / "evaluate.b").read_text() == "\n" == (out / "report").read_text()


def test_a_killed_sweep_cancels_its_jobs_and_goes_on(slurm, tmp_path: Path):
    from tests.sweep import test_slurm

    code = "import tests.sweep.test_slurm as t; run(t.COUNTING, out, slurm=t.RESOURCES)"
    driver = start(code, tmp_path)
    wait_until(lambda: counted(tmp_path, "critic.a") > 2)
    driver.send_signal(signal.SIGKILL)
    driver.wait(120)
    wait_until(lambda: not queue())
    reached = counted(tmp_path, "critic.a")
    assert read_state(tmp_path, "critic.a")["state"] == "running"
    (tmp_path / "go").touch()
    found, _ = run(test_slurm.COUNTING, tmp_path, slurm=RESOURCES)
    assert found == {"critic.a": Status("done")}
    assert starts(tmp_path, "critic.a") == [0, reached] and counted(tmp_path, "critic.a") == 40
    # What SLURM refuses is not started, and the log says why.
    found, _ = run([fake("policy.a")], tmp_path, slurm={"policy": Resources(partition="none")})
    assert found["policy.a"].why.startswith("it was not started; see")
    assert "invalid partition" in job_file(tmp_path, "snakemake", "log").read_text()


COUNTING = [fake("critic.a", "count", to=40)]


def test_options_of_the_executor():
    extra = {"account": "mine", "qos": "low", "exclusive": True, "mail_user": "a b"}
    found = asked_of_slurm(Resources("gpu", 1, 8, 1.5, 60, 3, ("module load x",), extra))
    assert found == {
        "cpus": 8,
        "resources": {
            "slurm_account": "mine",
            "qos": "low",
            "runtime": 60,
            "cpus_per_task": 8,
            "slurm_partition": "gpu",
            "gpu": 1,
            "mem_mb": 1536,
            "slurm_extra": "--exclusive '--mail-user=a b'",
        },
        "timeouts": 3,
    }
    assert asked_of_slurm(Resources())["resources"] == {"runtime": 240, "cpus_per_task": 4}
