import io
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import flowguide as fg
from flowguide import CATALOGUE, FlowPolicy, nn, save
from flowguide._system.progress import make_console, progress_bar
from flowguide.cli import _demo
from flowguide.cli._main import COMMANDS, parse as checked_parse
from flowguide.results import read_episodes

from .site.blocks import unchecked

METHODS = [*CATALOGUE]


def parse(arguments):
    with unchecked():
        return checked_parse(arguments)


def flowguide(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "flowguide", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ["collect", "demo", "evaluate", "report", "sweep", "train", "tune"]),
        (("evaluate",), ["RUN [RUN ...]", "--method", "--kappas", "--best-of-n", "--videos"]),
        (("evaluate",), ["--local", "--relatives", "--norms", *METHODS]),
        (("report",), ["FILE [FILE ...]", "--out", "--rows"]),
        (("tune",), ["RUN [RUN ...]", "--validation-episodes", "--test-episodes"]),
        (("collect",), ["DATASET", "--episodes", "--out", "--workers", "--seed"]),
        (("demo",), ["--out", "--quick", "--seed"]),
        (("train",), ["TASK", "--critic {iql,", "--seeds", "--preset", "(default: 100000)"]),
        (("train", "--preset", "paper"), ["1024 1024", "(default: 500000)", "(default: 0.999)"]),
    ],
)
def test_help(command, words):
    found = flowguide(*command, "--help")
    assert found.returncode == 0, found.stderr
    for word in words:
        assert word in found.stdout


@pytest.mark.parametrize("width", [100, 40])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_the_terminal(command, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit):
        parse([*command.split(), "--help"])
    help_ = capsys.readouterr().out
    assert max(map(len, help_.splitlines())) <= width
    assert "(default: )" not in help_ and "(default: '')" not in help_


def test_help_is_in_the_order_of_work_and_wraps_docstrings_anew(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        parse(["--help"])
    names = [line.split()[2] for line in capsys.readouterr().out.splitlines() if "•" in line]
    assert names == ["demo", "collect", "train", "evaluate", "tune", "report", "sweep"]
    with pytest.raises(SystemExit):
        parse(["train", "--help"])
    # The docstring has breaks in it.
    assert "policy and critic learn that task; without one" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        parse(["--version"])
    assert not ended.value.code
    assert capsys.readouterr().out == f"flowguide {fg.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("evaluate run --out x --weights 1,2,x", "'1,2,x' is not a number. Nor is 'x' in it."),
        ("evaluate run --out x --weights 1,2", "Several numbers have spaces between them"),
        ("evaluate run --out x --best-of-n 1.5", "--best-of-n: '1.5' is not an integer."),
        ("evaluate run --out x --num-envs many", "--num-envs: 'many' is not an integer."),
        ("train cube --out x --steps 1e4", "'1e4' is not an integer. Write 10000."),
        ("train cube --out x --clip-norm x", "--clip-norm: 'x' is not a number."),
    ],
)
def test_numbers_that_cannot_be_read_say_why(arguments, said, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        parse(arguments.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_numbers_are_read():
    given = parse(
        "train cube --out x --clip-norm 2 --pessimism None --hidden 3 4 --evaluate-weights".split()
    ).settings
    assert (given.clip_norm, given.pessimism, given.hidden) == (2.0, None, (3, 4))
    assert given.evaluate_weights == () and isinstance(given.clip_norm, float)


def test_misspelt_options_are_proposed_once(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        parse("evaluate run --out x --weight 3".split())
    error = capsys.readouterr().err
    assert error.count("--weights [FLOAT") == 1 and "--target-weight" not in error
    assert "flowguide evaluate --help" in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "evalute run",
            "There is no command 'evalute': expected one of demo, collect, .*'evaluate'",
        ),
        ("sweep tinny --out {}", "There is no plan tinny.* Did you mean 'tiny'"),
        ("collect cube-singel-play-v0 --episodes 1 --out {}", "Did you mean 'cube-single-play-v0'"),
    ],
)
def test_misspelt_names_are_answered_with_the_nearest(tmp_path: Path, arguments, said):
    with pytest.raises((ValueError, OSError), match=said):
        parse(arguments.format(tmp_path).split()).run()


def test_weights_in_units_of_the_task_need_observations(tmp_path: Path):
    keys = jax.random.split(jax.random.key(0))
    velocity = nn.VelocityMLP(3, (1,), (8,), key=keys[0])
    policy = FlowPolicy(velocity, (1,), low=-2.0, high=2.0, num_steps=2)
    save(tmp_path / "run", policy, nn.critic_ensemble(2, 3, (1,), (8,), key=keys[1]))
    options = "--environment Pendulum-v1 --episodes 1 --num-envs 1 --method qgf".split()
    command = ["evaluate", str(tmp_path / "run"), *options, "--out", str(tmp_path / "a.jsonl")]
    for weights in ((), ("--kappas", "3")):
        found = flowguide(*command, *weights)
        assert found.returncode == 1 and found.stderr.startswith("flowguide: Weights in units of")
        assert "holds no observations" in found.stderr and "Traceback" not in found.stderr
    found = flowguide(*command, "--local", "3", "--relatives", "0.2", "--norms", "0.5")
    assert found.returncode == 0, found.stderr
    labels = {episode.condition.label for episode in read_episodes(tmp_path / "a.jsonl")}
    assert labels == {"unguided", "qgf local 3", "qgf relative 0.2", "qgf norm 0.5"}
    wrong = flowguide(*command, "--weights", "1", "--method", "qfg")
    assert wrong.returncode == 1 and wrong.stderr.startswith("flowguide: Unknown method 'qfg'")


