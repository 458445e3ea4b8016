"""The metrics of a run, in its file and with trackers."""

import sys
import types

import pytest

from flowguide.runs import read_metrics, run

from ..train.test_train import promotion_as_optax_needs_it as promotion_as_optax_needs_it
from .runs import quiet_run


def test_tensorboard(settings, tmp_path):
    pytest.importorskip("tensorboardX")
    quiet_run(settings(track=("tensorboard",)), tmp_path)
    (events,) = (tmp_path / "tensorboard").glob("events*")
    assert b"seed_0/policy/loss" in events.read_bytes()


def test_a_tracker_of_ones_own(settings, tmp_path):
    reports = []
    run(settings(), tmp_path, on_message=str, progress=False, on_report=reports.append)
    assert [report.step for report in reports] == [4, 8]
    assert "policy/loss" in reports[0].losses


def test_a_tracker_that_needs_an_account(settings, tmp_path, monkeypatch):
    """Against a stand-in."""
    name, seen = "wandb", []
    closed = []
    run_ = types.SimpleNamespace(
        log=lambda values, step: seen.append((step, values)), finish=lambda: closed.append(True)
    )
    stand_in = types.SimpleNamespace(init=lambda **options: run_, **vars(run_))
    monkeypatch.setitem(sys.modules, name, stand_in)
    quiet_run(settings(track=(name,)), tmp_path / "with")
    assert [step for step, _ in seen] == [4, 8] and "seed_0/policy/loss" in seen[0][1]
    assert closed == [True]

    def refuse(**options):
        raise PermissionError("no key")

    monkeypatch.setattr(stand_in, "init", refuse)
    message = f"{name} could not be started: PermissionError: no key. Without --track {name}"
    with pytest.raises(RuntimeError, match=message):
        quiet_run(settings(track=(name,)), tmp_path / "refused")
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'flowguide\[{name}\]'"):
        quiet_run(settings(track=(name,)), tmp_path / "without")


def test_metrics_that_cannot_be_written_wait(tmp_path):
    from flowguide.runs._metrics import Metrics

    told = []
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1, "seed": 0}\n{"step": 2, "seed": 0}\n{"step": 3, "se')
    metrics = Metrics(file, step=1, settings={}, on_message=told.append)
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


def test_what_editors_do_to_metrics_loses_nothing(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"step": 1, "seed": 0}\r\n\n{"step": 2, "seed": 0}')
    assert [line["step"] for line in read_metrics(file)] == [1, 2]
    file.write_text("notes\n")
    with pytest.raises(ValueError, match="metrics.jsonl, line 1, is no line of metrics"):
        read_metrics(file)
