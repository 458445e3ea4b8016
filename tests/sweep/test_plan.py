import dataclasses
import json
import re
from pathlib import Path

import pytest

from flowguide.results import Condition
from flowguide.runs import preset
from flowguide.sweep import make_jobs, read_plan
from flowguide.sweep._plan import (
    Conditions,
    conditions_of,
    Evaluation,
    find_plan,
    Resources,
    Tuning,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "ogbench"
MAZE = "pointmaze-medium-navigate-singletask-task{}-v0"

PLAN = f"""
tasks = ["{MAZE.format(1)}", "{MAZE.format(2)}"]
seeds = [3, 5]
collect = 4

[train.a]
preset = "small"
steps = 100
expectile = 0.7

[train.b]
hidden = [8]

[train.b.tasks."{MAZE.format(2)}"]
critic = "success_to_go"
discount = 0.9

[evaluate]
episodes = 2

[[evaluate.conditions]]
methods = ["qgf"]
kappas = [1]

[[evaluate.conditions]]
methods = ["unguided", "best_of_n"]
best_of_n = [4]

[tune]
validation_episodes = 3

[[tune.candidates]]
methods = ["ood"]
weights = [1, 2]

[slurm]
cpus = 2
extra = {{ account = "x" }}

[slurm.critic]
gpus = 1
extra = {{ qos = "low" }}
"""


PLAIN = "unguided", "best_of_n"


def write(folder: Path, text: str = PLAN) -> Path:
    file = folder / "plan.toml"
    file.write_text(text)
    return file


def kinds(jobs):
    found = {}
    for job in jobs:
        found[job.kind] = found.get(job.kind, 0) + 1
    return found


def test_a_plan_and_its_graph(tmp_path: Path):
    plan = read_plan(write(tmp_path))
    assert plan.seeds == (3, 5) and [t.name for t in plan.trainings] == ["a", "b"]
    assert plan.evaluation and plan.tuning
    assert plan.evaluation.conditions == (
        Conditions(("qgf",), kappas=(1.0,)),
        Conditions(("unguided", "best_of_n"), best_of_n=(4,)),
    )
    assert conditions_of(plan.evaluation.conditions) == [
        Condition(),
        Condition("qgf kappa 1"),
        Condition("best of 4"),
    ]
    assert plan.tuning.test_episodes == 50
    assert plan.resources["policy"] == Resources(cpus=2, extra={"account": "x"})
    assert plan.resources["critic"] == Resources(
        cpus=2, gpus=1, extra={"account": "x", "qos": "low"}
    )
    jobs = make_jobs(plan, tmp_path / "out")
    # The job makes the guidances: a graph is text.
    played = next(job for job in jobs if job.kind == "evaluate").spec["arguments"]
    assert [table["methods"] for table in played["conditions"]] == [["qgf"], [*PLAIN]]
    assert played["conditions"][0]["kappas"] == [1.0]
    # One policy for the dataset's two tasks, for each training and seed.
    assert kinds(jobs) == {
        "collect": 1,
        "policy": 4,
        "critic": 8,
        "evaluate": 8,
        "tune": 4,
        "report": 1,
    }
    by_name = {job.name: job for job in jobs}
    assert len(by_name) == len(jobs)
    before = set()
    for job in jobs:
        assert before.issuperset(job.needs)
        before.add(job.name)
    critic = by_name[f"critic.b.{MAZE.format(2)}.seed_5"]
    policy = by_name["policy.b.pointmaze-medium-navigate-v0.seed_5"]
    assert critic.needs == (policy.name,)
    assert policy.needs == ("collect.pointmaze-medium-navigate-v0",)
    assert critic.arguments["settings"]["frozen"] == policy.arguments["folder"]
    assert policy.arguments["folder"] == "policies/pointmaze-medium-navigate-v0/b/seed_5"
    assert critic.arguments["folder"] == f"critics/{MAZE.format(2)}/b/seed_5"
    tune = by_name[f"tune.a.{MAZE.format(1)}"]
    assert tune.needs == tuple(f"critic.a.{MAZE.format(1)}.seed_{seed}" for seed in (3, 5))
    assert by_name["report"].tolerant and len(by_name["report"].needs) == 12
    assert not any(job.tolerant for job in jobs if job.kind != "report")


def test_settings_of_policies_and_critics(tmp_path: Path):
    jobs = {job.name: job for job in make_jobs(read_plan(write(tmp_path)), tmp_path / "out")}

    def settings(name):
        return jobs[name].arguments["settings"]

    critic = settings(f"critic.a.{MAZE.format(1)}.seed_3")
    assert critic["hidden"] == list(preset("small", "").hidden) and critic["steps"] == 100
    assert critic["discount"] == 0.98 and critic["expectile"] == 0.7 and critic["critic"] == "iql"
    assert critic["seed"] == 3 and critic["seeds"] == 1 and critic["dataset_dir"] == "data"
    policy = settings("policy.a.pointmaze-medium-navigate-v0.seed_3")
    # What is about the critic alone makes no other policy.
    assert policy["critic"] == "none" and policy["expectile"] == 0.9
    assert policy["frozen"] is None and policy["task"] == MAZE.format(1)
    assert policy["steps"] == 100 and policy["discount"] == 0.98
    one, two = (settings(f"critic.b.{MAZE.format(task)}.seed_3") for task in (1, 2))
    assert (one["critic"], one["discount"]) == ("iql", 0.99)
    assert (two["critic"], two["discount"]) == ("success_to_go", 0.9)
    assert settings("policy.b.pointmaze-medium-navigate-v0.seed_3")["discount"] == 0.99


def test_trainings_that_differ_in_their_critics_share_a_policy(tmp_path: Path):
    more = """
[train.c]
preset = "small"
steps = 100
critic = "bootstrapped"
target_best_of_n = 4
num_critics = 10
[train.d]
preset = "small"
steps = 100
critic_horizon = 25
checkpoint_every = 50
[train.e]
preset = "small"
steps = 100
horizon = 4
[train.f]
preset = "small"
steps = 100
discount = 0.9
sparse_rewards = true
"""
    plan = read_plan(write(tmp_path, PLAN.replace("[train.b]", more + "[train.b]")))
    jobs = {job.name: job for job in make_jobs(plan, tmp_path / "out")}
    policies = [name for name in jobs if name.startswith("policy.") and name.endswith("seed_3")]
    assert [name.split(".")[1] for name in policies] == ["a", "e", "b"]
    for training, owner in (("a", "a"), ("c", "a"), ("d", "a"), ("e", "e"), ("f", "a")):
        critic = jobs[f"critic.{training}.{MAZE.format(1)}.seed_3"]
        policy = jobs[f"policy.{owner}.pointmaze-medium-navigate-v0.seed_3"]
        assert critic.needs == (policy.name,)
        assert critic.arguments["settings"]["frozen"] == policy.arguments["folder"]
    settings = jobs[policies[0]].arguments["settings"]
    assert settings["critic_horizon"] is None and settings["discount"] == 0.98
    values = jobs[f"critic.f.{MAZE.format(1)}.seed_3"].arguments["settings"]
    assert values["discount"] == 0.9 and values["sparse_rewards"]


def test_settings_of_all_trainings_give_way_to_those_of_one(tmp_path: Path):
    shared = "[settings]\nhidden = [4]\nsteps = 7\n"
    plan = read_plan(write(tmp_path, PLAN.replace("[train.a]", shared + "[train.a]")))
    a, b = (training.critic_settings(MAZE.format(1)) for training in plan.trainings)
    assert (a.hidden, a.steps, b.hidden, b.steps) == ((4,), 100, (8,), 7)
    with pytest.raises(ValueError, match=r"'stepz'"):
        read_plan(write(tmp_path, PLAN.replace("[train.a]", "[settings]\nstepz = 7\n[train.a]")))
    assert [each.name for each in read_plan("critics").trainings][:2] == ["iql", "mean"]


def test_a_folder_of_data_that_trainings_share_is_filled_once(tmp_path: Path):
    shared = '[settings]\ndataset_dir = "sets"\n'
    plan = read_plan(write(tmp_path, PLAN.replace("[train.a]", shared + "[train.a]")))
    jobs = make_jobs(plan, tmp_path / "out")
    assert kinds(jobs)["collect"] == 1 and jobs[0].arguments["folder"] == str(tmp_path / "sets")
    assert all(job.needs == (jobs[0].name,) for job in jobs if job.kind == "policy")


def test_data_that_are_there_are_not_collected(tmp_path: Path):
    out = tmp_path / "out"
    (out / "data").mkdir(parents=True)
    (out / "data" / "pointmaze-medium-navigate-v0.npz").touch()
    assert "collect" not in kinds(make_jobs(read_plan(write(tmp_path)), out))
    # Without `collect` it is one download for all; a path in a plan counts from its folder.
    text = PLAN.replace("collect = 4", 'dataset_dir = "sets"')
    jobs = make_jobs(read_plan(write(tmp_path, text)), out)
    assert kinds(jobs)["download"] == 1
    assert jobs[0].arguments["folder"] == str(tmp_path / "sets")
    assert all(job.needs == (jobs[0].name,) for job in jobs if job.kind == "policy")


LEARN = """
[learn.c]
source = "b"
learner = "fql"
coefficient = 30
steps = 200
"""


def test_policies_that_a_critic_trains(tmp_path: Path):
    shared = '[settings]\ncritic = "sarsa"\ndiscount = 0.95\n'
    plan = read_plan(write(tmp_path, PLAN + shared + LEARN))
    assert [(t.name, t.source) for t in plan.trainings] == [("a", None), ("b", None), ("c", "b")]
    jobs = {job.name: job for job in make_jobs(plan, tmp_path / "out")}
    found = kinds(jobs.values())
    assert found["learner"] == 4 and found["critic"] == 8 and found["evaluate"] == 12
    name = f"c.{MAZE.format(1)}.seed_5"
    learner, critic = jobs[f"learner.{name}"], jobs[f"critic.b.{MAZE.format(1)}.seed_5"]
    assert learner.needs == (critic.name,)
    settings = learner.arguments["settings"]
    assert settings["frozen"] == critic.arguments["folder"] and settings["critic"] == "none"
    assert (settings["learner"], settings["coefficient"]) == ("fql", 30.0)
    # What all trainings share is learners' too.
    assert (settings["steps"], settings["discount"]) == (200, 0.95)
    assert learner.arguments["folder"] == f"learners/{MAZE.format(1)}/c/seed_5"
    played = jobs[f"evaluate.{name}"]
    assert played.needs == (learner.name,)
    assert played.arguments["runs"] == [learner.arguments["folder"]]
    tuned = jobs[f"tune.c.{MAZE.format(1)}"]
    assert tuned.needs == tuple(f"learner.c.{MAZE.format(1)}.seed_{seed}" for seed in (3, 5))


def test_critics_that_learn_from_a_critic(tmp_path: Path):
    text = PLAN + LEARN.replace('learner = "fql"\ncoefficient = 30', 'critic = "agf"')
    jobs = {job.name: job for job in make_jobs(read_plan(write(tmp_path, text)), tmp_path / "out")}
    learner = jobs[f"learner.c.{MAZE.format(1)}.seed_5"]
    assert learner.needs == (f"critic.b.{MAZE.format(1)}.seed_5",)
    settings = learner.arguments["settings"]
    assert (settings["learner"], settings["critic"]) == ("cloning", "agf")


def test_conditions_of_some_trainings(tmp_path: Path):
    one = '[[evaluate.conditions]]\nmethods = ["bptt"]\nlocal = [1]\ntrainings = ["a"]\n'
    text = PLAN.replace("[evaluate]", "[evaluate]\nfirst_episode_seed = 50") + one
    text += '[[tune.candidates]]\nmethods = ["ode"]\nlocal = [1]\ntrainings = ["a"]\n'
    played = {job.name: job for job in make_jobs(read_plan(write(tmp_path, text)), tmp_path)}
    name = f"{MAZE.format(1)}.seed_5"
    of_a, of_b = (played[f"evaluate.{each}.{name}"].arguments for each in "ab")
    assert of_a["first_episode_seed"] == 50
    asked = [
        [method for table in arguments["conditions"] for method in table["methods"]]
        for arguments in (of_a, of_b)
    ]
    assert asked[0] == [*asked[1], "bptt"] and asked[1]
    with pytest.raises(ValueError, match=r"trainings in .* number 3 must be some of .*'aa'.*'a'"):
        read_plan(write(tmp_path, text.replace('["a"]', '["aa"]', 1)))
    weightless = '[[tune.candidates]]\nmethods = ["best_of_n"]\nbest_of_n = [4]\n'
    of_a_alone = PLAN.replace("[[tune.candidates]]", '[[tune.candidates]]\ntrainings = ["a"]')
    with pytest.raises(ValueError, match="nothing to choose from for 'b': no candidate has a wei"):
        read_plan(write(tmp_path, of_a_alone + weightless))
    with pytest.raises(ValueError, match="first_episode_seed in .evaluate. must be an integer"):
        read_plan(write(tmp_path, text.replace("= 50", "= -1")))


def test_a_training_that_no_table_names_plays_unguided_and_is_not_tuned(tmp_path: Path):
    text = PLAN
    for table in ("[[evaluate.conditions]]", "[[tune.candidates]]"):
        text = text.replace(table, f'{table}\ntrainings = ["a"]')
    jobs = {job.name: job for job in make_jobs(read_plan(write(tmp_path, text)), tmp_path)}
    played = jobs[f"evaluate.b.{MAZE.format(1)}.seed_5"].spec["arguments"]["conditions"]
    assert [table["methods"] for table in played] == [["unguided"]]
    assert {name.split(".")[1] for name, job in jobs.items() if job.kind == "tune"} == {"a"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "b"', "", r"source in .learn.c. must be .* one of \['a', 'b'\], got ''"),
        ('source = "b"', 'source = "bb"', "got 'bb'"),
        ('source = "b"', 'source = "c"', "one of .*, got 'c'"),
        ('learner = "fql"', "", ".learn.c. lacks learner"),
        ('learner = "fql"', 'learner = "ffql"', "learner in .learn.c. must be"),
        ('learner = "fql"', 'critic = "iql"', r"critic in .learn.c. must be one of \['agf', "),
        ('learner = "fql"', 'learner = "fql"\ncritic = "agf"', ".learn.c., .*: --learner fql"),
        ("coefficient = 30", "coefficient = -1", ".learn.c., .*coefficient must be above 0"),
        ("[learn.c]", "[learn.b]", "expected different names"),
    ],
)
def test_errors_of_learners(tmp_path: Path, old, new, message):
    assert old in LEARN
    with pytest.raises(ValueError, match=message):
        read_plan(write(tmp_path, PLAN + LEARN.replace(old, new)))
    with pytest.raises(ValueError, match="learner must not be in .train.a.: .learn.NAME."):
        read_plan(write(tmp_path, PLAN.replace("steps = 100", 'learner = "fql"')))


