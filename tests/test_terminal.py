"""What the commands show while they work and when they are done, in terminals of any width."""

import io
import re
import shlex
import subprocess
import sys

import pytest

from flowguide._system.progress import make_console, progress_bar
from flowguide.cli import _demo
from flowguide.cli._collect import Collect
from flowguide.cli._main import parse
from flowguide.cli._terminal import next_command, show_rates
from flowguide.cli._train import Train
from flowguide.ogbench._names import check_name
from flowguide.results import Condition, Episode, summarise
from flowguide.runs import Settings

from .site.blocks import unchecked

TASK = "pointmaze-medium-stitch-singletask-task1-v0"


def shown(bar_of, **options):
    text = io.StringIO()
    with bar_of(make_console(file=text, **options)) as bar:
        bar.add_task("train", total=6_000, completed=1_234, note="critic 10.7, policy 0.965")
        bar.refresh()
    return text.getvalue()


def updates(console):
    return progress_bar("updates", console)


@pytest.mark.parametrize("width", [100, 60, 40, 30])
def test_a_bar_is_one_line_that_never_cuts_its_count(width):
    text = shown(updates, width=width, force_terminal=True, color_system=None)
    lines = [line for line in text.replace("\r", "\n").splitlines() if "1234" in line]
    assert lines and all("1234/6000" in line for line in lines)
    assert ("critic 10.7, policy 0.965" in text) == (width == 100)


def test_a_file_gets_no_bar():
    assert shown(updates) == ""


def episodes(**solved):
    """Of each condition so many of eight episodes."""
    conditions = {
        "unguided": Condition(),
        "chosen": Condition("best of 4"),
        "guided": Condition("qgf local 5", "qgf", 5.0, "local"),
    }
    return [
        Episode(conditions[name], 0, seed, seed < count, 0.0, 1, "task")
        for name, count in solved.items()
        for seed in range(8)
    ]


def test_a_row_is_a_list_where_a_table_has_no_room():
    rates = summarise(episodes(unguided=0, guided=8))
    for width, is_table in ((80, True), (30, False)):
        text = io.StringIO()
        show_rates(make_console(file=text, width=width), rates)
        lines = text.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        assert ("condition" in lines[0]) == is_table
        assert any("[0.68, 1.00]" in line for line in lines)
    assert lines[:4] == ["unguided", "  weight: -", "  episodes: 8", "  success: 0.00"]


@pytest.mark.parametrize(
    ("solved", "answer", "beside"),
    [
        ({"unguided": 0, "chosen": 8, "guided": 8}, "Yes", "undecided"),
        ({"unguided": 8, "chosen": 0, "guided": 0}, "No", "undecided"),
        ({"unguided": 0, "chosen": 8, "guided": 0}, "Undecided", "worse"),
    ],
)
def test_a_demo_says_what_its_episodes_say(solved, answer, beside):
    first, said, last = _demo._shown(_demo.MAZE, episodes(**solved))
    assert "frozen" in first and "no estimate" in last
    reached = f"{solved['guided']} of 8 against {solved['unguided']} of 8 unguided"
    assert said.startswith(f"{answer}: qgf local 5, {reached}, ")
    assert re.search(rf"; against best of 4 [^;]+, {beside}; one training seed\.$", said)
    assert _demo._shown(_demo.MAZE, episodes(unguided=1, guided=2)) == []


def next_of(capsys):
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("Next: flowguide ")
    command, *arguments = shlex.split(lines[-1].removeprefix("Next: "))
    assert command == "flowguide"
    with unchecked():
        return parse(arguments)


def test_a_path_in_the_next_command_can_be_typed(tmp_path):
    line = next_command("report", tmp_path / "my results.jsonl", "--out", "x")
    assert shlex.split(line)[3] == str(tmp_path / "my results.jsonl")


def test_collecting_ends_with_the_command_that_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("flowguide.ogbench.collect", lambda name, *_, **__: tmp_path / name)
    Collect("cube-single-play-v0", 2, tmp_path).run()
    train = next_of(capsys)
    check_name(train.settings.task)
    assert train.settings.dataset_dir == tmp_path


@pytest.mark.parametrize("critic", ["iql", "robust", "agf", "none"])
def test_training_ends_with_the_command_that_uses_it(critic, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("flowguide.runs.run", lambda *_, **__: None)
    Train(Settings(TASK, critic=critic, horizon=7), tmp_path / "a run").run()
    following = next_of(capsys)
    if critic == "none":
        assert following.settings.frozen == tmp_path / "a run"
        assert following.settings.horizon == 7
        return
    assert following.runs == (tmp_path / "a run",)
    method = {"robust": "robust_q", "agf": "agf"}.get(critic, "qgf")
    assert following.guidances.method == (method,)


def test_a_finished_run_is_said_to_be_so_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("flowguide.runs.run", lambda *_, **__: None)
    (tmp_path / "finished.json").write_text('{"steps": 1, "seeds": [0]}')
    Train(Settings(TASK), tmp_path).run()
    assert "Done" not in capsys.readouterr().out


def test_a_reader_that_goes_away_does_not_end_the_command(tmp_path):
    script = f"""
from pathlib import Path
from flowguide._system.progress import make_console, printer
show = printer(make_console())
for i in range(20_000):
    show(f"line {{i}} of a long table")
Path({str(tmp_path / "done")!r}).touch()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"line 0 of a long table\n"
    process.stdout.close()
    assert process.wait(60) == 0 and (tmp_path / "done").exists()
