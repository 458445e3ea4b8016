"""Evaluations of runs: into a file, resumed, and tuned. Pendulum: built at once, and no success."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowguide as fg
from flowguide._agent.runs import load_runs, observations_of
from flowguide._system.locks import alone_with
from flowguide.evaluate import cross, evaluate, evaluate_runs, load_agents, tune_runs
from flowguide.evaluate._tune import halving
from flowguide.report import report
from flowguide.results import Condition, read_episodes, summarise

from ..helpers import HIDDEN

TASK = "Pendulum-v1"
UNGUIDED = {"unguided": None}
OPTIONS = {"environment": TASK, "num_envs": 2, "progress": False, "on_message": lambda line: None}


def save_run(folder, seed=0, critic=True):
    policy_key, critic_key = jax.random.split(jax.random.key(seed))
    velocity = fg.nn.VelocityMLP(3, (4, 1), HIDDEN, key=policy_key)
    policy = fg.FlowPolicy(velocity, (4, 1), low=-2.0, high=2.0, num_steps=2)
    ensemble = fg.nn.critic_ensemble(2, 3, (4, 1), HIDDEN, key=critic_key)
    observations = np.random.default_rng(seed).normal(size=(16, 3)).astype(np.float32)
    fg.save(folder, policy, ensemble if critic else None, observations=observations)
    return folder


def save_seeds(folder, *seeds):
    """A run of several training seeds, as `flowguide train` leaves it."""
    for seed in seeds:
        save_run(folder / f"seed_{seed}", seed)
    (folder / "finished.json").write_text(json.dumps({"steps": 1, "seeds": seeds}))
    (folder / "settings.json").write_text(json.dumps({"task": "a-singletask-v0"}))
    return folder


def test_agents_of_a_run(tmp_path):
    agents = load_agents(save_seeds(tmp_path, 0, 2), training="small")
    assert [(agent.train_seed, agent.training) for agent in agents] == [(0, "small"), (2, "small")]
    assert len({agent.model for agent in agents}) == 2
    # The unit is the one that `weight_unit` measures.
    policy, critic, some = agents[0].policy, agents[0].critic, agents[0].observations
    assert critic is not None and np.array_equal(some, observations_of([tmp_path]))
    unit = float(fg.weight_unit(policy, critic, some))
    guidances = cross(["qgf"], weights=[2 * unit], kappas=[2.0], observations=some)
    played = evaluate(agents[0], TASK, guidances, [0], num_envs=1)
    returns = {e.condition.unit: e.episode_return for e in played if e.condition.has_weight}
    assert returns["kappa"] == pytest.approx(returns["raw"], rel=1e-4)
    assert {e.condition.weight for e in played if e.condition.unit == "kappa"} == {2.0}


def test_observations_of_runs(tmp_path):
    one, two = save_seeds(tmp_path / "one", 0, 1), save_run(tmp_path / "two", 5)
    assert np.array_equal(observations_of([one, two]), fg.load_observations(one, seed=0))
    assert np.array_equal(observations_of([two, one]), fg.load_observations(two))
    fg.save(two, *fg.load(two))
    with pytest.raises(ValueError, match=r"kappas.*first run.*holds no observations.*local"):
        observations_of([two, one])
    # Of a folder that is none nothing is said of weights.
    with pytest.raises(
        FileNotFoundError, match=f"^{tmp_path} holds no .*Did you mean '{one}' or '{two}'"
    ):
        observations_of([tmp_path])
    with pytest.raises(IsADirectoryError, match=f"{one} is a folder: .*results.jsonl"):
        evaluate_runs([two], UNGUIDED, 1, one, **OPTIONS)
    with pytest.raises(ValueError, match="No run was given"):
        observations_of([])


def test_runs_that_do_not_go_together(tmp_path):
    one = save_seeds(tmp_path / "one", 0)
    with pytest.raises(ValueError, match="Two runs have the training seed 0"):
        load_runs([one, save_seeds(tmp_path / "two", 0)])
    other = save_seeds(tmp_path / "other", 1)
    (other / "settings.json").write_text(json.dumps({"task": "b-singletask-v0"}))
    with pytest.raises(ValueError, match="different tasks.*b-singletask-v0"):
        load_runs([one, other])
    with pytest.raises(ValueError, match="does not say its task"):
        load_runs([save_run(tmp_path / "saved")])
    with pytest.raises(ValueError, match="No run was given"):
        load_runs([])
    found = load_runs([one / "seed_0"])
    assert found.environment == "a-singletask-v0" and not found.goal_conditioned


def test_an_evaluation_goes_on_from_its_file(tmp_path):
    run = save_seeds(tmp_path / "run", 0, 1)
    file = tmp_path / "folder" / "episodes.jsonl"
    guidances = cross(["qgf"], kappas=[1.0, 5.0], observations=observations_of([run]))
    whole = evaluate_runs([run], guidances, 3, file, **OPTIONS)
    assert len(whole) == 18 and len({episode.key for episode in whole}) == 18
    text = file.read_text()
    # Half a line, and no third of the others, as a killed process leaves it; and an error.
    lines = text.splitlines(keepends=True)
    spoilt = json.dumps({**json.loads(lines[0]), "error": "RuntimeError: once"}) + "\n"
    file.write_text(spoilt + "".join(lines[1:12]) + lines[12][:40])
    said = []
    again = evaluate_runs([run], guidances, 3, file, **{**OPTIONS, "on_message": said.append})
    assert again == whole and file.read_text() == text
    assert "11 of 18 are there already" in said[0]
    # Other episodes of the file stay.
    more = evaluate_runs([run], guidances, 2, file, first_episode_seed=50, **OPTIONS)
    assert len(read_episodes(file)) == 18 + len(more) == 30


def test_a_file_does_not_mix_parameters(tmp_path):
    run = save_run(tmp_path / "run")
    file = tmp_path / "episodes.jsonl"
    evaluate_runs([run], UNGUIDED, 1, file, **OPTIONS)
    with pytest.raises(ValueError, match="other rules: replan None there, 2 here"):
        evaluate_runs([run], UNGUIDED, 1, file, replan=2, **OPTIONS)
    save_run(run, seed=5)
    with pytest.raises(ValueError, match="training seed 0 that another policy or critic played"):
        evaluate_runs([run], UNGUIDED, 1, file, **OPTIONS)


@pytest.mark.parametrize("changed", [{"num_steps": 4}, {"high": 3.0}])
def test_a_file_does_not_mix_policies_of_the_same_networks(tmp_path, changed):
    run = save_run(tmp_path / "run")
    file = tmp_path / "episodes.jsonl"
    evaluate_runs([run], UNGUIDED, 1, file, **OPTIONS)
    policy, critic = fg.load(run)
    fg.save(run, dataclasses.replace(policy, **changed), critic)
    with pytest.raises(ValueError, match="another policy or critic played.*steps or solver differ"):
        evaluate_runs([run], UNGUIDED, 1, file, **OPTIONS)
    assert len(read_episodes(file)) == 1


def test_a_file_does_not_mix_guidances(tmp_path):
    run = save_run(tmp_path / "run")
    file = tmp_path / "episodes.jsonl"
    evaluate_runs([run], {"mine": fg.qgf(0.1)}, 1, file, **OPTIONS)
    with pytest.raises(ValueError, match=r"holds episodes of qgf\(weight=0.1\) under the label 'm"):
        evaluate_runs([run], {"mine": fg.qgf(0.2)}, 1, file, **OPTIONS)
    # Other labels are free, and so is the label elsewhere.
    evaluate_runs([run], {"other": fg.qgf(0.2)}, 1, file, **OPTIONS)
    evaluate_runs([run], {"mine": fg.qgf(0.2)}, 1, file, training="b", **OPTIONS)
    assert len(read_episodes(file)) == 3
    # What 0.1.0 wrote says nothing of the guidance, and counts as the same.
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines = [{**line, "guidance": "", "cost": None, "dropped": None} for line in lines]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = []
    options = {**OPTIONS, "on_message": said.append}
    evaluate_runs([run], {"mine": fg.qgf(0.2)}, 1, file, **options)
    assert "1 of 1 are there already" in said[0]


def test_what_was_dropped_is_told(tmp_path):
    run = save_run(tmp_path / "run")

    def broken(policy, critic):
        return fg.qgf(1.0)(policy, lambda observation, action: jnp.sqrt(action[0, 0]))

    said = []
    options = {**OPTIONS, "on_message": said.append}
    evaluate_runs([run], {"unguided": None, "broken": broken}, 2, tmp_path / "a.jsonl", **options)
    (warned,) = [line for line in said if line.startswith("Warning: ")]
    assert "left unguided" in warned and "broken (" in warned and "unguided (" not in warned


def command(run, file):
    arguments = f"evaluate {run} --environment {TASK} --out {file} --method qgf --weights 0.1 0.5"
    arguments += " --episodes 12 --num-envs 2"
    return [sys.executable, "-m", "flowguide", *arguments.split()]


def test_a_killed_evaluation_plays_what_is_missing(tmp_path):
    run, file = save_run(tmp_path / "run"), tmp_path / "episodes.jsonl"
    whole = tmp_path / "whole.jsonl"
    evaluate_runs([run], cross(["qgf"], weights=[0.1, 0.5]), 12, whole, **OPTIONS)
    process = subprocess.Popen(
        command(run, file), start_new_session=True, stderr=subprocess.DEVNULL
    )
    while not file.exists() or file.read_text().count("\n") < 5:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    played = len(read_episodes(file))
    assert 0 < played < 36 and workers
    done = subprocess.run(command(run, file), capture_output=True, text=True, check=True)
    assert f"{played} of 36 are there already" in done.stdout
    assert file.read_text() == whole.read_text()
    # Nothing of the killed one is left behind.
    assert not [pid for pid in workers if is_alive(pid)]


def children(pid):
    """All descendants of a process, from Linux's /proc."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parents[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_halving():
    assert halving(6, 32) == [8, 16, 32]
    assert halving(8, 30) == [8, 15, 30]
    assert halving(2, 10) == halving(1, 10) == [10]


