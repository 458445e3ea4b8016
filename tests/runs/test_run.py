import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors import SafetensorError

import flowguide as fg
from flowguide import _save, nn, train
from flowguide.data import from_arrays, Windows
from flowguide.ogbench import collect
from flowguide.runs import _recipe, read_metrics

from ..helpers import without_typechecker
from ..train.test_train import promotion_as_optax_needs_it as promotion_as_optax_needs_it
from .runs import NAME, quiet_run, TASK


def test_a_run_and_what_it_leaves(settings, tmp_path):
    told = quiet_run(settings(), tmp_path)
    # Two episodes rarely solve the task.
    assert told[0].startswith(f"Warning: 0 of 2002 rows of {NAME}.npz solve {TASK}")
    assert told[1] == f"{TASK}: 2,002 rows in 2 episodes, 0.00% of the rows are successes."
    policy, critic = fg.load(tmp_path)
    observation, key = jnp.zeros(2), jax.random.key(0)
    action = policy(observation, key=key)
    assert action.shape == (3, 2) and critic(observation, action).shape == ()
    assert policy.num_steps == 10
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [4, 8]
    assert set(lines[0]) == {
        "step",
        "seed",
        "updates_per_second",
        "policy/loss",
        "critic/critic_loss",
        "critic/value_loss",
        "validation/policy/loss",
        "validation/critic/critic_loss",
        "validation/critic/value_loss",
    }
    recorded = json.loads((tmp_path / "settings.json").read_text())
    assert recorded["task"] == TASK and recorded["hidden"] == [8, 8]
    assert recorded["versions"]["jax"] == jax.__version__


def test_the_same_command_again_does_nothing_more(settings, tmp_path):
    quiet_run(settings(), tmp_path)
    before = (tmp_path / "seed_0" / "model.safetensors").stat().st_mtime_ns
    told = quiet_run(settings(), tmp_path)
    assert len(told) == 1 and "is finished already" in told[0]
    assert (tmp_path / "seed_0" / "model.safetensors").stat().st_mtime_ns == before


def test_a_longer_run_goes_on_from_a_shorter_one(settings, tmp_path):
    quiet_run(settings(), tmp_path / "a")
    told = quiet_run(settings(steps=16), tmp_path / "a")
    assert "Going on from the checkpoint at update 8." in told
    quiet_run(settings(steps=16), tmp_path / "b")
    assert eqx.tree_equal(fg.load(tmp_path / "a"), fg.load(tmp_path / "b"))
    with pytest.raises(
        ValueError,
        match="holds a run of 16 steps. It can be prolonged .*, and not be made shorter: got 8",
    ):
        quiet_run(settings(), tmp_path / "a")


def test_another_runs_folder_is_refused(settings, tmp_path):
    quiet_run(settings(), tmp_path)
    with pytest.raises(ValueError, match=r"other settings: discount was 0.99, is 0.5\. Choose"):
        quiet_run(settings(discount=0.5), tmp_path)
    with pytest.raises(ValueError, match="steps was 8, is 16"):
        shutil.rmtree(tmp_path)
        quiet_run(settings(schedule="cosine"), tmp_path)
        quiet_run(settings(schedule="cosine", steps=16), tmp_path)
    quiet_run(settings(steps=6), tmp_path / "unaligned")
    with pytest.raises(ValueError, match=r"if that is a multiple of log_every \(4\)"):
        quiet_run(settings(steps=8), tmp_path / "unaligned")
    # How it is watched may change.
    assert (
        "finished already"
        in quiet_run(settings(schedule="cosine", keep_checkpoints=9), tmp_path)[0]
    )


# Reading a damaged checkpoint, orbax leaves coroutines behind that nobody awaits.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damaged_last_checkpoint(settings, tmp_path):
    quiet_run(settings(steps=8), tmp_path / "a")
    quiet_run(settings(steps=16), tmp_path / "b")
    largest = max((tmp_path / "a/checkpoints/8").rglob("*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"")
    told = quiet_run(settings(steps=16), tmp_path / "a")
    assert any("update 8 in" in line and "is damaged" in line for line in told)
    assert "Going on from the checkpoint at update 4." in told
    assert eqx.tree_equal(fg.load(tmp_path / "a"), fg.load(tmp_path / "b"))
    lines = [read_metrics(tmp_path / name / "metrics.jsonl") for name in "ab"]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]]


