"""The examples that look at trained policies, on tiny ones."""

import importlib
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import flowguide
from flowguide.results import Condition, Episode, write_episodes

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MAZE = "pointmaze-medium-navigate-singletask-task1-v0"
TINY = {
    "collect": 3,
    "train": {
        "small": {
            "preset": "small",
            "discount": 0.99,
            "hidden": (16, 16),
            "batch_size": 32,
            "steps": 20,
            "log_every": 10,
            "checkpoint_every": 20,
        }
    },
}


@pytest.fixture(scope="module")
def examples():
    """Imports a script of the folder."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        trained: Any = importlib.import_module("trained")
        trained.PLAN.clear()
        trained.PLAN.update(TINY)
        yield importlib.import_module
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module", autouse=True)
def promotion_as_optax_needs_it():
    # optax.adam raises a float to its integer step count, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory, examples, promotion_as_optax_needs_it):
    """Two training seeds, made once; the examples find them."""
    folder = tmp_path_factory.mktemp("runs")
    agents = examples("trained").trained(MAZE, (0, 1), folder)
    assert [agent.policy.action_shape for agent in agents] == [(5, 2)] * 2
    weights = [agent.policy.velocity.mlp.layers[0].kernel for agent in agents]
    assert not np.array_equal(*weights)
    return folder


def drawn(folder):
    """The pictures in a folder, each light and dark."""
    found = {file.stem for file in folder.glob("*.svg")}
    dark = {name for name in found if name.endswith("-dark")}
    assert dark == {f"{name}-dark" for name in found - dark}
    return found - dark


@pytest.mark.parametrize(
    ("name", "options", "pictures", "said"),
    [
        ("noise_sensitivity", {"observations": 4}, ["noise_sensitivity_pointmaze"], "at t = 0"),
        ("value_optimisation", {"kappas": (1.0,)}, ["value_optimisation_pointmaze"], "best of 64"),
        (
            "exploitation",
            {"kappas": (1.0, 3.0), "episodes": 1},
            ["exploitation_pointmaze", "critic_error_pointmaze"],
            "claims",
        ),
        (
            "variants",
            {"kappas": (3.0,), "episodes": 1, "best_of_n": (2,)},
            ["compute_pointmaze", "variants_pointmaze"],
            "qgf_orthogonal kappa 3",
        ),
        ("two_objectives", {"prices": (0.0, 1.0)}, ["two_objectives"], "price     1"),
    ],
)
def test_an_example_draws_its_pictures(
    examples, runs, tmp_path, capsys, name, options, pictures, said
):
    before = {file: file.stat().st_mtime for file in runs.rglob("*.safetensors")}
    module = examples(name)
    module.main(module.Settings(tasks=(MAZE,), seeds=(0, 1), runs=runs, out=tmp_path, **options))
    assert drawn(tmp_path) == set(pictures)
    assert said in capsys.readouterr().out
    # Nothing was trained again.
    assert {file: file.stat().st_mtime for file in runs.rglob("*.safetensors")} == before


def test_parts_of_a_guidance_are_compared_in_pairs(examples, runs, tmp_path, capsys, monkeypatch):
    module = examples("parts")
    some = flowguide.load_observations(next(runs.glob("critics/*/small/seed_0")))
    assert len(module.guidances(module.Settings(), some)) == 1 + 6 + 2 * 12
    monkeypatch.delitem(module.ESTIMATES, "posterior")
    options = {"kappas": (3.0,), "alphas": (0.2,), "episodes": 1, "seeds": (0, 1)}
    module.main(module.Settings(tasks=(MAZE,), runs=runs, out=tmp_path, **options))
    said = capsys.readouterr().out
    assert said.count("Against one step, dropped, constant, kappa 3:") == 1
    # The noisy action has no Jacobian, and a share no schedule.
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("| ")]
    found = {row for row in rows if row.count(", ") == 3}
    assert len(found) == 3 + 2 * 3
    assert "one step, exact, score, kappa 3" in found and "noisy, dropped, score, kappa 3" in found


def test_over_optimisation(examples, runs, tmp_path, capsys):
    module = examples("over_optimisation")
    run = examples("trained").critic_run(runs, MAZE, 0)
    settings = module.Settings(
        *(run, tmp_path),
        **{"local": (1.0,), "best_of_n": (1, 2), "bad_steps": 10, "episodes": 1},
        stuck="qgf, best of 2 local 1",
    )
    module.main(settings)
    said = capsys.readouterr().out
    assert "1 of 1 episodes failed. In their second halves: observations within [" in said
    assert "stuck, 10 observations" in said and "Played with the critic 'other_seed'" in said
    names = {f"over_optimisation_{name}" for name in ("good", "other_seed", "bad", "stuck")}
    assert {file.stem.removesuffix("-dark") for file in tmp_path.glob("*.svg")} == names
    trained = module.of_run(tmp_path / "bad")
    assert (trained.steps, trained.seed) == (10, module.of_run(run).seed + 2)


def test_critics_of_growing_quality(examples, runs, tmp_path, capsys):
    module = examples("critic_quality")
    options = {"steps": (10,), "episodes": 1, "seeds": (0, 1)}
    module.main(module.Settings(tasks=(MAZE,), runs=runs, out=tmp_path, **options))
    assert drawn(tmp_path) == {"critic_quality"}
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "qgf kappa 5" in line]
    assert [line.split(",")[1].strip() for line in told] == ["10 updates", "20 updates"]


def test_models_of_growing_size(examples, runs, tmp_path, capsys):
    module = examples("model_size")
    options = {"widths": (4, 8), "depths": (1, 2), "steps": 10, "episodes": 1, "seeds": (0, 1)}
    module.main(module.Settings(tasks=(MAZE,), runs=runs, out=tmp_path, **options))
    assert drawn(tmp_path) == {"model_size"}
    said = capsys.readouterr().out
    policy: Any = flowguide.load(next(runs.rglob("4x1*/seed_0")))[0]
    # Of observation, chunk and time to 4 hidden ones and to the chunk, with biases.
    size = policy.velocity.observation_size + 10 + 16
    assert f"4x1: a policy of {size * 4 + 4 + 4 * 10 + 10:,} parameters" in said
    assert "8x2: a policy of" in said and said.count("best of 4: 0.") == 2


def test_every_method_in_one_dimension(examples, tmp_path, capsys):
    module = examples("methods_1d")
    module.main(module.Settings(out=tmp_path, actions=50))
    assert drawn(tmp_path) == {"methods_1d"}
    told = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:-1]]
    # Those need a network of their own, which one dimension has no use for.
    assert sorted(told) == sorted({*flowguide.CATALOGUE, "unguided"} - {"robust_q", "agf"})


def test_trajectory(examples, runs, tmp_path, capsys):
    module = examples("trajectory")
    module.main(module.Settings(task=MAZE, runs=runs, out=tmp_path))
    assert drawn(tmp_path) == {"trajectory"}
    # In the order in which they were asked for.
    lines = capsys.readouterr().out.splitlines()[:4]
    assert [line.split(":")[0].strip() for line in lines] == ["unguided", "qgf", "ood", "bptt"]


def test_tilted(examples, tmp_path, capsys):
    module = examples("tilted")
    module.main(module.Settings(out=tmp_path, samples=60))
    assert drawn(tmp_path) == {"tilted_quadratic", "tilted_learnt"}
    assert "unguided" in capsys.readouterr().out


def test_rivals_are_counted_on_the_same_episodes(examples, tmp_path, capsys):
    solved = {
        "cloned": {"unguided": 0, "qgf kappa 5": 3},
        "edp": {"unguided": 4, "qgf kappa 5": 1},
        "agf": {"unguided": 0, "agf relative 0.1": 0, "agf relative 1": 2},
    }
    for training, labels in solved.items():
        folder = tmp_path / "evaluations" / MAZE / training
        folder.mkdir(parents=True)
        write_episodes(
            folder / "seed_0.jsonl",
            [
                Episode(Condition(label), 0, i, i < count, 0.0, 1, task=MAZE, training=training)
                for label, count in labels.items()
                for i in range(4)
            ],
        )
    rivals = examples("rivals")
    rivals.main(rivals.Settings(tmp_path))
    _, _, *rows = capsys.readouterr().out.splitlines()
    cells = {row.split(" | ")[0].strip("| "): row.split(" | ")[1:] for row in rows}
    # Of costates the weight that was tuned for the task, and the cloned policy once.
    assert {name: row[0] for name, row in cells.items()} == {
        "edp": "4 of 4",
        "cloned, qgf": "3 of 4",
        "cloned, agf": "2 of 4",
        "edp, qgf": "1 of 4",
        "cloned": "0 of 4",
    }
    assert cells["edp"][1].startswith("+0.") and cells["cloned, qgf"][1] == ""
    assert cells["edp"][3].strip("| ") == "4"
    rivals.main(rivals.Settings(tmp_path, "edp"))
    assert "| edp, qgf | 1 of 4 | -0." in capsys.readouterr().out
    with pytest.raises(SystemExit, match="There are no episodes in"):
        rivals.main(rivals.Settings(tmp_path / "none"))