def test_tuning_chooses_on_other_episodes_than_it_tests(tmp_path):
    run = save_seeds(tmp_path / "run", 0, 1)
    some = observations_of([run])
    candidates = {
        **cross(["qgf"], kappas=[0.5, 2.0, 8.0], observations=some),
        **cross(["best_of_n"], best_of_n=[2]),
        "mine 0.1": fg.ood(0.1),
        "own": lambda policy, critic: fg.ood(0.2)(policy, critic),
    }
    options = {**OPTIONS, "validation_episodes": 4, "test_episodes": 2}
    tuned = tune_runs([run], candidates, tmp_path / "tuned", **options)
    # Three weights of qgf race over 2 and 4 episodes of 2 training seeds; mine has but one.
    assert [sorted(count for count, _ in each.values()) for each in tuned.rounds] == [
        [4, 4, 4, 4],
        [8, 8, 8],
    ]
    chosen = {condition.series: condition for condition in tuned.chosen}
    assert set(chosen) == {"qgf (kappa)", "mine"}
    # Pendulum tells no success: the return decides, over the episodes of the last round.
    returns = {}
    for episode in tuned.validation:
        returns.setdefault(episode.condition, []).append(episode.episode_return)
    last = [c for c in tuned.rounds[-1] if c.series == "qgf (kappa)"]
    assert chosen["qgf (kappa)"] == max(last, key=lambda c: np.mean(returns[c]))
    assert {episode.condition for episode in tuned.test} == {
        Condition(),
        Condition("best of 2"),
        Condition("own"),
        *tuned.chosen,
    }
    seeds = {e.episode_seed for e in tuned.validation}, {e.episode_seed for e in tuned.test}
    assert not seeds[0] & seeds[1] and len(seeds[1]) == 2
    written = json.loads((tmp_path / "tuned" / "tuned.json").read_text())
    assert written["task"] == TASK
    assert written["chosen"] == [condition.label for condition in tuned.chosen]
    assert written["rounds"][0][0]["condition"] in candidates
    # Again: everything is there.
    said = []
    again = tune_runs(
        [run], candidates, tmp_path / "tuned", **{**options, "on_message": said.append}
    )
    assert again == tuned and "16 of 16 are there already" in said[0]
    with pytest.raises(ValueError, match="no candidate has a weight"):
        tune_runs([run], UNGUIDED, tmp_path / "nothing", **options)
    assert summarise(tuned.test) is not None