def test_several_seeds(settings, tmp_path):
    quiet_run(settings(seeds=3, seed=5), tmp_path / "several")
    quiet_run(settings(seed=6), tmp_path / "one")
    with pytest.raises(ValueError, match=r"training seeds \[5, 6, 7\]: name one"):
        fg.load(tmp_path / "several")
    with pytest.raises(ValueError, match="not 0"):
        fg.load(tmp_path / "several", seed=0)
    several = fg.load(tmp_path / "several", seed=6)
    one = fg.load(tmp_path / "one")
    for a, b in zip(
        *(jax.tree.leaves(eqx.filter(model, eqx.is_array)) for model in (several, one)), strict=True
    ):
        # Batched products round differently.
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    lines = read_metrics(tmp_path / "several" / "metrics.jsonl")
    assert [(line["step"], line["seed"]) for line in lines] == [
        (step, seed) for step in (4, 8) for seed in (5, 6, 7)
    ]


@pytest.mark.parametrize(
    "critic", ["iql", "sarsa", "monte_carlo", "success_to_go", "bootstrapped", "robust", "agf"]
)
def test_a_frozen_policy_serves_every_critic(settings, tmp_path, critic):
    kind = {"critic": "iql"} if critic in ("robust", "agf") else {"critic": "none"}
    quiet_run(settings(**kind), tmp_path / "policy")
    frozen = tmp_path / "policy"
    more = {"target_method": "qgf", "target_best_of_n": 2} if critic == "bootstrapped" else {}
    quiet_run(settings(critic=critic, frozen=frozen, pessimism=0.5, **more), tmp_path / "critic")
    policy, found = fg.load(tmp_path / "critic")
    assert eqx.tree_equal(policy, fg.load(frozen)[0])
    assert isinstance(found, fg.NoiseConditionedCritic) == (critic == "robust")
    assert isinstance(found, fg.Costate) == (critic == "agf")
    method = {"robust": "robust_q", "agf": "agf"}.get(critic, "qgf")
    guided = fg.guide(policy, found, method, weight=1.0)
    action = guided(jnp.zeros(2), key=jax.random.key(0))
    assert np.all(np.isfinite(action))


