"""Conditions, tables of guidances, and the file of episodes."""

import ast
import dataclasses
import json
import math
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg
from flowguide._agent.guided import condition_of
from flowguide._results import conditions
from flowguide._results.conditions import method_of, units_of, with_weight
from flowguide._system.versions import versions
from flowguide.evaluate import cross
from flowguide.results import Condition, Episode, read_episodes, write_episodes

RATES = {
    Condition(): 0.2,
    Condition("qgf, best of 4 0.1", "qgf, best of 4", 0.1): 0.8,
    Condition("qgf kappa 3", "qgf", 3.0, "kappa"): 0.5,
    Condition("mine"): 0.7,
}
COST = fg.Cost(velocities=10, critic_gradients=10)


def some_episodes():
    told = {"guidance": "qgf(weight=0.1)", "steps": 10, "cost": COST, "dropped": 0.25}
    return [
        Episode(
            *(condition, 0, seed, seed < rate * 20, -float(seed), seed + 1, "a task", "small"),
            **told,
        )
        for condition, rate in RATES.items()
        for seed in range(20)
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "needs a label"),
        ((" \n",), "needs a label"),
        (("mine", "mine", float("nan")), "weight of 'mine' must be finite, got nan"),
        (("mine", "mine", float("inf")), "must be finite, got inf"),
    ],
)
def test_conditions_that_say_nothing(arguments, message):
    with pytest.raises(ValueError, match=message):
        Condition(*arguments)


def test_a_condition_is_its_label():
    weighted = Condition("qgf 0.1", "qgf", 0.1)
    assert weighted == Condition("qgf 0.1") and hash(weighted) == hash(Condition("qgf 0.1"))
    assert weighted != Condition("qgf 0.2", "qgf", 0.1)
    assert str(weighted) == "qgf 0.1"
    assert (weighted.has_weight, Condition("mine").has_weight) == (True, False)
    assert Condition("mine").curve == Condition("mine").series == "mine"


KAPPA = fg.Kappa(10.0, np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("label", "guidance", "expected", "series"),
    [
        ("unguided", None, ("unguided", None, "raw"), "unguided"),
        ("best of 4", fg.best_of_n(4), ("best of 4", None, "raw"), "best of 4"),
        ("qgf 0.1", fg.qgf(0.1), ("qgf", 0.1, "raw"), "qgf"),
        ("qgf 0.10", fg.qgf(0.1), ("qgf", 0.1, "raw"), "qgf"),
        (
            "qgf, best of 4 kappa 10",
            [fg.qgf(KAPPA), fg.best_of_n(4)],
            ("qgf, best of 4", 10.0, "kappa"),
            "qgf, best of 4 (kappa)",
        ),
        ("qgf local 3", fg.qgf(fg.Kappa(3.0)), ("qgf", 3.0, "local"), "qgf (local)"),
        ("ood norm 0.3", fg.ood(fg.Normalised(0.3)), ("ood", 0.3, "norm"), "ood (norm)"),
        ("a relative 0.2", fg.ood(fg.Relative(0.2)), ("a", 0.2, "relative"), "a (relative)"),
        # The label ends in its weight, or in something else.
        ("mine: 3", fg.qgf(fg.Kappa(3.0)), ("mine", 3.0, "local"), "mine (local)"),
        ("version 2", fg.qgf(0.1), ("version 2", 0.1, "raw"), "version 2"),
        ("0.1", fg.qgf(0.1), ("0.1", 0.1, "raw"), "0.1"),
        ("mine", fg.qgf(0.1), ("mine", 0.1, "raw"), "mine"),
        # No one number along which a curve could be drawn.
        ("array", fg.qgf(np.array([0.1, 0.2, 0.3])), ("array", None, "raw"), "array"),
        ("of t", fg.qgf(lambda t: 1 - t), ("of t", None, "raw"), "of t"),
        ("two 0.1", [fg.qgf(0.1), fg.ood(0.1)], ("two 0.1", None, "raw"), "two 0.1"),
        ("own", lambda policy, critic: policy, ("own", None, "raw"), "own"),
    ],
)
def test_what_results_call_a_guidance(label, guidance, expected, series):
    found = condition_of(label, guidance)
    assert (found.curve, found.weight, found.unit) == expected
    assert found.label == label and found.series == series


@given(st.floats(-1e5, 1e5, width=32), st.sampled_from(["raw", "kappa", "mine"]))
def test_a_weight_at_the_end_of_a_label_is_found(weight, unit):
    shown = f"{weight:g}" if unit == "raw" else f"{unit} {weight:g}"
    found = with_weight(f"a curve {shown}", weight, unit)
    assert (found.curve, found.weight) == ("a curve", weight)


