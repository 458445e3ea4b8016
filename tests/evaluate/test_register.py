"""Guidances of one's own among the others, on the same episodes."""

import json
import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import flowguide as fg
from flowguide import CATALOGUE
from flowguide.evaluate import Agent, cross, evaluate
from flowguide.results import compare, Condition, read_episodes, write_episodes

from .test_evaluate import agent, in_order, SEEDS, UNGUIDED
from .toys import Fault


@pytest.fixture(autouse=True)
def names_as_before():
    named = dict(CATALOGUE)
    yield
    CATALOGUE.clear()
    CATALOGUE.update(named)


def mine(policy, critic):
    """The same as one of flowguide's, so that its episodes are known."""
    return fg.qgf(2.0)(policy, critic)


def test_a_guidance_of_ones_own_is_compared_with_the_others(tmp_path):
    guidances = {
        "unguided": None,
        "qgf 2": fg.qgf(2.0),
        "mine": mine,
        "mine, best of 2": [mine, fg.best_of_n(2)],
        "by name": ["qgf", "best_of_n"],
        "array": fg.qgf(np.full(2, 2.0)),
        "lambda": lambda policy, critic: fg.qgf(2.0)(policy, critic),
    }
    played = evaluate(agent(), Fault(), guidances, SEEDS, num_envs=1)
    rows = {str(row.condition): row for row in compare(played)}
    assert sorted(rows) == sorted(guidances)
    theirs = rows["qgf 2"]
    for label in ("mine", "array", "lambda"):
        found = rows[label]
        assert found.pairs == len(SEEDS) and found.success == theirs.success
        assert (found.gained, found.lost) == (theirs.gained, theirs.lost)
        returned, expected = found.episode_return, theirs.episode_return
        assert returned and expected and returned.value == pytest.approx(expected.value, rel=1e-5)
        assert (found.cost, found.steps) == (theirs.cost, theirs.steps)
    assert rows["mine"].guidance == "mine" and rows["array"].guidance == "qgf(weight=[2, 2])"
    assert rows["mine, best of 2"].guidance == "[mine, best_of_n(n=2)]"
    assert rows["mine, best of 2"].cost == 2 * fg.Cost(4, 0, 1, 4)
    # No address of this process: another one says the same.
    assert all("0x" not in row.guidance for row in rows.values())
    write_episodes(tmp_path / "mine.jsonl", played)
    assert in_order(read_episodes(tmp_path / "mine.jsonl")) == in_order(played)


def test_another_process_reports_what_it_never_heard_of(tmp_path):
    fg.register(
        "very_own", lambda weight=1.0: lambda policy, critic: fg.qgf(weight)(policy, critic)
    )
    guidances = {**cross(["very_own"], weights=[0.5, 2.0]), "mine": mine}
    assert list(guidances) == ["unguided", "very_own 0.5", "very_own 2", "mine"]
    guidances |= {f"other {w:g}": fg.trust_region(fg.qgf(w), radius=0.2) for w in (0.5, 2.0)}
    file = tmp_path / "episodes.jsonl"
    write_episodes(file, evaluate(agent(), Fault(), guidances, SEEDS, num_envs=2))
    command = [
        sys.executable,
        "-m",
        "flowguide",
        "report",
        str(file),
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for label in guidances:
        assert label in done.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    (group,) = summary["groups"]
    rows = {row["name"]: row for row in group["conditions"]}
    assert sorted(rows) == sorted(guidances)
    assert rows["very_own 2"]["condition"]["weight"] == 2.0
    assert rows["very_own 2"]["guidance"] == "very_own(weight=2)"
    assert rows["mine"]["guidance"] == "mine" and rows["mine"]["steps"] == 4
    assert rows["mine"]["cost"]["forwards"] == 4 + 4 * 2 * 2
    assert "trust_region" in rows["other 2"]["guidance"]
    assert rows["other 2"]["condition"] == {
        **{"label": "other 2", "curve": "other", "weight": 2.0, "unit": "raw"}
    }
    pictures = {file.stem for file in (tmp_path / "out").glob("*.png")}
    assert pictures == {"Fault_weights_raw", "Fault_changes", "Fault_compute"}


def test_guide_finds_it_by_name_with_its_options():
    fg.register("slowed", lambda weight=1.0, factor=0.5: fg.qgf(factor * weight))
    one: Any = agent()
    guided = fg.guide(one.policy, one.critic, "slowed", weight=0.4, factor=0.25)
    plain = fg.guide(one.policy, one.critic, "qgf", weight=0.1)
    noise = jnp.ones(one.policy.noise_shape)
    assert jnp.array_equal(
        guided.from_noise(noise, jnp.ones(3)), plain.from_noise(noise, jnp.ones(3))
    )
    with pytest.raises(TypeError, match=r"slowed has no option.*weigth.*factor.*weight"):
        fg.guide(one.policy, one.critic, "slowed", weigth=0.4)


def test_names_that_are_taken_or_none():
    make = fg.qgf
    fg.register("again", make)
    fg.register("again", make)
    with pytest.raises(ValueError, match="There is a method 'again' already"):
        fg.register("again", fg.ood)
    for taken in ("qgf", "unguided"):
        with pytest.raises(ValueError, match=f"There is a method {taken!r} already"):
            fg.register(taken, lambda weight: fg.qgf(weight))
    with pytest.raises(ValueError, match="name must be an identifier, .*got 'my method'"):
        fg.register("my method", make)


def test_agents_that_results_could_not_tell_apart_are_refused():
    one = agent()
    with pytest.raises(ValueError, match=r"two agents.*0\), .*0\).*each with a label"):
        evaluate([one, Agent(one.policy, one.critic)], Fault(), UNGUIDED, [1])


def test_an_episode_that_is_there_twice_is_refused():
    played = evaluate(agent(), Fault(), UNGUIDED, [1, 2], num_envs=1)
    with pytest.raises(ValueError, match="1 episodes are there more than once, such as unguided"):
        compare([*played, played[0]])


def test_another_baseline_by_its_label():
    played = evaluate(agent(), Fault(), {"a": None, "b": fg.qgf(2.0)}, [1, 2, 3], num_envs=1)
    rows = compare(played, Condition("a"))
    assert [row.pairs for row in rows] == [0, 3]
