"""Reports of several tasks episode by episode, and of several trainings."""

import dataclasses

import pytest

from flowguide.report._report import read_report
from flowguide.results import compare, Condition, write_episodes

from .test_report import CHOSEN, CONDITIONS, play, TASKS, tune


def test_one_training_seed_is_counted_episode_by_episode(tmp_path):
    domains = {"cube": 2, "scene": 3}
    tasks = [f"{d}-singletask-task{i}-v0" for d, count in domains.items() for i in range(count)]
    files, episodes = [], []
    for task in tasks:
        files.append(tmp_path / f"{len(files)}.jsonl")
        episodes += play(task, CONDITIONS, range(6), train_seeds=(0,))
        write_episodes(files[-1], episodes[-6 * len(CONDITIONS) :])
    findings, sections = read_report(files)
    (over,) = findings.tasks
    # Interquartile means need training seeds.
    assert over.overall == [] and over.pooled is not None
    assert over.verdict == over.pooled.verdict and over.verdict.endswith(
        "; 5 tasks, one training seed"
    )
    table, between = sections[0].table, sections[1].table
    assert table.title == "Episode by episode: over 5 tasks, training small"
    unguided, *others = table.rows
    assert unguided[0] == "unguided" and len(others) == len(CONDITIONS) - 1
    for row in table.rows:
        played = [e for e in episodes if str(e.condition) == row[0]]
        for domain, cell in zip(domains, row[2:4], strict=True):
            won = [e.success for e in played if e.task.startswith(domain)]
            assert cell == f"{sum(won)} of {len(won)}"
        assert row[4] == f"{sum(e.success for e in played)} of 30"
    # Pairs share the task: of other tasks an episode of the same seed is another one.
    won = {(e.condition, e.task, e.episode_seed): e.success for e in episodes}
    for row in others:
        mine = {unit[1:]: s for unit, s in won.items() if str(unit[0]) == row[0]}
        base = {unit[1:]: s for unit, s in won.items() if str(unit[0]) == "unguided"}
        gained = sum(mine[unit] and not base[unit] for unit in base)
        lost = sum(base[unit] and not mine[unit] for unit in base)
        assert row[-3:] == ("30", str(gained), str(lost))
    assert {"unguided", "best of 4"} <= {cell for row in between.rows for cell in row[:2]}
    assert not any("Left out" in note for note in table.notes)
    # Without a condition on one task, as in a sweep that is not done.
    write_episodes(
        files[0], [e for e in episodes[: 6 * len(CONDITIONS)] if str(e.condition) != "best of 4"]
    )
    _, sections = read_report(files)
    gone = [row[0] for row in others if row[0] not in {r[0] for r in sections[0].table.rows}]
    assert gone == ["best of 4"]
    (said,) = [note for note in sections[0].table.notes if "Left out" in note]
    assert said == "Left out here: 1 condition not played on every task."


def test_tasks_without_a_common_baseline_are_told_one_by_one(tmp_path):
    files = []
    for task, conditions in zip(TASKS, (CONDITIONS, CONDITIONS[1:]), strict=False):
        files.append(tmp_path / f"{len(files)}.jsonl")
        write_episodes(files[-1], play(task, conditions, range(3), train_seeds=(0,)))
    findings, sections = read_report(files)
    (over,) = findings.tasks
    assert over.overall == [] and over.pooled is None
    assert sections[0].table.rows == []
    assert " of 2 tasks" in over.verdict and "no interval" in over.verdict


def training_of(name, conditions, **kwargs):
    return [
        dataclasses.replace(e, training=name, success=(e.episode_seed + len(name) + i) % 3 > 0)
        for i, task in enumerate(TASKS)
        for e in play(task, conditions, range(5), **kwargs)
    ]


def test_trainings_are_compared_on_the_same_episodes(tmp_path):
    iql, sarsa = training_of("iql", CONDITIONS), training_of("sarsa", CONDITIONS[:2])
    write_episodes(tmp_path / "a.jsonl", [*iql, *sarsa])
    findings, sections = read_report([tmp_path / "a.jsonl"], training="iql")
    (found,) = findings.trainings
    assert found.reference == "iql" and len(found.tasks) == 3
    # What both have, and no more.
    assert list(found.of_condition) == [str(c) for c in CONDITIONS[:2]]
    kept = [
        dataclasses.replace(e, condition=Condition(e.training), training="")
        for e in [*iql, *sarsa]
        if e.condition == CONDITIONS[0]
    ]
    expected = compare(kept, Condition("iql"), over_tasks=True)
    assert sorted(found.of_condition[str(CONDITIONS[0])], key=str) == sorted(expected, key=str)
    of_sarsa = next(row for row in found.of_best if str(row.condition) == "sarsa")
    assert of_sarsa.pairs == 45 and of_sarsa.difference is not None
    titles = [section.table.title for section in sections]
    assert "Between trainings, each with its best condition: 3 tasks" in titles
    table = next(s.table for s in sections if s.table.title.startswith("Between trainings, each"))
    assert {row[0] for row in table.rows} == {"iql", "sarsa"}
    assert "difference to iql" in table.columns
    (iql_row,) = (row for row in table.rows if row[0] == "iql")
    assert iql_row[-4:] == ("-", "-", "-", "-")


def test_tuned_trainings_have_one_condition_whatever_the_weight(tmp_path):
    folders = []
    for i, task in enumerate(TASKS[:2]):
        folders.append(tune(tmp_path / f"tuned{i}", task))
    other = [e for task in TASKS[:2] for e in play(task, [CHOSEN, Condition()], range(5))]
    write_episodes(tmp_path / "a.jsonl", [dataclasses.replace(e, training="x") for e in other])
    findings, _ = read_report([*folders, tmp_path / "a.jsonl"])
    # Test episodes are of one training: kinds are kept apart.
    assert findings.trainings == []
    (over,) = (each for each in findings.tasks if each.kind == "test")
    assert over.pooled is not None
    assert "qgf (kappa), tuned" in {str(row.condition) for row in over.pooled.rows}


def test_a_training_that_did_not_play(tmp_path):
    write_episodes(tmp_path / "a.jsonl", play(TASKS[0], CONDITIONS, range(3)))
    with pytest.raises(ValueError, match="training 'smal' did not play; .*Did you mean 'small'"):
        read_report([tmp_path / "a.jsonl"], training="smal")
    findings, _ = read_report([tmp_path / "a.jsonl"], training="small")
    assert findings.trainings == []
