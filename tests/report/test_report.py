"""Reports of made-up episodes of three tasks, two of them tuned."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

import flowguide as fg
from flowguide._agent.cross import Crossing
from flowguide._results.statistics import Estimate
from flowguide._results.tables import amount, change, mark, rate
from flowguide.cli._report import Report
from flowguide.cli._terminal import show_table
from flowguide.report import report
from flowguide.report._report import read_report
from flowguide.results import Condition, Episode, write_episodes

TASKS = ("cube-single-play-singletask-task1-v0", "scene & <puzzle>", "pointmaze-medium-v0")
TRAINING = "small"
CROSSING = Crossing(("qgf", "best_of_n"), weights=(0.1,), kappas=(3.0, 30.0), best_of_n=(1, 4))
CONDITIONS = [c for c in CROSSING.conditions if c.curve in ("unguided", "qgf", "best of 4")]
CHOSEN = Condition("qgf kappa 30", "qgf", 30.0, "kappa")
COSTS = {
    "unguided": fg.Cost(10),
    "qgf": fg.Cost(10, critic_gradients=10),
    "best of 4": fg.Cost(40, critic_values=4),
}
ERROR = "ValueError: <observation> is not finite"
# A number with an interval, as tables write it.
NUMBER = r"[+-]?[\d.]+ \[[+-]?[\d.]+, [+-]?[\d.]+\]"


def play(task, conditions, seeds, *, train_seeds=(0, 1, 2)):
    generator = np.random.default_rng(len(task))
    found = []
    for condition in conditions:
        chance = 0.2 if not condition.has_weight else 0.8
        for train_seed in train_seeds:
            for seed in seeds:
                won = bool(generator.random() < chance)
                value = -float(generator.integers(10, 200))
                model = f"{task[:2]}{train_seed}"
                told = {"guidance": f"{condition.curve}()", "steps": 10}
                told["cost"] = COSTS[condition.curve]
                told["dropped"] = 0.002 if condition == CHOSEN else 0.0
                found.append(
                    Episode(
                        *(condition, train_seed, seed, won, value, 9, task, TRAINING, model), **told
                    )
                )
    return found


def tune(folder, task):
    """What `flowguide tune` leaves."""
    folder.mkdir()
    candidates = [c for c in CONDITIONS if c.has_weight]
    validation = [*play(task, candidates, range(100, 104)), *play(task, [CHOSEN], range(104, 108))]
    write_episodes(folder / "validation.jsonl", validation)
    plain = [c for c in CONDITIONS if not c.has_weight]
    write_episodes(folder / "test.jsonl", play(task, [*plain, CHOSEN], range(200, 210)))

    def entries(conditions, episodes):
        return [{"condition": c.label, "episodes": episodes, "score": 0.5} for c in conditions]

    text = {
        "task": task,
        "training": TRAINING,
        "chosen": [CHOSEN.label],
        "rounds": [entries(candidates, 12), entries([CHOSEN], 24)],
    }
    (folder / "tuned.json").write_text(json.dumps(text))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Files, folder of the report, sentences told."""
    folder = tmp_path_factory.mktemp("report")
    files = []
    for i, task in enumerate(TASKS):
        episodes = play(task, CONDITIONS, range(10))
        if i == 0:
            bad = [e.condition == CHOSEN and e.episode_seed == 7 for e in episodes]
            episodes = [
                dataclasses.replace(e, error=ERROR) if is_bad else e
                for e, is_bad in zip(episodes, bad, strict=True)
            ]
            episodes = [e for e in episodes if e.condition != Condition() or e.episode_seed != 9]
        files.append(folder / f"{i}.jsonl")
        write_episodes(files[-1], episodes)
    # The first file twice: its lines count once.
    files.append(folder / "again.jsonl")
    shutil.copy(files[0], files[-1])
    files += [tune(folder / f"tuned{i}", TASKS[i]) for i in (0, 2)]
    out = folder / "out"
    (out / "videos").mkdir(parents=True)
    (out / "videos" / "qgf & unguided.mp4").write_bytes(b"a video")
    told = []
    page = report(files, out, on_message=told.append)
    assert page == out / "report.html"
    return files, out, told


