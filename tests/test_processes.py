"""Worker processes: what they import, and where they can be started."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flowguide._system.processes import without_interrupts
from tests.sweep.fake import fake
from tests.sweep.running import run as run_jobs

PLAY = """
import json
import jax
from flowguide import FlowPolicy
from flowguide.evaluate import Agent, evaluate
if __name__ == "__main__":
    policy = FlowPolicy(lambda t, a, o: -a, (1,), num_steps=1, low=-2.0, high=2.0)
    played = evaluate(Agent(policy), "Pendulum-v1", {"unguided": None}, range(2), num_envs=2)
    print([episode.error for episode in played])
"""


def run(source, *, through_a_pipe=False, **options):
    command = [sys.executable, *(["-"] if through_a_pipe else ["-c", source])]
    given = {"input": source} if through_a_pipe else {}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **given, **options)


def test_workers_import_what_the_caller_does(tmp_path):
    """A folder `ogbench` or `gymnasium` that happens to be there is not what plays."""
    script = tmp_path / "elsewhere" / "play.py"
    script.parent.mkdir()
    script.write_text(PLAY)
    for name in ("ogbench", "gymnasium", "mujoco", "flowguide"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    found = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert found.stdout == "[None, None]\n", found.stderr
    assert "the wrong one" not in found.stderr


def test_a_script_that_comes_through_a_pipe():
    found = run(PLAY, through_a_pipe=True)
    assert found.stdout == "[None, None]\n", found.stderr


def test_a_temporary_folder_with_a_long_name(tmp_path):
    folder = tmp_path / ("t" * 100)
    folder.mkdir()
    found = run(PLAY, env={**os.environ, "TMPDIR": str(folder)})
    assert found.stdout == "[None, None]\n", found.stderr


def test_a_script_that_does_not_guard_itself_is_told_so(tmp_path):
    script = tmp_path / "play.py"
    script.write_text(PLAY.replace('if __name__ == "__main__":', "if True:"))
    found = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 1
    last = found.stderr.strip().splitlines()[-1]
    assert 'call it under `if __name__ == "__main__":`' in last


def test_the_environment_of_the_caller_is_not_changed():
    source = PLAY + "    import os\n    print([k for k in os.environ if k.startswith('PYTHON')])\n"
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    found = run(source, env=env)
    assert found.stdout.splitlines()[-1] == "[]"


def test_jobs_of_a_sweep_import_what_the_sweep_does(tmp_path, monkeypatch):
    (tmp_path / "ogbench").mkdir()
    (tmp_path / "ogbench" / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    found, _ = run_jobs([fake("report", "imports", module="ogbench")], tmp_path)
    assert found["report"].stage == "done", found


def test_an_interrupt_waits_until_what_starts_has_started():
    done, noticed, over = [], [], threading.Event()
    # The kernel gives a signal to any thread that does not block it.
    threading.Thread(target=over.wait, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            with without_interrupts(on_interrupt=lambda: noticed.append(len(done))):
                done.append("before")
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
                done.append("after")
    finally:
        over.set()
    assert done == ["before", "after"] and noticed == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_whoever_ignores_interrupts_goes_on_to_do_so():
    noticed, before = [], signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with without_interrupts(on_interrupt=lambda: noticed.append(True)):
            os.kill(os.getpid(), signal.SIGINT)
        assert not noticed and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_is_started_never_sees_an_interrupt():
    with without_interrupts():
        here = _interrupted()
    with ThreadPoolExecutor(1) as pool:
        in_a_thread = pool.submit(without_interrupts()(_interrupted)).result()
    assert here == in_a_thread == (0, b"on\n")


def _interrupted() -> tuple[int, bytes]:
    script = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('on')"
    process = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE)
    return process.returncode, process.stdout