def test_the_order_of_conditions():
    expected = [
        Condition(),
        Condition("aaa"),
        Condition("best of 4"),
        Condition("best of 16"),
        *(Condition(f"ood {w:g}", "ood", w) for w in (0.1, 1.0, 10.0)),
        Condition("qgf 5", "qgf", 5.0),
        *(Condition(f"qgf {u} 1", "qgf", 1.0, u) for u in ("kappa", "local", "relative")),
        *(Condition(f"qgf {u} 1", "qgf", 1.0, u) for u in ("norm", "metres")),
        Condition("qgf, best of 4 0.1", "qgf, best of 4", 0.1),
    ]
    mixed = list(expected)
    random.Random(0).shuffle(mixed)
    assert sorted(mixed) == expected
    units = ["raw", "kappa", "local", "relative", "norm", "metres"]
    assert units_of(mixed) == units and units_of([Condition()]) == []


def test_guidances_are_crossed():
    observations = np.ones((4, 3), np.float32)
    options = {"weights": [0.1], "kappas": [1.0, 3.0], "best_of_n": [1, 4]}
    found = cross(["qgf", "best_of_n"], **options, observations=observations)
    assert list(found) == [
        "unguided",
        "qgf 0.1",
        "qgf kappa 1",
        "qgf kappa 3",
        "qgf, best of 4 0.1",
        "qgf, best of 4 kappa 1",
        "qgf, best of 4 kappa 3",
        "best of 4",
    ]
    assert found["unguided"] is None
    assert fg.describe(found["qgf 0.1"]) == fg.describe(fg.qgf(0.1))
    assert fg.describe(found["best of 4"]) == fg.describe(fg.best_of_n(4))
    both = [fg.qgf(fg.Kappa(3.0, observations)), fg.best_of_n(4)]
    assert fg.describe(found["qgf, best of 4 kappa 3"]) == fg.describe(both)
    # The labels say what the guidances are.
    for label, guidance in found.items():
        assert condition_of(label, guidance).label == label
        assert condition_of(label, guidance).has_weight == ("qgf" in label)
        assert condition_of(label, guidance).curve == label.split(" kappa")[0].removesuffix(" 0.1")
    assert list(cross(["unguided"])) == ["unguided"]
    # A method without a weight has its defaults.
    assert fg.describe(cross(["beam"])["beam"]) == fg.describe(fg.beam())


def test_weights_of_every_unit():
    found = cross(["qgf"], local=[3], relatives=[0.2], norms=[1.0])
    assert list(found) == ["unguided", "qgf local 3", "qgf relative 0.2", "qgf norm 1"]
    rules = fg.Kappa(3.0), fg.Relative(0.2), fg.Normalised(1.0)
    for rule, (label, guidance) in zip(rules, list(found.items())[1:], strict=True):
        assert fg.describe(guidance) == fg.describe(fg.qgf(rule))
        condition = condition_of(label, guidance)
        assert (condition.curve, condition.unit) == ("qgf", label.split()[1])


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        (["qgf"], {}, "'qgf' needs weights"),
        (["best_of_n"], {"kappas": [1.0]}, "needs a number above 1|expected observations"),
        (["best_of_n"], {}, "needs a number above 1"),
        (["qfg"], {}, "Unknown method 'qfg'"),
        (["qgf"], {"weights": [0.1], "best_of_n": [0]}, "best_of_n must be numbers of at least 1"),
        (["qgf"], {"kappas": [1.0]}, "measured from observations.*load_observations.*local"),
        (["cfg"], {"local": [1.0]}, "'cfg' asks no critic.*no local"),
        (["qgf"], {"weights": [0.1, 0.10000001]}, "Two weights have the label 'qgf 0.1'"),
    ],
)
def test_what_cannot_be_crossed(methods, options, message):
    with pytest.raises(ValueError, match=message):
        cross(methods, **options)