class Page(HTMLParser):
    """Tables as text, what is loaded from elsewhere, and whether tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tables, self.loaded, self.tags = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href", "poster")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += data


def test_it_writes_every_file(made):
    _, out, told = made
    summary = json.loads((out / "summary.json").read_text())
    pictures = {file.name for file in out.glob("*.png")}
    assert pictures == set(summary["pictures"])
    for name in (
        *("tasks_small_iqm", "tasks_small_kappa", "tasks_small_raw", "tasks_test_small_iqm"),
        *(f"cube-single-play-task1_small_{x}" for x in ("weights_raw", "weights_kappa")),
        *(f"cube-single-play-task1_small_{x}" for x in ("compute", "changes", "tuned")),
        "cube-single-play-task1_small_validation_weights_kappa",
        "scene_puzzle-85734f_small_changes",
    ):
        assert f"{name}.png" in pictures
    assert {f.name for f in out.iterdir() if f.is_file()} == pictures | {
        *("report.html", "report.md", "summary.json")
    }
    assert told[-1].startswith(f"Wrote {out / 'report.html'}")
    assert any("3 episodes ended in an error" in line for line in told)


def test_the_page_needs_nothing_but_itself(made):
    _, out, _ = made
    text = (out / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert not {"link", "iframe", "object"} & set(page.tags) and page.tags.count("script") == 1
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert {value.partition(",")[0] for value in page.loaded if not value.startswith("#")} == {
        *("data:image/png;base64", "data:video/mp4;base64")
    }
    assert page.tags.count("img") == len(list(out.glob("*.png")))
    assert page.tags.count("video") == 1 and "qgf &amp; unguided.mp4" in text
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text
    # Names and errors are text, whatever is in them.
    assert "<puzzle>" not in text and "scene &amp; &lt;puzzle&gt;" in text
    assert "&lt;observation&gt; is not finite" in text


def test_every_number_in_a_table_has_its_interval_and_its_count(made):
    _, out, _ = made
    page = Page((out / "report.html").read_text())
    counted = 0
    for head, *rows in page.tables:
        for row in rows:
            assert len(row) == len(head)
            if head[-1] in ("error", "guidance", "which", "settings"):
                continue
            # The first is the name, with its weight.
            for name, cell in zip(head[1:], row[1:], strict=True):
                if name in ("against", "which is"):
                    continue
                is_count = re.fullmatch(r"[\d,]+( of [\d,]+)?|-", cell)
                assert is_count or re.fullmatch(NUMBER, cell), cell
                counted += not is_count
            assert any(re.fullmatch(r"[\d,]+( of [\d,]+)?", cell) for cell in row[1:])
            # Beside each rate is what it is made of, and they agree.
            if "solved" in head:
                won, of = map(int, row[head.index("solved")].split(" of "))
                assert row[head.index("success")].startswith(f"{won / of:.2f} [")
    assert counted > 60


def test_markdown_has_the_same_tables(made):
    _, out, _ = made
    text = (out / "report.md").read_text()
    page = Page((out / "report.html").read_text())
    rows = [
        [cell.strip().strip("*").replace("&lt;", "<") for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    assert rows == [row for table in page.tables for row in table]
    for picture in re.findall(r"\]\((.*?)\)", text):
        assert (out / picture).exists()


def test_the_numbers(made):
    files, out, _ = made
    summary = json.loads((out / "summary.json").read_text())
    cube = next(g for g in summary["groups"] if g["task"] == TASKS[0] and g["kind"] == "played")
    rows = {row["name"]: row for row in cube["conditions"]}
    assert list(rows) == ["unguided", "best of 4", "qgf 0.1", "qgf kappa 3", "qgf kappa 30"]
    # The same file twice changes nothing; of 30 episodes 3 were missing or ended in an error.
    assert rows["unguided"]["episodes"] == 27 and rows["qgf 0.1"]["episodes"] == 30
    chosen = rows["qgf kappa 30"]
    assert (chosen["episodes"], chosen["errors"], chosen["pairs"]) == (27, 3, 24)
    assert chosen["unpaired"] == 3 and chosen["cost"]["forwards"] == 50
    assert chosen["cost"]["critic_gradients"] == chosen["steps"] == 10
    assert chosen["guidance"] == "qgf()" and chosen["dropped"] == pytest.approx(0.002)
    assert chosen["condition"] == dataclasses.asdict(CHOSEN)
    assert rows["best of 4"]["cost"]["forwards"] == 48 and "flow_steps" not in summary
    difference = chosen["difference"]
    assert difference["value"] == pytest.approx((chosen["gained"] - chosen["lost"]) / 24)
    assert difference["count"] == 24 and difference["low"] < difference["value"]
    assert {e["episode_seed"] for e in summary["errors"]} == {7}
    assert {e["train_seed"] for e in summary["errors"]} == {0, 1, 2}
    assert summary["errors"][0]["error"] == ERROR
    over = {each["kind"]: each for each in summary["over_tasks"]}
    assert len(over["played"]["tasks"]) == 3 and len(over["test"]["tasks"]) == 2
    names = {row["name"]: row["iqm"]["count"] for row in over["played"]["overall"]}
    assert names == dict.fromkeys(map(str, CONDITIONS), 9)
    # Whatever weight was chosen on a task, the method is one.
    tuned = [row["name"] for row in over["test"]["overall"]]
    assert tuned == ["unguided", "best of 4", "qgf (kappa), tuned"]
    assert [each["rounds"][0] for each in summary["tuned"]] == [
        {"conditions": 3, "episodes": 12}
    ] * 2
    notes = " ".join(sum(summary["notes"].values(), []))
    assert "Episodes without a partner of unguided" in notes and "qgf 0.1 (3)" in notes
    assert "flowguide tune chooses" in notes and "it is too good" in notes
    assert "left unguided, because a gradient was not finite, as a share of all: " in notes
    assert "qgf kappa 30 (0.2%)" in notes
    assert len(files) == 6


def test_it_says_what_was_played(made):
    _, out, _ = made
    tables = Page((out / "report.html").read_text()).tables
    (played,) = (table for table in tables if table[0][-1] == "guidance")
    assert played == [
        ["condition", "flow steps", "cost of an action", "guidance"],
        ["unguided", "10", "10", "unguided()"],
        ["best of 4", "10", "48", "best of 4()"],
        *([f"qgf {weight}", "10", "50", "qgf()"] for weight in ("0.1", "kappa 3", "kappa 30")),
    ]


def test_the_order_of_the_files_does_not_matter(made):
    files, _, _ = made
    forth, back = read_report(files), read_report(reversed(files))
    assert forth[1] == back[1]
    assert forth[0].tasks == back[0].tasks and forth[0].errors == back[0].errors


def test_the_command_prints_tables(made, tmp_path, capsys, monkeypatch):
    files, _, _ = made
    # One task: what is printed does not depend on what is drawn.
    Report((files[0], files[4]), tmp_path, rows=4).run()
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if line.startswith("condition"))
    for name in ("solved", "success", "difference to unguided", "gained", "lost", "mean return"):
        assert name in head
    (row,) = (line for line in lines if line.startswith("unguided") and " of 27 " in line)
    assert re.search(NUMBER, row)
    assert "4 of 5 rows; the page has all." in lines
    assert any(line.startswith("Honest weights: cube-single") for line in lines)
    assert any("validation success (optimistic)" in line for line in lines)
    assert any(ERROR in line for line in lines)
    assert lines[-2].startswith("Wrote")
    assert re.fullmatch(r"Next: open file:///.*/report\.html in a browser\.", lines[-1])


def test_a_narrow_terminal_does_not_break_numbers(made):
    files, _, _ = made
    _, sections = read_report(files[:1])
    text = StringIO()
    show_table(Console(file=text, width=80), sections[0].table, 80)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    opened = [word for line in lines for word in line.split() if word.startswith("[")]
    closed = [word for line in lines for word in line.split() if word.endswith("]")]
    # Success and return of five conditions, differences of four.
    assert len(opened) == len(closed) == 14
    # Breaks are between the numbers and nowhere else.
    assert all(re.fullmatch(r"\[[+-]?[\d.]+,", word) for word in opened), opened
    assert all(re.fullmatch(r"[+-]?[\d.]+\]", word) for word in closed), closed


def test_an_environment_that_tells_no_success(tmp_path):
    episodes = [
        dataclasses.replace(e, success=None, error="RuntimeError: a | b" if e.length < 9 else None)
        for e in play("Pendulum-v1", CONDITIONS[:2], range(5))
    ]
    file = tmp_path / "results.jsonl"
    write_episodes(file, episodes)
    report([file], tmp_path / "out", on_message=lambda line: None)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "does not tell success" in text and "| success |" not in text
    assert "| condition | episodes | mean return | difference to unguided | pairs |" in text
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {row["success"] for row in summary["groups"][0]["conditions"]} == {None}
    assert summary["pictures"] == ["Pendulum-v1_small_weights_raw.png"]


FIRST = Episode(CHOSEN, 0, 1, True, -5.0, 9, "task", "", "abc", guidance="qgf()")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (dataclasses.replace(FIRST, success=False), "two outcomes of one episode"),
        (dataclasses.replace(FIRST, error="ValueError: no"), "two outcomes of one episode"),
        (dataclasses.replace(FIRST, episode_seed=2, model="def"), "played by 2 models"),
        (dataclasses.replace(FIRST, episode_seed=2, replan=1), "--replan"),
        (dataclasses.replace(FIRST, guidance="another"), "two outcomes .* guidance 'another'"),
        (dataclasses.replace(FIRST, episode_seed=2, guidance="another"), "for 2 guidances"),
        (dataclasses.replace(FIRST, train_seed=2, guidance="another"), "for 2 guidances"),
    ],
)
def test_episodes_that_do_not_fit_together(tmp_path, second, message):
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for file, episode in zip(files, (FIRST, second), strict=True):
        write_episodes(file, [episode])
    with pytest.raises(ValueError, match=message):
        read_report(files)
    # Each alone is fine, and under names of their own they are too.
    write_episodes(files[1], [dataclasses.replace(second, training="other")])
    assert len(read_report(files)[0].compared) == 2


def test_a_return_that_is_no_number_is_its_own_duplicate(tmp_path):
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for file in files:
        write_episodes(file, [dataclasses.replace(FIRST, episode_return=float("nan"))])
    findings, _ = read_report(files)
    assert findings.duplicates == 1 and findings.compared[0].rows[0].episodes == 1


def test_files_that_are_no_results(tmp_path):
    with pytest.raises(ValueError, match="at least one results file"):
        read_report([])
    with pytest.raises(FileNotFoundError, match=r"missing\.jsonl is not there"):
        read_report([tmp_path / "missing.jsonl"])
    with pytest.raises(ValueError, match=r"has no tuned\.json"):
        read_report([tmp_path])
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match=r"Did you mean '.*empty\.jsonl'"):
        read_report([tmp_path])
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"picture\.png is no text: expected JSON Lines"):
        read_report([tmp_path / "picture.png"])
    with pytest.raises(ValueError, match="holds no episodes"):
        read_report([tmp_path / "empty.jsonl"])


def test_training_seeds_can_measure_from_observations_of_their_own(tmp_path):
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    guidances = [
        f"qgf(weight=Kappa(kappa=30, observations=float32[9,2]#0123abc{i}))" for i in range(2)
    ]
    for i, file in enumerate(files):
        write_episodes(file, [dataclasses.replace(FIRST, train_seed=i, guidance=guidances[i])])
    (row,) = read_report(files)[0].compared[0].rows
    assert row.guidance == "qgf(weight=Kappa(kappa=30, observations=float32[9,2]))"
    # One training seed has one.
    other = dataclasses.replace(FIRST, episode_seed=9, guidance=guidances[1])
    write_episodes(files[1], [other])
    with pytest.raises(ValueError, match="training seed 0: the label 'qgf kappa 30' stands for 2"):
        read_report(files)


def test_results_of_an_older_flowguide(tmp_path):
    """Lines and tuned.json of 0.1.0, beside new ones."""
    folder = tune(tmp_path / "tuned", TASKS[0])
    earlier = {
        "unguided": ("unguided", 0.0, 1, "raw"),
        "best of 4": ("best_of_n", 0.0, 4, "raw"),
        "qgf 0.1": ("qgf", 0.1, 1, "raw"),
        "qgf kappa 3": ("qgf", 3.0, 1, "kappa"),
        "qgf kappa 30": ("qgf", 30.0, 1, "kappa"),
    }
    names = "method", "weight", "best_of_n", "unit"

    def older(line):
        found = json.loads(line)
        kept = {k: v for k, v in found.items() if k not in ("label", "curve", *names)}
        for name in ("guidance", "steps", "cost", "dropped"):
            del kept[name]
        return json.dumps({**dict(zip(names, earlier[found["label"]], strict=True)), **kept}) + "\n"

    before = read_report([folder])[0]
    for file in folder.glob("*.jsonl"):
        file.write_text("".join(map(older, file.read_text().splitlines())))
    text = json.loads((folder / "tuned.json").read_text())
    text["chosen"] = [dict(zip(names, earlier[label], strict=True)) for label in text["chosen"]]
    (folder / "tuned.json").write_text(json.dumps(text))
    found = read_report([folder])[0]
    assert found.tuned[0][0].chosen == before.tuned[0][0].chosen == [CHOSEN]
    for new, old in zip(before.compared[0].rows, found.compared[0].rows, strict=True):
        told = {"guidance": "", "steps": None, "cost": None, "dropped": None}
        assert dataclasses.replace(new, **told) == old
        assert dataclasses.asdict(old.condition) == dataclasses.asdict(new.condition)
    # Together with new lines, which say more of the same conditions.
    report([folder], tmp_path / "out", on_message=lambda line: None)
    assert not list((tmp_path / "out").glob("*compute.png"))


def test_tuned_folders_that_cannot_be_trusted(tmp_path):
    first = tune(tmp_path / "first", TASKS[0])
    second = tune(tmp_path / "second", TASKS[0])
    with pytest.raises(ValueError, match="Two folders are tuned for"):
        read_report([first, second])
    # Test episodes that chose the weight are none.
    shutil.copy(second / "validation.jsonl", second / "test.jsonl")
    with pytest.raises(ValueError, match="both for validation and for test"):
        read_report([second])
    write_episodes(second / "test.jsonl", play(TASKS[1], [CHOSEN], range(200, 202)))
    with pytest.raises(ValueError, match="its episodes of"):
        read_report([second])
    (second / "tuned.json").write_text('{"task": "cube"}')
    with pytest.raises(ValueError, match="is not what flowguide tune writes"):
        read_report([second])


def test_numbers_as_text():
    assert rate(None) == change(None) == amount(None) == "-"
    assert change(Estimate(0.25, -0.001, 0.4, 10)) == "+0.25 [0.00, +0.40]"
    assert amount(Estimate(-1234.5, -1300.2, -1100.9, 9)) == "-1234 [-1300, -1101]"
    assert amount(Estimate(0.01234, 0.0119, 0.0131, 9)) == "0.0123 [0.0119, 0.0131]"
    assert amount(Estimate(-200.0, -200.0, -200.0, 9)) == "-200.00 [-200.00, -200.00]"
    assert mark(Estimate(0.1, 0.01, 0.2, 5)) == "better"
    assert mark(Estimate(-0.1, -0.2, -0.01, 5)) == "worse"
    assert mark(Estimate(0.1, 0.0, 0.2, 5)) == mark(None) == ""
