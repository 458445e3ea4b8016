import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest

import flowguide
from flowguide import evaluate, ogbench, report, runs
from flowguide._system.locks import locked
from flowguide.cli._sweep import Sweep
from flowguide.sweep import _kinds as work, make_jobs, read_plan, status, sweep
from flowguide.sweep._state import write_state
from tests.sweep.running import console

TASK = "pointmaze-medium-navigate-singletask-task1-v0"
DATASET = "pointmaze-medium-navigate-v0"
PLAN = f"""
tasks = ["{TASK}"]
seeds = [2]
collect = 2

[train.tiny]
steps = 10
log_every = 10
checkpoint_every = 10
hidden = [8]

[evaluate]
episodes = 1
replan = 2

[[evaluate.conditions]]
methods = ["unguided", "best_of_n"]
best_of_n = [4]

[tune]
validation_episodes = 6
test_episodes = 7
num_envs = 5

[[tune.candidates]]
methods = ["ood"]
kappas = [1]
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    file = tmp_path / "plan.toml"
    file.write_text(PLAN)
    return file


def test_what_the_jobs_call(plan: Path, tmp_path: Path, capsys, monkeypatch):
    """With the real signatures; the real work is minutes, and tested where it is."""
    calls = {}
    for where, name in (
        *((ogbench, "collect"), (ogbench, "load_ogbench"), (runs, "run")),
        *((evaluate, "evaluate_runs"), (evaluate, "tune_runs"), (report, "report")),
    ):
        calls[name] = create_autospec(getattr(where, name))
        monkeypatch.setattr(where, name, calls[name])
    calls["evaluate_runs"].return_value = []
    out = tmp_path / "out"
    jobs = {job.kind: job for job in make_jobs(read_plan(plan), out)}
    assert [*jobs] == "collect policy critic evaluate tune report".split()

    def do(kind: str) -> None:
        assert jobs[kind].call == f"flowguide.sweep._kinds:{kind}"
        getattr(work, kind)(out, jobs[kind].spec["arguments"], 3)

    for _ in range(2):
        do("collect")
        (out / "data").mkdir(parents=True, exist_ok=True)
        (out / "data" / f"{DATASET}.npz").touch()
    # What is there is not made again.
    calls["collect"].assert_called_once_with(DATASET, 2, out / "data", workers=3, progress=False)
    work.download(out, {"dataset": DATASET, "folder": "~/x"}, 3)
    calls["load_ogbench"].assert_called_once_with(DATASET, Path("~/x").expanduser())

    policy, critic = (
        out / "policies" / DATASET / "tiny/seed_2",
        out / "critics" / TASK / "tiny/seed_2",
    )
    tiny = runs.Settings(
        TASK,
        dataset_dir=out / "data",
        **{"steps": 10, "log_every": 10, "checkpoint_every": 10, "seed": 2, "hidden": (8,)},
    )
    do("policy")
    calls["run"].assert_called_with(dataclasses.replace(tiny, critic="none"), policy)
    do("critic")
    calls["run"].assert_called_with(dataclasses.replace(tiny, frozen=policy), critic)

    played, tuned = out / "evaluations" / TASK / "tiny/seed_2.jsonl", out / "tuned" / TASK / "tiny"
    options = {"training": "tiny", "replan": 2, "num_envs": 24, "timeout": 120.0}
    options |= {"max_episode_steps": None, "success_at": "end", "rescale": False}
    do("evaluate")
    # Guidances are made by the job; one whose fields are equal is the same.
    guidances = {"unguided": None, "best of 4": flowguide.best_of_n(4)}
    calls["evaluate_runs"].assert_called_once_with(
        *([critic], guidances, 1, played), first_episode_seed=0, **options
    )
    # Units are measured from what the run kept, and here there is none.
    with pytest.raises(FileNotFoundError, match="holds no saved policy and critic"):
        do("tune")
    observations = np.ones((4, 3), np.float32)
    flowguide.save(critic, None, None, observations=observations)
    do("tune")
    (call,) = calls["tune_runs"].call_args_list
    assert [*call.args[1]] == ["unguided", "ood kappa 1"]
    expected = flowguide.ood(flowguide.Kappa(1.0, observations))
    assert flowguide.describe(call.args[1]["ood kappa 1"]) == flowguide.describe(expected)
    episodes = {"validation_episodes": 6, "test_episodes": 7}
    options |= {"replan": None, "num_envs": 5}
    assert (call.args[0], call.args[2]) == ([critic], tuned)
    assert call.kwargs == {**episodes, **options}

    with pytest.raises(RuntimeError, match="None of the 2 evaluations"):
        do("report")
    # A report is made of what there is, and says what is missing.
    for file in (played, tuned / "tuned.json"):
        file.parent.mkdir(parents=True)
        file.touch()
        do("report")
    reported = [call.args for call in calls["report"].call_args_list]
    assert reported == [([played], out / "report"), ([played, tuned], out / "report")]
    assert capsys.readouterr().out.count(f"Missing: {tuned}") == 1


def test_an_evaluation_with_errors_is_a_failed_job(tmp_path: Path, monkeypatch):
    @dataclasses.dataclass
    class Played:
        error: str | None = None

    found = [Played(), Played("MujocoException: boom")]
    monkeypatch.setattr("flowguide.evaluate.evaluate_runs", lambda *_, **__: found)
    options = {"replan": None, "num_envs": None, "timeout": 1.0}
    arguments = dict(runs=[], conditions=[], episodes=2, file="x", training="", options=options)
    with pytest.raises(RuntimeError, match="1 of 2 episodes ended with an error, .* boom"):
        work.evaluate(tmp_path, arguments, 1)


def test_dry_run_and_status_change_nothing(plan: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    Sweep(plan, out, dry_run=True).run()
    shown = capsys.readouterr().out
    assert "6 jobs: 1 collect, 1 policy, 1 critic, 1 evaluate, 1 tune, 1 report." in shown
    Sweep(plan, out, status=True).run()
    assert re.search(r"all +- +- +6 +- +-", capsys.readouterr().out)
    assert not out.exists()


def test_what_is_done_is_not_done_again_and_failures_are_the_exit_code(plan: Path, tmp_path: Path):
    out = tmp_path / "out"
    (out / "jobs").mkdir(parents=True)
    jobs = make_jobs(read_plan(plan), out)
    for job in jobs:
        write_state(out, job.name, {"state": "done", "spec": job.spec})
    found = sweep(plan, out, console=console())
    assert (
        {each.stage for each in found[1].values()}
        == {"done"}
        == {each.stage for each in status(plan, out)[1].values()}
    )
    assert (out / "plan.toml").read_text() == PLAN
    Sweep(plan, out).run()


def test_a_sweep_from_data_to_report(plan: Path, tmp_path: Path, capsys):
    played = "episodes = 1\nreplan = 2\nmax_episode_steps = 4\n"
    text = PLAN.partition("[tune]")[0].replace("episodes = 1\nreplan = 2\n", played)
    plan.write_text(text)
    out = tmp_path / "out"
    Sweep(plan, out).run()
    shown = capsys.readouterr().out
    assert re.search(r"all +5 +- +- +- +-", shown)
    assert f"done: critic.tiny.{TASK}.seed_2\n" in shown
    page = out / "report" / "report.html"
    assert f"Next: open {page.absolute().as_uri()} in a browser." in shown
    # The report's numbers are those of what was played.
    lines = (out / "evaluations" / TASK / "tiny" / "seed_2.jsonl").read_text().splitlines()
    assert {json.loads(line)["label"] for line in lines} == {"unguided", "best of 4"}


def test_two_sweeps_in_one_folder(plan: Path, tmp_path: Path):
    out = tmp_path / "out"
    (out).mkdir()
    with locked(out / "lock", wait=False):
        with pytest.raises(RuntimeError, match=f"Another sweep works in {out}"):
            sweep(plan, out, console=console())
    with pytest.raises(ValueError, match="jobs must be an integer of at least 1, got 0"):
        sweep(plan, out, jobs=0)


def test_without_snakemake_or_slurm(plan: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="no SLURM here: the command sbatch was not found"):
        sweep(plan, tmp_path / "out", slurm=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"A sweep needs snakemake.*install 'flowguide\[sweep\]'"):
        sweep(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="neither --slurm nor --jobs"):
        Sweep(plan, tmp_path / "out", write=True, slurm=True).run()
    # What there is can be looked at without it.
    Sweep(plan, tmp_path / "out", status=True).run()


def test_a_workflow_for_other_executors(plan: Path, tmp_path: Path):
    plan.write_text(PLAN + "[slurm]\ncpus = 6\n[slurm.critic]\ngpus = 2\n")
    out = tmp_path / "out"
    Sweep(plan, out, write=True).run()
    workflow = json.loads((out / "workflow.json").read_text())
    assert [job["kind"] for job in workflow["jobs"]] == [*workflow["kinds"]]
    assert {kind["cpus"] for kind in workflow["kinds"].values()} == {6}
    assert workflow["kinds"]["critic"]["resources"]["gpu"] == 2
    listed = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", "--cores", "2"]
    found = subprocess.run(listed, cwd=out, check=True, capture_output=True, text=True)
    assert re.search(r"^evaluate +1$", found.stdout, re.MULTILINE)