def aged(file, count, **changed):
    """The first lines of a file as other versions would have written them."""
    lines = file.read_text().splitlines()
    for i in range(count):
        line = json.loads(lines[i])
        line["versions"] |= changed
        lines[i] = json.dumps(line)
    file.write_text("\n".join(lines) + "\n")
    return lines[:count]


def test_lines_keep_the_versions_that_played_them(tmp_path):
    run, file, told = save_run(tmp_path / "run"), tmp_path / "episodes.jsonl", []
    options = {**OPTIONS, "on_message": told.append}
    evaluate_runs([run], UNGUIDED, 2, file, **options)
    old = aged(file, 2, jax="0.0.1", mujoco=None)
    told.clear()
    evaluate_runs([run], UNGUIDED, 4, file, **options)
    assert told[0].startswith(f"Warning: {file}: 2 episodes were played by other versions")
    assert "jax 0.0.1 (not " in told[0] and "mujoco None (not " in told[0]
    assert file.read_text().splitlines()[:2] == old and len(read_episodes(file)) == 4
    told.clear()
    page = report([file], tmp_path / "report", on_message=told.append)
    assert any("2 episodes were played by other versions than the rest" in line for line in told)
    assert "0.0.1" in page.read_text()


def test_one_process_plays_into_a_file(tmp_path):
    run, file = save_run(tmp_path / "run"), tmp_path / "episodes.jsonl"
    with alone_with(file, "playing into"):
        with pytest.raises(RuntimeError, match="Another process is playing into"):
            evaluate_runs([run], UNGUIDED, 2, file, **OPTIONS)
    evaluate_runs([run], UNGUIDED, 2, file, **OPTIONS)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["episodes.jsonl", "run"]


def test_what_is_doubtful_is_told_recorded_and_reported(tmp_path):
    policy, critic = fg.load(save_run(tmp_path / "run"))
    fg.save(tmp_path / "run", dataclasses.replace(policy, low=-0.5, high=0.5), critic)
    file, told = tmp_path / "episodes.jsonl", []
    evaluate_runs([tmp_path / "run"], UNGUIDED, 2, file, **{**OPTIONS, "on_message": told.append})
    doubt = "The policy's actions are in [-0.5, 0.5], the environment takes [-2, 2]"
    assert sum(line.startswith(f"Warning: {doubt}") for line in told) == 1
    assert all(episode.doubts[0].startswith(doubt) for episode in read_episodes(file))
    told.clear()
    report([file], tmp_path / "report", on_message=told.append)
    assert any(line.startswith(f"Of 2 episodes: {doubt}") for line in told)