def test_a_policy_stays_with_the_task_that_it_was_trained_under(tmp_path: Path):
    out = tmp_path / "out"
    folder = out / "policies/pointmaze-medium-navigate-v0/a/seed_3"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps({"task": MAZE.format(4)}))
    jobs = {job.name: job for job in make_jobs(read_plan(write(tmp_path)), out)}
    for seed, task in ((3, 4), (5, 1)):
        policy = jobs[f"policy.a.pointmaze-medium-navigate-v0.seed_{seed}"]
        assert policy.arguments["settings"]["task"] == MAZE.format(task)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = [3, 5]", "", "the plan lacks seeds"),
        ("seeds = [3, 5]", "seeds = [3, 3]", "seeds must be different integers"),
        ("seeds = [3, 5]", "seeds = [3, 4294967296]", "seeds must be an integer from 0 to 2"),
        (
            "seeds = [3, 5]",
            "seeds = [3.5]",
            "each of seeds in the plan must be an integer, got 3.5",
        ),
        ("seeds = [3, 5]", "seed = 3", "the plan has the unknown key 'seed': .*'seeds'"),
        ("collect = 4", "collect = true", "collect in the plan must be an integer, got True"),
        ("task2-v0", "task9-v0", "is no OGBench dataset or task. Did you mean"),
        ("steps = 100", 'steps = "100"', "steps in .train.a. must be an integer, got '100'"),
        ("steps = 100", "step = 100", "unknown key 'step': expected some of .*'steps'"),
        ("steps = 100", "steps = 0", "steps must be an integer of at least 1"),
        ("steps = 100", "seed = 1", "seed must not be in .train.a.: seeds of the plan"),
        ("steps = 100", 'critic = "robust"', "critic in .train.a. must be one of"),
        ('"small"', '"tiny"', "preset in .train.a. must be one of .*'paper'"),
        ("discount = 0.9\n", "horizon = 3\n", "horizon = 3 for .*task2.* and 5 for .*task1"),
        ("[train.b.tasks", "[train.b.names", "unknown key 'names': expected some of"),
        ('b.tasks."pointmaze', 'b.tasks."cube', "unknown key 'cube-"),
        ("[train.a]", '[train."a b"]', "must be named with letters"),
        (
            "kappas = [1]",
            "kappa = [1]",
            "evaluate.conditions.. number 1 has the unknown key 'kappa'",
        ),
        ("kappas = [1]", "", "number 1: 'qgf' needs weights"),
        ("kappas = [1]", "local = [true]", "each of local in .*number 1 must be a number"),
        ("kappas = [1]", "relatives = 1", "relatives in .*number 1 must be a list"),
        ('["qgf"]', '["qfg"]', "number 1: Unknown method 'qfg'"),
        ("episodes = 2\n", "", r"\[evaluate\] lacks episodes"),
        ("episodes = 2\n", "episodes = 0\n", r"episodes in \[evaluate\] must be an integer of at"),
        ("weights = [1, 2]", "best_of_n = [2]", "ood"),
        ("cpus = 2", "cpu = 2", r"\[slurm\] has the unknown key 'cpu'"),
        ("cpus = 2", "cpus = 0", r"cpus in \[slurm\] must be at least 1"),
        ("cpus = 2", "time = 2", r"time in \[slurm\] must be at least 5, got 2"),
        ("[slurm.critic]", "[slurm.train]", r"\[slurm\] has the unknown key 'train'"),
        ("gpus = 1", "gpus = 1.5", r"gpus in \[slurm.critic\] must be an integer"),
        ("seeds = [3, 5]", "seeds = [", "plan.toml: .*line"),
    ],
)
def test_errors_of_plans(tmp_path: Path, old, new, message):
    assert old in PLAN
    with pytest.raises(ValueError, match=message) as found:
        read_plan(write(tmp_path, PLAN.replace(old, new)))
    assert str(tmp_path / "plan.toml") in str(found.value)


