"""Files that two processes want at once."""

import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from flowguide._system.files import as_file_name, replace_file
from flowguide._system.locks import alone_with

HOLD = """
import sys, time
from pathlib import Path
from flowguide._system.locks import alone_with
with alone_with(Path(sys.argv[1]), "playing into"):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(file):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_file_has_one_writer(tmp_path):
    file = tmp_path / "results.jsonl"
    with hold(file) as process:
        message = "Another process is playing into .*results.jsonl: wait until it is done"
        with pytest.raises(RuntimeError, match=message), alone_with(file, "playing into"):
            pass
        # However it ends, the lock is free.
        process.kill()
    with alone_with(file, "playing into"), alone_with(tmp_path / "other", "playing into"):
        assert len(list(tmp_path.iterdir())) == 2
    assert not list(tmp_path.iterdir())


def _count(folder, times):
    """Adds to a number in a file, which without a lock loses counts."""
    file = folder / "number"
    for _ in range(times):
        while True:
            try:
                with alone_with(file, "counting in"):
                    number = int(file.read_text())
                    time.sleep(0.001)
                    replace_file(file, lambda path, n=number: path.write_text(str(n + 1)))
                break
            except RuntimeError:
                time.sleep(0.001)


def test_no_two_processes_hold_a_lock_that_is_removed_and_made_again(tmp_path):
    (tmp_path / "number").write_text("0")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(tmp_path, 40)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "number").read_text() == "120"
    assert [file.name for file in tmp_path.iterdir()] == ["number"]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")

    def fail(path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(file, fail)
    assert file.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_two_texts_are_two_file_names():
    texts = ["my env", "my_env", "my/env", "my-env", "a/b:c", "", "ä", "ö", "..", "v0.1"]
    names = [as_file_name(text) for text in texts if text]
    assert len(set(names)) == len(names)
    assert as_file_name("cube-single-play-v0") == "cube-single-play-v0"
    assert all("/" not in name and name not in ("", ".") for name in names)