@pytest.mark.parametrize("task", [TASK, NAME])
def test_a_critic_of_longer_chunks(settings, tmp_path, task):
    quiet_run(settings(task, critic_horizon=7, distil_expectile=0.8), tmp_path)
    policy, critic = fg.load(tmp_path)
    assert policy.action_shape == (3, 2)
    observation = jnp.zeros(2 if task == TASK else 4)
    assert critic(observation, policy(observation, key=jax.random.key(0))).shape == ()
    losses = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert np.isfinite(losses["critic/chunk_loss"]) and "validation/critic/chunk_loss" in losses
    for changes, message in (
        ({"critic": "sarsa"}, "--critic-horizon is one of --critic iql; it is sarsa"),
        ({"critic_horizon": 3}, r"critic_horizon must be above horizon \(3\)"),
        ({"distil_expectile": 1.0}, r"distil_expectile must be in \(0, 1\), got 1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            settings(TASK, **{"critic_horizon": 7, **changes}).check()


@pytest.mark.parametrize("learner", ["edp", "fql", "fawac", "dsrl", "qam"])
def test_a_policy_that_a_finished_runs_critic_trains(settings, tmp_path, learner):
    quiet_run(settings(), tmp_path / "run")
    options = {"learner": learner, "critic": "none", "frozen": tmp_path / "run"}
    # What dsrl learns holds the frozen policy, which several seeds have alike.
    seeds = 2 if learner == "dsrl" else 1
    quiet_run(settings(coefficient=2.0, seeds=seeds, **options), tmp_path / learner)
    cloned, critic = fg.load(tmp_path / "run")
    policy, kept = fg.load(tmp_path / learner, seed=seeds - 1)
    assert eqx.tree_equal(kept, critic) and not eqx.tree_equal(policy, cloned)
    if learner == "dsrl":
        assert policy.steer.scale == 2 and eqx.tree_equal(policy.velocity, cloned.velocity)
    assert policy.num_steps == (1 if learner == "fql" else 10)
    guided = fg.guide(policy, kept, "qgf", weight=1.0)
    assert np.all(np.isfinite(guided(jnp.zeros(2), key=jax.random.key(0))))
    losses = read_metrics(tmp_path / learner / "metrics.jsonl")[-1]
    assert np.isfinite(losses["policy/loss"]) and "critic/loss" not in losses
    for changes, message in (
        (
            {"critic": "iql"},
            f"--learner {learner} learns .* expected --frozen RUN and --critic none",
        ),
        ({"frozen": None}, "expected --frozen RUN and --critic none"),
        ({"coefficient": -1.0}, r"coefficient must be .* 0 .*, got -1.0"),
        ({"average_rate": 0.1}, "--average-rate is one of --learner cloning"),
        ({"learner": "cloning", "coefficient": 1.0}, "--coefficient is one of --learner edp"),
    ):
        with pytest.raises(ValueError, match=message):
            settings(**{**options, **changes}).check()
    quiet_run(settings(critic="none"), tmp_path / "alone")
    with pytest.raises(ValueError, match=f"--learner {learner} learns from a critic, and .* none"):
        quiet_run(settings(**{**options, "frozen": tmp_path / "alone"}), tmp_path / "none")


def test_qam_is_distilled_into_one_step(settings, tmp_path):
    quiet_run(settings(), tmp_path / "run")
    options = {"critic": "none", "learner": "qam", "frozen": tmp_path / "run"}
    quiet_run(settings(coefficient=0.0, **options), tmp_path / "same")
    assert eqx.tree_equal(fg.load(tmp_path / "same"), fg.load(tmp_path / "run"))
    quiet_run(settings(seeds=2, **options), tmp_path / "qam")
    one, other = (fg.load(tmp_path / "qam", seed=seed)[0] for seed in (0, 1))
    assert not eqx.tree_equal(one, other)
    seed = tmp_path / "qam" / "seed_1"
    options |= {"learner": "fql", "frozen": seed, "coefficient": float("inf")}
    quiet_run(settings(**options), tmp_path / "fast")
    assert fg.load(tmp_path / "fast")[0].num_steps == 1
    for learner in ("fawac", "qam"):
        with pytest.raises(ValueError, match="coefficient must be finite and at least 0 .*got inf"):
            settings(**{**options, "learner": learner}).check()


def test_a_setting_that_is_younger_than_the_run_was_its_default(settings, tmp_path):
    quiet_run(settings(), tmp_path)
    file = tmp_path / "settings.json"
    kept = json.loads(file.read_text())
    del kept["critic_horizon"], kept["distil_expectile"]
    file.write_text(json.dumps({**kept, "target_weight": 0.1}))
    quiet_run(settings(), tmp_path)
    with pytest.raises(ValueError, match=r"distil_expectile was 0.5, is 0.8"):
        quiet_run(settings(distil_expectile=0.8), tmp_path)


@pytest.mark.parametrize("name", [NAME, NAME.replace("-v0", "-oraclerep-v0")])
def test_goal_conditioned(settings, tmp_path, name):
    told = quiet_run(
        settings(name, evaluate_every=8, evaluate_episodes=2, evaluate_weights=()), tmp_path
    )
    assert "success in 2 episodes with 95% intervals: unguided 0.00" in told[-1]
    policy, critic = fg.load(tmp_path)
    # Position and goal; as the policy's observation they are one after the other.
    both = jnp.zeros(4)
    assert critic(both, policy(both, key=jax.random.key(0))).shape == ()


def test_evaluation_along_training(settings, tmp_path):
    told = quiet_run(
        settings(evaluate_every=4, evaluate_episodes=2, evaluate_weights=(1.0,)), tmp_path
    )
    shown = [line for line in told if line.startswith("Update ")]
    assert len(shown) == 2 and "unguided 0.00 [0.00, 0.66], qgf 1" in shown[0]
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "episodes" in line]
    assert [line["step"] for line in lines] == [4, 8]
    assert {"success/unguided", "success/qgf 1"} <= set(lines[0])
    assert (tmp_path / "success.png").read_bytes().startswith(b"\x89PNG")


def test_slices(settings, data, tmp_path):
    for i in range(4):
        shutil.copy(data / f"{NAME}.npz", tmp_path / f"{NAME}-{i:03d}.npz")
    shutil.copy(data / f"{NAME}.npz", tmp_path / "pointmaze-large-navigate-v0-000.npz")
    options = {"dataset_dir": tmp_path, "slices": True, "slice_every": 3}
    told = quiet_run(settings(**options), tmp_path / "run")
    # Without a validation file one of the four is held out, and other data are left alone.
    assert told[0].startswith(f"Warning: 0 of 2002 rows of {NAME}-003.npz solve {TASK}")
    assert told[1].startswith(f"{TASK}: 3 slices; the one held out has 2,002 rows in 2 episodes")
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [4, 8]
    shutil.copy(data / f"{NAME}-val.npz", tmp_path / f"{NAME}-000-val.npz")
    told = quiet_run(settings(NAME, **options, seeds=2), tmp_path / "goals")
    assert told[0].startswith(f"{NAME}: 4 slices; the one held out has 1,001 rows in 1 episodes")
    # A run that was interrupted between two slices ends like one that was not.
    quiet_run(settings(NAME, **options, seeds=2, steps=16), tmp_path / "goals")
    quiet_run(settings(NAME, **options, seeds=2, steps=16), tmp_path / "whole")
    found = [fg.load(tmp_path / name, seed=1) for name in ("goals", "whole")]
    assert eqx.tree_equal(*found)


def explodes_at(update, rate):
    return optax.adam(lambda count: jnp.where(jnp.asarray(count) < update, 1e-3, rate))


def counts_to(update):
    """Adam, and a number of its own that no loss tells of."""

    def count(updates, state, params=None):
        return updates, jnp.where(state < update, state + 1, jnp.nan)

    counter = optax.GradientTransformation(lambda params: jnp.zeros(()), count)
    return optax.chain(optax.adam(1e-3), counter)


@pytest.mark.parametrize(
    ("optimiser", "message"),
    [
        (explodes_at(6, 1e30), r"of the learner '(policy|critic)' is not finite at update 8\b"),
        (
            explodes_at(7, jnp.nan),
            r"validation loss '.*' of the learner '(policy|critic)' is not finite after update 8",
        ),
        (
            counts_to(7),
            r"A parameter of the learner '(policy|critic)', or of its optimiser, is not finite "
            r"after update 8, though its ",
        ),
    ],
    ids=["a loss", "a validation loss", "a parameter"],
)
def test_what_is_not_finite_stops_and_names_the_last_good_checkpoint(
    settings, tmp_path, monkeypatch, optimiser, message
):
    monkeypatch.setattr(_recipe, "make_optimiser", lambda settings: optimiser)
    with pytest.raises(
        FloatingPointError, match=rf"{message}.*The last good checkpoint is update 4, in "
    ):
        quiet_run(settings(), tmp_path)
    assert not (tmp_path / "finished.json").exists()


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        (TASK, {"critic": "bootstrapped"}, "--frozen"),
        (NAME, {"critic": "monte_carlo"}, "expected iql or none"),
        (TASK, {"critic": "none", "frozen": Path(".")}, "nothing to learn"),
        (TASK, {"critic": "none", "keep": "best"}, "has none"),
        (TASK, {"checkpoint_every": 6}, r"checkpoint_every must be a multiple of log_every \(4\)"),
        (TASK, {"checkpoint_every": 3}, r"or a part of it, got 3"),
        (TASK, {"pessimism": 1.0, "num_critics": 1}, "--num-critics of at least 2"),
        (TASK, {"target_best_of_n": 4}, "bootstrapped; it is iql"),
        (TASK, {"critic": "success_to_go", "bootstrap_through_success": True}, "takes them out"),
        (TASK, {"critic": "success_to_go", "sparse_rewards": True}, "reads none"),
        (NAME, {"sparse_rewards": True}, "sparse as they are"),
        (TASK, {"seeds": 0}, "seeds must be an integer of at least 1"),
        (TASK, {"log_every": 0}, "log_every must be an integer of at least 1"),
        (TASK, {"flow_steps": 0}, "flow_steps must be an integer of at least 1"),
        (TASK, {"seed": -1}, r"seed must be an integer from 0 to 2\*\*31 - 1, got -1"),
        (TASK, {"seed": 2**32}, r"seed must be an integer from 0 to 2\*\*31 - 1, got 4294967296"),
        (TASK, {"seed": 2**31 - 1, "seeds": 2}, "with 1 more after it"),
        (TASK, {"expectile": 1.5}, r"expectile must be in \(0, 1\), got 1.5"),
        (TASK, {"learning_rate": float("nan")}, "learning_rate must be above 0, got nan"),
        (TASK, {"schedule": "cosine", "warmup_steps": 8}, r"less than steps \(8\)"),
        (TASK, {"evaluate_weights": (1.0, 1.0)}, "repeats a weight"),
        (TASK, {"horizon": 2000}, "No episode has 2000 actions in a row"),
        (TASK, {"frozen": Path("nowhere")}, "nowhere holds no saved policy"),
        ("pointmaze-medium-navigate-singletask-task9-v0", {}, "pointmaze-medium-navigate"),
    ],
)
def test_what_cannot_be_is_refused_and_claims_nothing(settings, tmp_path, task, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        quiet_run(settings(task, **changes), tmp_path)
    # The right command can use the folder.
    assert not (tmp_path / "settings.json").exists()


def test_checkpoints_may_be_closer_than_the_lines_of_a_log(settings, tmp_path):
    quiet_run(settings(checkpoint_every=2, keep_checkpoints=9), tmp_path)
    found = sorted(int(folder.name) for folder in (tmp_path / "checkpoints").iterdir())
    assert found == [2, 4, 6, 8]


def test_folders_may_be_texts(settings, tmp_path):
    some = settings()
    text: Any = str(some.dataset_dir)
    with without_typechecker():
        changed = dataclasses.replace(some, dataset_dir=text)
    assert changed == some and isinstance(changed.dataset_dir, Path)


def test_a_critic_of_data_without_a_task_is_told_why(settings):
    rng = np.random.default_rng(0)
    dataset = from_arrays(rng.normal(size=(20, 2)), rng.uniform(-1, 1, size=(20, 1)))
    learner = train.IQL(
        lambda key: nn.critic_ensemble(2, 2, (1, 1), (8,), key=key),
        lambda key: nn.ValueMLP(2, (8,), key=key),
    )
    message = "batches themselves have values that are not finite: reward, discount.*has no task"
    with pytest.raises(FloatingPointError, match=message):
        train.train(learner, Windows(dataset), steps=4, key=jax.random.key(0), batch_size=4)


def test_a_full_disk_at_the_end_is_an_error_in_words(settings, tmp_path, monkeypatch):
    def full(arrays, path, texts):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(_save, "save_file", full)
    with pytest.raises(OSError, match="model.safetensors could not be written.*No space left"):
        quiet_run(settings(), tmp_path)
    monkeypatch.undo()
    # The last checkpoint is there.
    told = quiet_run(settings(), tmp_path)
    assert "Going on from the checkpoint at update 8." in told and fg.load(tmp_path)


def test_another_generator_by_default_is_the_same_run(settings, tmp_path):
    quiet_run(settings(), tmp_path / "a")
    with jax.default_prng_impl("rbg"):
        quiet_run(settings(), tmp_path / "b")
    a, b = (fg.load(tmp_path / name) for name in "ab")
    assert eqx.tree_equal(a, b)


def test_a_frozen_policy_has_to_fit(settings, tmp_path):
    quiet_run(settings(critic="none", seeds=2), tmp_path / "two")
    frozen = tmp_path / "two" / "seed_1"
    with pytest.raises(ValueError, match=r"such as --frozen .*seed_0"):
        quiet_run(settings(frozen=tmp_path / "two"), tmp_path / "a")
    with pytest.raises(ValueError, match=r"actions of shape \(3, 2\), and those of .*\(4, 2\)"):
        quiet_run(settings(frozen=frozen, horizon=4), tmp_path / "a")
    with pytest.raises(ValueError, match="cannot act on an observation .* 4 numbers with its goal"):
        quiet_run(settings(NAME, frozen=frozen), tmp_path / "a")
    quiet_run(settings(frozen=frozen, steps=4), tmp_path / "a")
    # Another policy under the same name is another run.
    with pytest.raises(ValueError, match="frozen_sha256 was"):
        quiet_run(settings(frozen=tmp_path / "two" / "seed_0", steps=8), tmp_path / "a")


def test_other_data_are_another_run(settings, data, tmp_path):
    quiet_run(settings(steps=4), tmp_path / "run")
    other = tmp_path / "data"
    collect(NAME, 2, other, workers=1, seed=1)
    with pytest.raises(ValueError, match="data_sha256 was"):
        quiet_run(settings(dataset_dir=other), tmp_path / "run")


def test_one_process_at_a_time(settings, tmp_path):
    from flowguide._run_folder import RunFolder
    from flowguide.runs._claim import alone_in

    with (
        alone_in(RunFolder(tmp_path)),
        pytest.raises(RuntimeError, match="Another process is training in"),
    ):
        quiet_run(settings(), tmp_path)


def test_what_is_kept_does_not_depend_on_checkpoints(settings, tmp_path):
    for name, every in (("a", 8), ("b", 2)):
        some = settings(critic="monte_carlo", keep="best", checkpoint_every=every)
        quiet_run(some, tmp_path / name)
    (_, a), (_, b) = (fg.load(tmp_path / name) for name in "ab")
    assert eqx.tree_equal(a, b)
    lines = [read_metrics(tmp_path / name / "metrics.jsonl") for name in "ab"]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]] == [4, 8]


def test_versions_that_trained_are_kept(settings, tmp_path):
    quiet_run(settings(), tmp_path)
    file = tmp_path / "settings.json"
    old = json.loads(file.read_text())
    old["versions"]["jax"] = "0.0.1"
    file.write_text(json.dumps(old))
    told = quiet_run(settings(steps=16), tmp_path)
    assert any(
        "other versions trained the first 8 updates: jax 0.0.1, now" in line for line in told
    )
    found = json.loads(file.read_text())
    assert found["versions"]["jax"] == jax.__version__
    assert found["earlier_versions"] == [{"until": 8, **old["versions"]}]
