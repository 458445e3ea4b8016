"""What a report finds besides its tables: the verdict, a baseline, where it comes from."""

import dataclasses
import json
import re

import pytest

from flowguide._run_folder import RunFolder
from flowguide.cli._report import Report
from flowguide.evaluate import load_agents
from flowguide.report import report
from flowguide.report._report import read_report
from flowguide.results import Condition, interquartile_difference, write_episodes

from ..evaluate.test_runs import save_seeds
from .test_report import CHOSEN, CONDITIONS, made, Page, play, TASKS, tune

__all__ = ["made"]
TASK = "a-singletask-v0"


def quiet(line):
    pass


def lines_of(text):
    return [line for line in text.splitlines() if line]


def test_the_first_line_is_the_verdict(tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    write_episodes(file, play(TASKS[0], CONDITIONS, range(10)))
    Report((file,), tmp_path / "out").run()
    first = lines_of(capsys.readouterr().out)[0]
    assert re.match(
        r"Yes: qgf kappa \d+, \d+ of 30 against \d+ of 30 unguided, \+0\.\d\d \[\+.*\]; against "
        r"best of 4 \+0\.\d\d \[.*\], better; the best of 3 conditions, chosen on these episodes; "
        r"3 training seeds\.",
        first,
    )
    markdown = lines_of((tmp_path / "out" / "report.md").read_text())
    assert markdown[0].startswith("## ") and markdown[1] == f"**{first}**"
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.index('<p class="verdict">Yes: ') < page.index("episodes of 1 task")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [each["verdict"] + "." for each in summary["verdicts"]] == [first]


def test_several_tasks_and_kinds_have_a_verdict_each(made):
    _, out, told = made
    assert told[0].startswith(
        "Training small, test episodes: Yes: qgf (kappa), tuned, interquartile mean "
    )
    assert " over 2 tasks, " in told[0] and told[0].endswith("; 3 training seeds.")
    assert told[1].startswith("Training small: ") and " over 3 tasks, " in told[1]
    findings, _ = read_report(made[0])
    over = next(each for each in findings.tasks if each.kind == "test")
    scores = {row.name: row.scores for row in over.overall}
    chosen, unguided = (
        {task: list(by_seed.values()) for task, by_seed in scores[name].items()}
        for name in ("qgf (kappa), tuned", "unguided")
    )
    difference = interquartile_difference(chosen, unguided)
    assert f"{difference.value:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]" in told[0]


def test_every_task_is_compared_between_methods(made):
    _, out, _ = made
    summary = json.loads((out / "summary.json").read_text())
    cube = next(g for g in summary["groups"] if g["task"] == TASKS[0] and g["kind"] == "played")
    pairs = {(each["first"], each["second"]) for each in cube["between"]}
    names = {name for pair in pairs for name in pair}
    # The best weight of each unit, and no baseline.
    assert len(pairs) == 3 and "best of 4" in names and "unguided" not in names
    over = next(each for each in summary["over_tasks"] if each["kind"] == "played")
    for each in over["between"]:
        chance = each["probability"]
        assert 0 <= chance["low"] <= chance["value"] <= chance["high"] <= 1
        assert each["difference"]["value"] >= 0 and chance["count"] == 9
    assert {each["second"] for each in over["between"]} >= {"unguided", "best of 4"}


def test_a_tuned_task_is_there_once(tmp_path):
    _, sections = read_report([tune(tmp_path / "tuned", TASKS[0])])
    titles = [section.table.title for section in sections]
    about = f"{TASKS[0]}, training small, test episodes"
    between = f"Between methods: {about}"
    expected = [f"Honest weights: {about}", between, "What was played", "Where it comes from"]
    assert titles == expected
    table = sections[0].table
    assert table.columns[1:5] == (
        *("validation solved", "validation success (optimistic)", "solved", "success"),
    )
    row = next(row for row in table.rows if row[0] == str(CHOSEN))
    assert re.fullmatch(r"\d+ of 24", row[1]) and re.fullmatch(r"\d+ of 30", row[3])


def test_another_baseline(tmp_path):
    file = tmp_path / "results.jsonl"
    write_episodes(file, play(TASKS[0], CONDITIONS, range(10)))
    report([file], tmp_path / "out", baseline="best of 4", on_message=quiet)
    tables = Page((tmp_path / "out" / "report.html").read_text()).tables
    head, *rows = tables[0]
    assert "difference to best of 4" in head and "difference to unguided" not in head
    # What the others are compared with is the first.
    assert rows[0][0] == "best of 4" and rows[0][head.index("pairs")] == "-"
    unguided = next(row for row in rows if row[0] == "unguided")
    assert unguided[head.index("pairs")] == "30"
    usual = read_report([file])[0].compared[0].rows
    turned = next(row for row in usual if str(row.condition) == "best of 4")
    assert turned.difference is not None
    expected = f"{-turned.difference.value:+.2f} [" if turned.difference.value else "0.00 ["
    assert unguided[head.index("difference to best of 4")].startswith(expected)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["groups"][0]["baseline"] == "best of 4"
    with pytest.raises(
        ValueError, match=r"'best of 5' was not played; these were: 'unguided', 'best"
    ):
        read_report([file], baseline="best of 5")
    # Of three weights none is meant.
    with pytest.raises(ValueError, match="Of a method with several weights the label is needed"):
        read_report([file], baseline="qgf")


def test_a_tuned_method_is_a_baseline_by_its_name(tmp_path):
    files = [tune(tmp_path / f"tuned{i}", TASKS[i]) for i in (0, 2)]
    findings, _ = read_report(files, baseline="qgf")
    assert {each.baseline for each in findings.compared} == {CHOSEN}
    assert findings.tasks[0].baseline == "qgf (kappa), tuned"
    # The one weight that was left is worse than nothing to nobody.
    assert findings.tasks[0].verdict.startswith("No: best of 4, interquartile mean ")


def test_where_it_comes_from(tmp_path):
    file = tmp_path / "results.jsonl"
    played = [dataclasses.replace(e, replan=2) for e in play(TASKS[0], CONDITIONS, range(10))]
    write_episodes(file, played)
    findings, sections = read_report([file], command="flowguide report results.jsonl")
    (table,) = (s.table for s in sections if s.key[2] == "source")
    told = {row[0]: row[1] for row in table.rows}
    assert told["command"] == "flowguide report results.jsonl"
    assert re.fullmatch(
        r"150 episodes, last written \d{4}-\d\d-\d\d \d\d:\d\d UTC, SHA-256 [0-9a-f]{12}",
        told[str(file)],
    )
    about = told[findings.compared[0].heading]
    assert "episode seeds 0 to 9; training seed 0: model cu0; training seed 1: model cu1" in about
    assert "replan 2" in about and "jax" in told["played with"]
    report([file], tmp_path / "out", on_message=quiet)
    assert re.search(
        r"Written \d{4}-\d\d-\d\d \d\d:\d\d UTC by flowguide",
        (tmp_path / "out/report.md").read_text(),
    )


@pytest.fixture
def run_and_results(tmp_path):
    """A run of two training seeds with its log, and episodes that it played."""
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    save_seeds(run, 0, 1)
    settings = {
        "task": TASK,
        "steps": 200,
        "batch_size": 64,
        "data_sha256": "ab" * 32,
        "slices": False,
    }
    RunFolder(run).settings_file.write_text(json.dumps(settings))
    lines = [
        {"step": step, "seed": seed, "policy/loss": 100 / step, "validation/policy/loss": 1.0}
        for step in (100, 200)
        for seed in (0, 1)
    ]
    RunFolder(run).metrics_file.write_text("".join(json.dumps(x) + "\n" for x in lines))
    RunFolder(run).evaluations.mkdir()
    for step in (100, 200):
        episodes = play(TASK, [Condition()], range(5), train_seeds=(0, 1))
        write_episodes(RunFolder(run).evaluations / f"seeds_update_{step:09d}.jsonl", episodes)
    models = {agent.train_seed: agent.model for agent in load_agents(run)}
    episodes = [
        dataclasses.replace(e, model=models[e.train_seed])
        for e in play(TASK, CONDITIONS[:2], range(5), train_seeds=(0, 1))
    ]
    file = tmp_path / "runs" / "results.jsonl"
    write_episodes(file, episodes)
    return run, file


def test_runs_that_played_are_shown_with_their_learning_curves(run_and_results, tmp_path):
    run, file = run_and_results
    # Of the same task, and another: it did not play.
    other = tmp_path / "runs" / "other"
    other.mkdir()
    save_seeds(other, 7)
    findings, sections = read_report([file])
    (found,) = findings.runs
    assert (found.folder, found.task, found.training, found.seeds) == (run, TASK, "small", (0, 1))
    (table,) = (s.table for s in sections if s.key[2] == "runs")
    assert table.rows == [(str(run), TASK, "0, 1", "200", "ab" * 6, "batch_size 64")]
    report([file], tmp_path / "out", on_message=quiet)
    assert (tmp_path / "out" / "training_one.png").exists()
    # Elsewhere they are found by their names.
    (tmp_path / "far" / "away").mkdir(parents=True)
    moved = file.rename(tmp_path / "far" / "away" / file.name)
    assert read_report([moved])[0].runs == []
    assert read_report([moved], runs=[run])[0].runs == [found]
    for folder in (other, tmp_path / "nothing"):
        with pytest.raises(
            ValueError, match="is no finished run whose policies and critics played"
        ):
            read_report([moved], runs=[folder])


def test_learning_curves(run_and_results):
    from flowguide.report._picture_training import draw_training

    from .test_plots import check

    run, file = run_and_results
    (found,) = read_report([file])[0].runs
    picture = draw_training("name", found)
    assert picture is not None
    check(picture)
    success, loss = picture.figure.axes
    assert success.get_ylabel() == "success rate" and loss.get_ylabel() == "policy\nloss"
    # Each seed has a line of its own, of training and of validation.
    assert sorted(len(line.get_xdata()) for line in loss.lines) == [2, 2, 2, 2]
    assert {tuple(line.get_ydata()) for line in loss.lines} == {(1.0, 0.5), (1.0, 1.0)}
    RunFolder(run).metrics_file.unlink()
    alone = draw_training("name", found)
    assert alone is not None and len(alone.figure.axes) == 1
    for each in RunFolder(run).evaluations.iterdir():
        each.unlink()
    assert draw_training("name", found) is None