def test_more_errors(tmp_path: Path):
    shipped = r"no plan none.toml. Shipped plans: \['critics', 'goals', 'medium', 'ood', "
    shipped += r"'paper', 'rivals', 'rivals_tuning', 'small', 'tiny'\]"
    with pytest.raises(FileNotFoundError, match=shipped):
        read_plan("none.toml")
    goals = PLAN.replace(MAZE.format(2), "pointmaze-medium-navigate-v0")
    with pytest.raises(ValueError, match="cannot share its policy"):
        read_plan(write(tmp_path, goals))
    text = PLAN.replace("pointmaze-medium", "antmaze-medium")
    message = "collect is 4: 'antmaze-medium-navigate-v0' was played by trained.*cannot be made"
    with pytest.raises(ValueError, match=message):
        make_jobs(read_plan(write(tmp_path, text)), tmp_path / "out")
    text = PLAN.split("[evaluate]")[0] + '[tune]\n[[tune.candidates]]\nmethods = ["unguided"]\n'
    with pytest.raises(ValueError, match="nothing to choose from"):
        read_plan(write(tmp_path, text))


def test_the_plans_in_examples(tmp_path: Path):
    paper = read_plan(EXAMPLES / "paper.toml")
    assert len(paper.tasks) == 20 and len(paper.seeds) == 10
    assert kinds(make_jobs(paper, tmp_path)) == {
        "policy": 40,
        "critic": 200,
        "evaluate": 200,
        "tune": 20,
        "report": 1,
    }
    assert paper.evaluation and len(conditions_of(paper.evaluation.conditions)) == 1 + 5 * 9 + 3
    tiny = make_jobs(read_plan(EXAMPLES / "tiny.toml"), tmp_path)
    assert set(kinds(tiny).values()) == {1} and len(tiny) == 6
    small = read_plan(EXAMPLES / "small.toml")
    jobs = make_jobs(small, tmp_path)
    assert kinds(jobs) == {
        "collect": 4,
        "policy": 12,
        "critic": 12,
        "evaluate": 12,
        "tune": 4,
        "report": 1,
    }
    assert small.evaluation and len(conditions_of(small.evaluation.conditions)) == 1 + 2 * 6 + 4 + 1
    rivals = read_plan(EXAMPLES / "rivals.toml")
    rivals = [job for job in make_jobs(rivals, tmp_path) if job.kind == "learner"]
    assert len(rivals) == 5 * 4 * 2
    tuning = make_jobs(read_plan(EXAMPLES / "rivals_tuning.toml"), tmp_path)
    tried = [job.arguments["settings"] for job in tuning if job.kind == "learner"]
    # What is played is what was tried.
    first = [job.arguments["settings"] for job in rivals if job.arguments["settings"]["seed"] == 0]
    assert len(first) == 20 and all(settings in tried for settings in first)
    ood = make_jobs(read_plan(EXAMPLES / "ood.toml"), tmp_path)
    # Ten critics have the policy of two.
    assert (kinds(ood)["policy"], kinds(ood)["critic"]) == (8 * 3, 9 * 3)
    assert small.tuning and len(conditions_of(small.tuning.candidates)) == 1 + 2 * 5 + 1
    for name, counts in (("medium", (4, 20)), ("critics", (2, 2 * 12)), ("goals", (3, 3))):
        found = kinds(make_jobs(read_plan(EXAMPLES / f"{name}.toml"), tmp_path))
        assert (found["policy"], found["critic"]) == counts


def test_shipped_plans_have_names(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_plan("small") == (EXAMPLES / "small.toml", tmp_path)
    paper = read_plan("paper")
    folders = [own.get("dataset_dir") for own in paper.trainings[0].differing.values()]
    assert str(tmp_path / "data" / "scene-play-100m-v0") in folders
    # A file of that name goes first.
    (tmp_path / "small").write_text(PLAN)
    assert find_plan("small") == (Path("small"), tmp_path)


def test_the_plan_in_the_documentation(tmp_path: Path):
    text = (EXAMPLES.parents[1] / "docs" / "sweeps.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    plan = read_plan(write(tmp_path, "\n".join(blocks)))
    assert plan.resources["policy"].partition == "gpu" and plan.resources["evaluate"].gpus == 0
    found = kinds(make_jobs(plan, tmp_path))
    assert found == {
        "collect": 1,
        "policy": 3,
        "critic": 6,
        "learner": 6,
        "evaluate": 12,
        "tune": 4,
        "report": 1,
    }
    # Every key that can be in a plan is described.
    for kind in (Resources, Evaluation, Tuning, Conditions):
        for field in dataclasses.fields(kind):
            assert field.name in text
