import json
import shutil
import sys
import types
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import flowguide as fg
from flowguide.data import collect
from flowguide.train import _recipe, preset, PRESETS, read_metrics, run, Settings

from ..test_train import promotion_as_optax_needs_it as promotion_as_optax_needs_it

NAME = "pointmaze-medium-navigate-v0"
TASK = "pointmaze-medium-navigate-singletask-task1-v0"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    collect(NAME, 2, folder, workers=1)
    return folder


@pytest.fixture
def settings(data):
    return lambda task=TASK, **changes: Settings(
        task,
        **{
            "dataset_dir": data,
            "steps": 8,
            "horizon": 3,
            "hidden": (8, 8),
            "batch_size": 16,
            "log_every": 4,
            "checkpoint_every": 4,
            **changes,
        },
    )


def quiet_run(settings, out):
    told = []
    run(settings, out, tell=told.append, shown=False)
    return told


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
    with pytest.raises(ValueError, match="holds a run of 16 steps, more than 8"):
        quiet_run(settings(), tmp_path / "a")


def test_another_runs_folder_is_refused(settings, tmp_path):
    quiet_run(settings(), tmp_path)
    with pytest.raises(ValueError, match=r"other settings: discount was 0.99, is 0.5\. Choose"):
        quiet_run(settings(discount=0.5), tmp_path)
    with pytest.raises(ValueError, match="steps was 8, is 16"):
        shutil.rmtree(tmp_path)
        quiet_run(settings(schedule="cosine"), tmp_path)
        quiet_run(settings(schedule="cosine", steps=16), tmp_path)
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
    "critic", ["iql", "monte_carlo", "success_to_go", "bootstrapped", "robust"]
)
def test_a_frozen_policy_serves_every_critic(settings, tmp_path, critic):
    kind = {"critic": "iql"} if critic == "robust" else {"critic": "none"}
    quiet_run(settings(**kind), tmp_path / "policy")
    frozen = tmp_path / "policy"
    more = {"target_method": "qgf", "target_best_of_n": 2} if critic == "bootstrapped" else {}
    quiet_run(settings(critic=critic, frozen=frozen, pessimism=0.5, **more), tmp_path / "critic")
    policy, found = fg.load(tmp_path / "critic")
    assert eqx.tree_equal(policy, fg.load(frozen)[0])
    assert isinstance(found, fg.NoiseConditionedCritic) == (critic == "robust")
    method = "robust_q" if critic == "robust" else "qgf"
    guided = fg.guide(policy, found, method, weight=1.0)
    action = guided(jnp.zeros(2), key=jax.random.key(0))
    assert np.all(np.isfinite(action))


@pytest.mark.parametrize("name", [NAME, NAME.replace("-v0", "-oraclerep-v0")])
def test_goal_conditioned(settings, tmp_path, name):
    quiet_run(settings(name), tmp_path)
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
    for i in range(3):
        shutil.copy(data / f"{NAME}.npz", tmp_path / f"{NAME}-{i:03d}.npz")
    told = quiet_run(settings(dataset_dir=tmp_path, slices=True, slice_every=3), tmp_path / "run")
    assert told[0].startswith(f"{TASK}: 3 slices; the one held out has 2,002 rows in 2 episodes")
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [4, 8]


def test_a_loss_that_is_not_finite_names_the_last_good_checkpoint(settings, tmp_path, monkeypatch):
    def explosive(settings):
        return optax.adam(lambda count: jnp.where(count < 6, 1e-3, 1e30))

    monkeypatch.setattr(_recipe, "make_optimiser", explosive)
    with pytest.raises(
        FloatingPointError,
        match=r"of the learner '(policy|critic)' is not finite at update 8\b.*"
        r"The last good checkpoint is update 4, in ",
    ):
        quiet_run(settings(), tmp_path)
    assert not (tmp_path / "finished.json").exists()


def test_a_parameter_that_is_not_finite_is_never_saved(settings, tmp_path, monkeypatch):
    def explosive(settings):
        return optax.adam(lambda count: jnp.where(count < 7, 1e-3, jnp.nan))

    monkeypatch.setattr(_recipe, "make_optimiser", explosive)
    with pytest.raises(
        FloatingPointError,
        match=r"A parameter of the learner '(policy|critic)' is not finite after update 8, "
        r"though its .* The last good checkpoint is update 4",
    ):
        quiet_run(settings(), tmp_path)


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        (TASK, {"critic": "bootstrapped"}, "--frozen"),
        (NAME, {"critic": "monte_carlo"}, "expected iql or none"),
        (TASK, {"critic": "none", "frozen": Path(".")}, "nothing to learn"),
        (TASK, {"checkpoint_every": 6}, r"checkpoint_every must be a multiple of log_every \(4\)"),
        (TASK, {"pessimism": 1.0, "num_critics": 1}, "--num-critics of at least 2"),
        (TASK, {"seeds": 0}, "seeds must be an integer of at least 1"),
    ],
)
def test_settings_that_cannot_be(settings, tmp_path, task, changes, message):
    with pytest.raises(ValueError, match=message):
        quiet_run(settings(task, **changes), tmp_path)
    # Nothing was claimed: the right command can use the folder.
    assert not (tmp_path / "settings.json").exists()


def test_presets():
    paper = preset("paper", TASK)
    assert (paper.hidden, paper.batch_size, paper.discount) == ((1024,) * 4, 1024, 0.999)
    assert (paper.horizon, paper.steps) == (5, 500_000)
    assert all(preset(name, TASK).task == TASK for name in PRESETS)
    with pytest.raises(ValueError, match="Unknown preset 'large'"):
        preset("large", TASK)


def test_tensorboard(settings, tmp_path):
    pytest.importorskip("tensorboardX")
    quiet_run(settings(track=("tensorboard",)), tmp_path)
    (events,) = (tmp_path / "tensorboard").glob("events*")
    assert b"seed_0/policy/loss" in events.read_bytes()


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_other_trackers(settings, tmp_path, monkeypatch, name):
    """Against stand-ins for packages that need an account or a server."""
    seen = []
    run_ = types.SimpleNamespace(log=lambda values, step: seen.append((step, values)))
    stand_in = types.SimpleNamespace(init=lambda **options: run_, log=run_.log)
    monkeypatch.setitem(sys.modules, name, stand_in)
    quiet_run(settings(track=(name,)), tmp_path / "with")
    assert [step for step, _ in seen] == [4, 8] and "seed_0/policy/loss" in seen[0][1]
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'flowguide\[{name}\]'"):
        quiet_run(settings(track=(name,)), tmp_path / "without")


def test_metrics_that_cannot_be_written_wait(tmp_path):
    from flowguide.train._metrics import Metrics

    told = []
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1, "seed": 0}\n{"step": 2, "seed": 0}\n{"step": 3, "se')
    metrics = Metrics(file, step=1, settings={}, tell=told.append)
    # What came after the checkpoint, and half a line, are gone.
    assert [line["step"] for line in read_metrics(file)] == [1]
    file.rename(tmp_path / "aside")
    file.mkdir()
    metrics.write(2, 0, {"loss": 1.0})
    assert "could not be written" in told[0]
    file.rmdir()
    (tmp_path / "aside").rename(file)
    metrics.write(3, 0, {"loss": 2.0})
    assert [line["step"] for line in read_metrics(file)] == [1, 2, 3]