def test_collect_and_its_errors(tmp_path: Path):
    found = flowguide(
        "collect", "pointmaze-medium-stitch-v0", "--episodes", "2", "--out", str(tmp_path)
    )
    assert found.returncode == 0, found.stderr
    assert "Wrote" in found.stdout and "━" not in found.stderr
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["pointmaze-medium-stitch-v0-val.npz", "pointmaze-medium-stitch-v0.npz"]
    wrong = flowguide("collect", "cube-v0", "--episodes", "2", "--out", str(tmp_path))
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("flowguide: 'cube-v0' is no dataset")
    assert "Traceback" not in wrong.stderr


def test_demo_refuses_the_folder_of_another_demo(tmp_path: Path):
    (tmp_path / "plan.json").write_text("{}")
    found = flowguide("demo", "--quick", "--out", str(tmp_path))
    assert found.returncode == 1
    assert "holds the demo of another plan" in found.stderr


def test_train_and_its_errors(tmp_path: Path):
    task = "pointmaze-medium-stitch-singletask-task1-v0"
    wrong = flowguide("train", task, "--out", str(tmp_path / "run"), "--critic", "robust")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("flowguide: --critic robust learns from a finished run")
    # Without a network, here: through a proxy that nobody answers at.
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")}
    folder = str(tmp_path / "data")
    missing = flowguide(
        *("train", task, "--dataset-dir", folder, "--out", str(tmp_path / "run")),
        env={**os.environ, **nowhere},
    )
    assert missing.returncode == 1 and "Traceback" not in missing.stderr
    assert "pointmaze-medium-stitch-v0.npz" in missing.stderr
    assert f"flowguide collect pointmaze-medium-stitch-v0 --episodes 200 --out {folder}" in (
        missing.stderr.replace("\n", " ")
    )


def test_a_reader_who_goes_away_is_no_error():
    with subprocess.Popen(
        [sys.executable, "-m", "flowguide", "evaluate", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() in (0, 1)


@pytest.mark.parametrize("name", ["x [old]", "[/b]", "[bold]y"])
def test_brackets_in_a_path_are_no_markup(tmp_path: Path, name):
    key = jax.random.key(0)
    out, run = tmp_path / name / "results.jsonl", tmp_path / "run"
    save(run, FlowPolicy(nn.VelocityMLP(3, (1,), (8,), key=key), (1,), low=-2, high=2), None)
    found = flowguide(
        *("evaluate", str(run), "--method", "unguided", "--environment", "Pendulum-v1"),
        *("--episodes", "1", "--out", str(out)),
        env={**os.environ, "COLUMNS": "0"},
    )
    assert found.returncode == 0, found.stderr
    # A terminal of no width shows it all the same.
    assert f"The episodes are in {out}" in found.stdout
    assert "No episode says whether it was a success" in found.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--episodes", "0"), "episodes must be an integer of at least 1, got 0"),
        (("--first-episode-seed", "-1"), "first_episode_seed must be an integer from 0 to 2**31"),
        (("--first-episode-seed", "2147483647"), "first_episode_seed must be an integer from 0"),
        (("--weights", "nan"), "must be finite, got nan"),
        (("--weights", "inf"), "must be finite, got inf"),
        (("--max-episode-steps", "0"), "max_episode_steps must be an integer of at least 1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(tmp_path: Path, options, said):
    key = jax.random.key(0)
    policy = FlowPolicy(nn.VelocityMLP(3, (1,), (8,), key=key), (1,), low=-2, high=2)
    save(tmp_path, policy, nn.CriticMLP(3, (1,), (8,), key=key))
    arguments = ["evaluate", str(tmp_path), "--environment", "Pendulum-v1", "--weights", "0.1"]
    if "--episodes" not in options:
        arguments += ["--episodes", "2"]
    found = flowguide(*arguments, *options, "--out", str(tmp_path / "results.jsonl"))
    assert found.returncode == 1 and said in found.stderr
    assert "Traceback" not in found.stderr and not (tmp_path / "results.jsonl").exists()


def test_brackets_in_the_folder_of_a_demo_are_no_markup(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr("flowguide.ogbench.collect", lambda *_, **__: None)
    monkeypatch.setattr("flowguide.runs.run", lambda settings, out, **_: out)
    monkeypatch.setattr("flowguide.evaluate.evaluate_runs", lambda *_, **__: [])
    monkeypatch.setattr("flowguide.plot.plot_success", lambda *_: None)

    def record_videos(runs, guidances, episodes, count, folder, **_):
        assert list(guidances) == ["unguided", "qgf local 5"] and count == 1
        folder.mkdir()
        (folder / "a.mp4").touch()

    monkeypatch.setattr("flowguide.video.record_videos", record_videos)
    for name in ("x [old]", "[/b]"):
        # What is filmed already is not filmed again.
        for _ in range(2):
            _demo.run(_demo.MAZE, tmp_path / name, 0)
            said = capsys.readouterr().out
            assert f"In {tmp_path / name}: success.png, videos/a.mp4, results.jsonl, run." in said
    with progress_bar("episodes", make_console(file=io.StringIO(), force_terminal=True)) as bar:
        bar.add_task("play", total=1, note="[/b]")
        bar.refresh()


LOST = """
import gc, os, signal, time
from flowguide.cli import _main

class Command:
    def run(self):
        was = []

        def callback(phase, info):
            if not was:
                was.append(True)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)

        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(60)

_main.parse = lambda arguments: Command()
_main.main()
"""


def test_an_interrupt_that_python_drops_is_not_lost():
    found = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=50)
    assert found.returncode == 130
    assert found.stderr == "flowguide: stopped; the same command goes on from what is finished.\n"
