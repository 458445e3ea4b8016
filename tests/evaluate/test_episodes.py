"""Conditions, and the file of episodes."""

import dataclasses
import json

import pytest
from hypothesis import given, strategies as st

from flowguide.evaluate import Condition, cross, Episode, read_episodes, write_episodes

RATES = {Condition(): 0.2, Condition("qgf", 0.1, 4): 0.8, Condition("qgf", 3.0, unit="kappa"): 0.5}


def some_episodes():
    return [
        Episode(condition, 0, seed, seed < rate * 20, -float(seed), seed + 1, "a task", "small")
        for condition, rate in RATES.items()
        for seed in range(20)
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("qfg",), "Unknown method 'qfg'"),
        (("unguided", 0.1), "'unguided' has no weight"),
        (("best_of_n", 0.0, 4, "kappa"), "'best_of_n' has no weight"),
        (("unguided", 0.0, 4), "1 for"),
        (("qgf", 0.1, 0), "best_of_n is 0"),
        # Where types are checked, as in these tests, the type says it first.
        (("qgf", 0.1, 1, "metres"), "metres"),
    ],
)
def test_conditions_that_contradict_themselves(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Condition(*arguments)


@pytest.mark.parametrize(
    ("condition", "label", "name"),
    [
        (Condition(), "unguided", "unguided"),
        (Condition("best_of_n", best_of_n=4), "best of 4", "best of 4"),
        (Condition("qgf", 0.1), "qgf", "qgf 0.1"),
        (Condition("qgf", 10.0, 4, "kappa"), "qgf, best of 4 (kappa)", "qgf, best of 4 kappa 10"),
        (Condition("ood", 0.3, unit="norm"), "ood (norm)", "ood norm 0.3"),
    ],
)
def test_names_of_conditions(condition, label, name):
    assert (condition.label, str(condition)) == (label, name)


def test_conditions_are_crossed():
    found = cross(["qgf", "best_of_n"], weights=[0.1], kappas=[1.0, 3.0], best_of_n=[1, 4])
    assert [str(condition) for condition in found] == [
        "unguided",
        "qgf 0.1",
        "qgf kappa 1",
        "qgf kappa 3",
        "qgf, best of 4 0.1",
        "qgf, best of 4 kappa 1",
        "qgf, best of 4 kappa 3",
        "best of 4",
    ]
    assert cross(["unguided"]) == [Condition()]
    with pytest.raises(ValueError, match="'qgf' needs weights"):
        cross(["qgf"])
    with pytest.raises(ValueError, match="needs a number above 1"):
        cross(["best_of_n"], kappas=[1.0])
    with pytest.raises(ValueError, match="Unknown method 'qfg'"):
        cross(["qfg"])


def test_results_survive_the_file(tmp_path):
    file = tmp_path / "results.jsonl"
    assert read_episodes(file) == []
    episodes = some_episodes()
    write_episodes(file, reversed(episodes))
    # In order, whatever order they ended in: unguided comes after qgf in the alphabet.
    assert read_episodes(file) == sorted(episodes, key=lambda episode: episode.key)
    line = json.loads(file.read_text().splitlines()[0])
    fields = "method weight best_of_n unit train_seed episode_seed success return length task"
    fields += " training model replan goal error versions"
    assert sorted(line) == sorted(fields.split())
    versions = "flowguide jax equinox diffrax ogbench mujoco".split()
    assert sorted(line["versions"]) == sorted(versions)
    # A killed process leaves half a line.
    whole = file.read_text()
    file.write_text(whole[:-5])
    assert len(read_episodes(file)) == len(episodes) - 1
    file.write_text("{}\n" + whole)
    with pytest.raises(ValueError, match="line 1, is no episode"):
        read_episodes(file)


def test_lines_of_an_older_flowguide(tmp_path):
    file = tmp_path / "results.jsonl"
    new = {"unit", "task", "training", "model", "replan", "goal", "error"}
    line = json.loads(some_episodes()[25].to_json())
    file.write_text(json.dumps({k: v for k, v in line.items() if k not in new}) + "\n")
    (found,) = read_episodes(file)
    assert found == dataclasses.replace(some_episodes()[25], task="", training="")


@given(
    st.builds(
        Episode,
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
    )
)
def test_every_episode_is_a_line(episode):
    text = episode.to_json()
    assert "\n" not in text and Episode.from_json(text) == episode
