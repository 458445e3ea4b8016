"""A run that is killed at random moments ends like one that never was."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowguide.ogbench import collect
from flowguide.runs import read_metrics

TASK = "pointmaze-medium-navigate-singletask-task1-v0"
KILLS = 3


def command(data: Path, out: Path) -> list[str]:
    flags = "--steps 4000 --hidden 16 16 --batch-size 32 --log-every 50 --checkpoint-every 50"
    more = "--critic success_to_go --average-rate 0.01 --clip-norm 1 --schedule cosine"
    where = ["--dataset-dir", str(data), "--out", str(out)]
    return [sys.executable, "-m", "flowguide", "train", TASK, *flags.split(), *more.split(), *where]


def newest_checkpoint(out: Path) -> int:
    names = [path.name for path in (out / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdigit()), default=0)


@pytest.mark.parametrize("seed", [0])
def test_a_killed_run_ends_with_the_same_parameters(tmp_path: Path, seed):
    collect("pointmaze-medium-navigate-v0", 2, tmp_path, workers=1)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(tmp_path, whole), check=True, capture_output=True, timeout=240)
    chance = random.Random(seed)
    continued = 0
    for _ in range(KILLS):
        before = newest_checkpoint(killed)
        process = subprocess.Popen(
            command(tmp_path, killed), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        deadline = time.monotonic() + 120
        # A few checkpoints on, then at any moment: in an update, while writing, while tidying up.
        target = before + 50 * chance.randint(1, 12)
        while newest_checkpoint(killed) < target and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        shown, _ = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
        continued += "Going on from the checkpoint" in shown
    assert continued == KILLS - 1
    done = subprocess.run(
        command(tmp_path, killed), check=True, capture_output=True, text=True, timeout=240
    )
    assert "Going on from the checkpoint" in done.stdout
    files = [run / "seed_0" / "model.safetensors" for run in (whole, killed)]
    assert files[0].read_bytes() == files[1].read_bytes()
    lines = [
        [{**line, "updates_per_second": 0} for line in read_metrics(run / "metrics.jsonl")]
        for run in (whole, killed)
    ]
    assert lines[0] == lines[1] and len(lines[0]) == 80
