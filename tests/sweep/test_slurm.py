"""Against a real SLURM of one node, where Debian's slurm-wlm and munge are installed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flowguide.sweep import Status
from flowguide.sweep._board import Board
from flowguide.sweep._queue import digest, parse_queue, Queued, read_queue
from flowguide.sweep._resources import KINDS, Resources
from flowguide.sweep._sbatch import parameters
from flowguide.sweep._slurm import run_slurm, SlurmSweep
from flowguide.sweep._state import log_file, read_state
from flowguide.sweep._status import statuses
from flowguide.sweep._sweep import _refuse_beside_slurm as refuse_beside_slurm
from tests.sweep.fake import fake
from tests.sweep.test_local import console, ROOT, wait_until

HERE = Path(__file__).parent
SWEEP = "0123abcd"
# Where it is set, as in our CI, a SLURM that does not start is an error.
REQUIRED = "FLOWGUIDE_TESTS_NEED_SLURM"


def free_port() -> int:
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        return first.getsockname()[1]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    if shutil.which("sbatch") is None and not os.environ.get(REQUIRED):
        pytest.skip("SLURM is not installed: apt-get install slurm-wlm munge")
    start = [str(HERE / "start_slurm.sh"), str(folder), str(free_port())]
    # Its daemons would keep a pipe open.
    with (folder / "told").open("w") as told:
        code = subprocess.run(start, stdout=told, stderr=told, timeout=120).returncode
    if code != 0:
        why = f"SLURM does not start here: {(folder / 'told').read_text()}"
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(why)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        # SLURM copies this process's working directory: jobs find the fakes from there.
        patch.chdir(ROOT)
        yield
    subprocess.run([str(HERE / "stop_slurm.sh"), str(folder)], check=True, timeout=120)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "jobs").mkdir()
    return tmp_path


RESOURCES = {
    kind: Resources(cpus=1, time=30, memory_gb=0.5, partition="main", setup=("export SET_UP=1",))
    for kind in KINDS
}


def run(jobs, out: Path, name: str, wait: bool = True) -> dict[str, Status]:
    sweep = SlurmSweep(jobs, out, name, RESOURCES)
    with Board(jobs, out, console()) as board:
        return run_slurm(sweep, board, wait=wait, poll=0.5)


def entries(name: str, of: str) -> list[Queued]:
    return [queued for job, queued in read_queue(name) if job == of]


def cancel(name: str) -> None:
    numbers = [each.id for _, each in read_queue(name) if not each.is_over]
    subprocess.run(["scancel", *numbers], check=True)
    wait_until(lambda: all(each.is_over for _, each in read_queue(name)))


def test_a_graph_runs_to_its_end_and_a_failure_keeps_back_what_needs_it(slurm, out: Path):
    jobs = [
        fake("critic.a", "fail_unless", file="data"),
        fake("evaluate.a", needs=["critic.a"]),
        fake("report", needs=["evaluate.a"], tolerant=True),
    ]
    found = run(jobs, out, "aaaa0000")
    assert found == {
        "critic.a": Status("failed", "ValueError: there is no data"),
        "evaluate.a": Status("blocked", "needs critic.a"),
        "report": Status("done"),
    }
    assert "Traceback" in log_file(out, "critic.a").read_text()
    assert statuses(jobs, out, queue={}) == found
    # Again: what failed, what was kept back by it, and the report, each after the other.
    assert {s.stage for s in run(jobs, out, "aaaa0000", wait=False).values()} == {"waiting"}
    queued = [name for name, each in read_queue("aaaa0000") if not each.is_over]
    assert queued == [job.name for job in jobs]
    cancel("aaaa0000")


def test_an_interrupted_job_goes_on_and_no_driver_submits_it_twice(slurm, out: Path):
    code = (
        "import sys; from pathlib import Path; import tests.sweep.test_slurm as t; "
        "t.run(t.COUNTING, Path(sys.argv[1]), t.SWEEP)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code, str(out)])
    wait_until(lambda: bool(read_queue(SWEEP)))
    # As soon as one job is in the queue.
    driver.send_signal(signal.SIGKILL)
    driver.wait(120)
    for _ in range(2):
        run(COUNTING, out, SWEEP, wait=False)
    number = only_active("critic.a").id
    assert only_active("evaluate.a").reason == "Dependency"
    reached = [0]
    for interrupt in (
        # What comes before a time limit, and before a preemption on some clusters.
        ["scancel", "--signal=USR2", number],
        # A real preemption.
        ["sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"],
    ):
        wait_until(lambda: starts(out) == reached and (reached[-1] > 0 or counted(out) > 5))
        subprocess.run(interrupt, check=True, capture_output=True)
        wait_until(lambda: only_active("critic.a").state == "PENDING")
        reached.append(counted(out))
        stages = statuses(COUNTING, out, queue=dict(read_queue(SWEEP)))
        assert stages["critic.a"].stage == stages["evaluate.a"].stage == "waiting"
    (out / "go").touch()
    assert {s.stage for s in run(COUNTING, out, SWEEP).values()} == {"done"}
    assert counted(out) == 40
    # It went on from where it was, and what needs it ran once, when it was done.
    assert starts(out) == reached and 0 < reached[1] <= reached[2] <= 20
    assert (out / "evaluate.a").read_text() == "\n"
    state = read_state(out, "critic.a")
    assert state is not None and state.starts == 3


COUNTING = [fake("critic.a", "count", to=40), fake("evaluate.a", needs=["critic.a"])]


def only_active(job: str) -> Queued:
    [found] = [each for each in entries(SWEEP, job) if not each.is_over]
    return found


def starts(out: Path) -> list[int]:
    """From which numbers the counting went on."""
    log = log_file(out, "critic.a")
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.split()[-1]) for line in lines if line.startswith("going on from")]


def counted(out: Path) -> int:
    file = out / "critic.a"
    return int(file.read_text()) if file.exists() else 0


def test_a_submission_that_was_cut_short_is_made_again(slurm, out: Path, monkeypatch):
    from submitit.core import utils

    def die(*_, **__):
        raise KeyboardInterrupt

    jobs = [fake("critic.a")]
    with monkeypatch.context() as patch:
        # submitit says what a job does after it has submitted it.
        move = utils.JobPaths.move_temporary_file
        patch.setattr(
            *(utils.JobPaths, "move_temporary_file"),
            lambda self, path, name, **options: (
                die() if name == "submitted_pickle" else move(self, path, name, **options)
            ),
        )
        with pytest.raises(KeyboardInterrupt):
            run(jobs, out, "dddd0000", wait=False)
    [before] = entries("dddd0000", "critic.a")
    assert not before.is_over
    run(jobs, out, "dddd0000", wait=False)
    wait_until(lambda: entries("dddd0000", "critic.a")[0].is_over)
    assert [each.is_over for each in entries("dddd0000", "critic.a")] == [True, False]
    cancel("dddd0000")


def test_jobs_of_an_earlier_plan_are_not_mixed_in(slurm, out: Path):
    job = fake("critic.a", "count", to=10_000)
    assert run([job], out, "bbbb0000", wait=False)["critic.a"].stage == "waiting"
    number = entries("bbbb0000", "critic.a")[0].id
    with pytest.raises(RuntimeError, match=f"an earlier version .* critic.a.*scancel {number}`"):
        run([fake("critic.a", "count", to=10)], out, "bbbb0000", wait=False)
    (out / "sweep.json").write_text('{"name": "bbbb0000", "slurm": true}')
    with pytest.raises(RuntimeError, match=f"add --slurm, or cancel .*scancel {number}`"):
        refuse_beside_slurm(out)
    cancel("bbbb0000")
    refuse_beside_slurm(out)


def test_what_slurm_refuses_is_said(slurm, out: Path):
    resources = {kind: Resources(partition="none") for kind in KINDS}
    sweep = SlurmSweep([fake("policy.a")], out, "cccc0000", resources)
    with Board([], out, console()) as board, pytest.raises(RuntimeError) as found:
        sweep.step(board)
    assert str(found.value).startswith("SLURM does not take policy.a: sbatch: error: invalid part")


def test_without_submitit(out: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ImportError, match=r"pip install 'flowguide\[slurm\]'"):
        SlurmSweep([], out, SWEEP, {})


def test_options_of_sbatch():
    resources = Resources("gpu", 1, 8, 1.5, 60, 3, ("module load x",), {"qos": "low"})
    found = parameters(fake("policy.a"), "name", resources, ["4", "5"])
    assert found == {
        "job_name": "name",
        "time": 60,
        "partition": "gpu",
        "gpus_per_node": 1,
        "cpus_per_task": 8,
        "srun_args": ["--cpus-per-task=8"],
        "mem": "1536MB",
        "setup": ["module load x"],
        "additional_parameters": {
            "requeue": True,
            "dependency": "afterok:4:5",
            "kill-on-invalid-dep": "yes",
            "qos": "low",
        },
    }
    tolerant = parameters(fake("report", tolerant=True), "name", Resources(), ["4"])
    assert tolerant["additional_parameters"]["dependency"] == "afterany:4"
    assert "dependency" not in parameters(fake("a"), "a", Resources(), [])["additional_parameters"]


def test_the_queue_is_read_by_the_names_of_jobs():
    job = fake("policy.a.b-v0.seed_1")
    lines = [
        f"12|PENDING|Dependency|critic.x.{SWEEP}.01234567\n",
        f"9|RUNNING|None|{job.name}.{SWEEP}.{digest(job)}\n",
        "11|RUNNING|None|critic.x.eeeeeeee.01234567\n",
        "10|OUT_OF_MEMORY|None|something|else\n",
    ]
    assert parse_queue(lines, SWEEP) == [
        (job.name, Queued("9", "RUNNING", "None", digest(job))),
        ("critic.x", Queued("12", "PENDING", "Dependency", "01234567")),
    ]
    assert Queued("1", "OUT_OF_MEMORY", "", "").is_over
    other = fake(job.name, text="x")
    assert digest(other) != digest(job)