def test_results_survive_the_file(tmp_path):
    file = tmp_path / "results.jsonl"
    assert read_episodes(file) == []
    episodes = some_episodes()
    write_episodes(file, reversed(episodes))
    # In order, whatever order they ended in.
    found = read_episodes(file)
    assert found == sorted(episodes, key=lambda episode: episode.key)
    # Equal conditions have equal labels: the rest as well.
    now = {"versions": versions()}
    assert list(map(dataclasses.asdict, found)) == [
        dataclasses.asdict(e) | now for e in sorted(episodes, key=lambda episode: episode.key)
    ]
    line = json.loads(file.read_text().splitlines()[0])
    fields = "label curve weight unit guidance train_seed episode_seed success return length task"
    fields += " training model replan goal steps cost dropped error versions"
    fields += " max_episode_steps success_at rescale doubts"
    assert sorted(line) == sorted(fields.split())
    assert line["cost"] == dataclasses.asdict(COST) and line["dropped"] == 0.25
    packages = "flowguide jax equinox diffrax ogbench mujoco".split()
    assert sorted(line["versions"]) == sorted(packages)
    # A killed process leaves half a line.
    whole = file.read_text()
    file.write_text(whole[:-5])
    assert len(read_episodes(file)) == len(episodes) - 1
    file.write_text("{}\n" + whole)
    with pytest.raises(ValueError, match="line 1, is no episode"):
        read_episodes(file)


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        ({"method": "unguided", "weight": 0.0, "best_of_n": 1}, ("unguided", "unguided", None)),
        ({"method": "best_of_n", "weight": 0.0, "best_of_n": 4}, ("best of 4", "best of 4", None)),
        ({"method": "qgf", "weight": 0.1, "best_of_n": 1}, ("qgf 0.1", "qgf", 0.1)),
        (
            {"method": "qgf", "weight": 10.0, "best_of_n": 4, "unit": "kappa"},
            ("qgf, best of 4 kappa 10", "qgf, best of 4", 10.0, "kappa"),
        ),
        # A method that only another process knew.
        (
            {"method": "theirs", "weight": 0.5, "best_of_n": 1, "unit": "norm"},
            ("theirs norm 0.5", "theirs", 0.5, "norm"),
        ),
    ],
)
@pytest.mark.parametrize("is_first", [False, True])
def test_lines_of_an_older_flowguide(tmp_path, earlier, expected, is_first):
    file = tmp_path / "results.jsonl"
    line = {**earlier, "train_seed": 0, "episode_seed": 5, "success": True, "return": -5.0}
    line |= {"length": 6, "task": "a task", "training": "small", "model": "ab", "replan": None}
    line |= {"goal": None, "error": None, "versions": {}}
    if is_first:
        # The very first ones said even less.
        new = {"task", "training", "model", "replan", "goal", "error"}
        line = {k: v for k, v in line.items() if k not in new}
    file.write_text(json.dumps(line) + "\n")
    (found,) = read_episodes(file)
    task, training, model = ("", "", "") if is_first else ("a task", "small", "ab")
    condition = Condition(*expected)
    assert found == Episode(condition, 0, 5, True, -5.0, 6, task, training, model)
    assert dataclasses.asdict(found.condition) == dataclasses.asdict(condition)
    assert (found.guidance, found.steps, found.cost, found.dropped) == ("", None, None, None)


def test_curves_of_best_of_n():
    assert method_of("qgf, best of 4") == ("qgf", 4)
    assert method_of("qgf") == ("qgf", 1) and method_of("best of 4") == ("best of 4", 1)


@given(
    # Not `builds`: what checks the types of a tuple draws from Python's generator.
    st.tuples(
        st.sampled_from(list(RATES)),
        st.integers(0, 9),
        st.integers(0, 10**7),
        st.sampled_from([True, False, None]),
        st.floats(-1e6, 1e6),
        st.integers(0, 1000),
        st.text(),
        st.text(),
        st.text(),
        st.none() | st.integers(1, 9),
        st.none() | st.integers(1, 5),
        st.none() | st.text(),
        st.text(),
        st.none() | st.integers(1, 100),
        st.none() | st.builds(fg.Cost, *[st.integers(0, 999)] * 4),
        st.none() | st.floats(0, 1),
        st.none() | st.integers(1, 9),
        st.sampled_from(["end", "any"]),
        st.booleans(),
        st.lists(st.text()).map(tuple),
        st.just({"jax": "0.1", "mujoco": None}),
    )
)
def test_every_episode_is_a_line(fields):
    episode = Episode(*fields)
    text = episode.to_json()
    assert "\n" not in text
    assert dataclasses.asdict(Episode.from_json(text)) == dataclasses.asdict(episode)


def a_line(**changed):
    line = json.loads(Episode(Condition(), 0, 1, True, -1.0, 5).to_json())
    return json.dumps(line | changed)


@pytest.mark.parametrize(
    "text",
    [
        f"{a_line()}\n{a_line(episode_seed=2)}",  # An editor took the last newline away.
        f"{a_line()}\n\n{a_line(episode_seed=2)}\n  \n",
        f"\ufeff{a_line()}\r\n{a_line(episode_seed=2)}\r\n",
    ],
)
def test_what_editors_do_to_a_file_loses_nothing(tmp_path, text):
    file = tmp_path / "results.jsonl"
    file.write_bytes(text.encode())
    assert [episode.episode_seed for episode in read_episodes(file)] == [1, 2]


def test_a_return_that_was_not_finite_is_read(tmp_path):
    file = tmp_path / "results.jsonl"
    file.write_text(a_line(**{"return": None, "error": "diverged"}) + "\n")
    (found,) = read_episodes(file)
    assert math.isnan(found.episode_return) and found.error == "diverged"


@pytest.mark.parametrize("line", ["null", "[1]", '"text"', "7", a_line(success="False"), "{}"])
def test_what_is_no_episode_is_named(tmp_path, line):
    file = tmp_path / "results.jsonl"
    file.write_text(f"{a_line()}\n{line}\n")
    with pytest.raises(ValueError, match="results.jsonl, line 2, is no episode"):
        read_episodes(file)


def test_what_results_say_needs_no_guidance():
    tree = ast.parse(Path(conditions.__file__).read_text())
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert {str(name).partition(".")[0] for name in names} <= set(sys.stdlib_module_names)


def test_a_file_of_something_else_is_not_taken_for_an_empty_one(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("remember the milk")
    with pytest.raises(ValueError, match="notes.txt, line 1, is no episode"):
        read_episodes(file)
