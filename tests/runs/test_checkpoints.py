import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flowguide.runs._checkpoints import Checkpoints

# Reading a damaged checkpoint, orbax leaves coroutines behind that nobody awaits.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def state(scale):
    return {
        "model": [scale * jnp.arange(5000.0), "a name", None],
        "count": jnp.asarray(7, jnp.int32),
        "flag": jnp.array([True, False]),
    }


@pytest.fixture
def told():
    return []


@pytest.fixture
def open_checkpoints(tmp_path, told):
    opened = []

    def open_one(folder=tmp_path / "checkpoints", keep=2):
        opened.append(Checkpoints(folder, keep=keep, on_message=told.append))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if not isinstance(x, str):
            assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
    return True


def test_the_newest_comes_back(open_checkpoints, told):
    checkpoints = open_checkpoints()
    assert checkpoints.latest is None and checkpoints.restore(state(0.0)) is None
    for step in (10, 20, 30):
        assert checkpoints.save(step, state(float(step)))
    again = open_checkpoints()
    assert again.latest == 30
    step, found = again.restore(state(0.0))
    assert step == 30 and same(found, state(30.0))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["20", "30"]
    assert told == []


def damage(folder: Path, how: str) -> None:
    files = sorted(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda p: -p.stat().st_size
    )
    if how == "flip":
        for file in files[:3]:
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 0xFF
            file.write_bytes(content)
    elif how == "truncate":
        files[0].write_bytes(files[0].read_bytes()[:100])
    elif how == "remove":
        files[0].unlink()
    elif how == "empty":
        shutil.rmtree(folder / "state")


@pytest.mark.parametrize("how", ["flip", "truncate", "remove", "empty"])
def test_a_damaged_one_falls_back_to_the_one_before(open_checkpoints, told, how):
    checkpoints = open_checkpoints()
    for step in (10, 20):
        checkpoints.save(step, state(float(step)))
    checkpoints.close()
    damage(checkpoints.folder / "20", how)
    again = open_checkpoints()
    step, found = again.restore(state(0.0))
    assert step == 10 and same(found, state(10.0))
    (sentence,) = told
    assert sentence.startswith("The checkpoint at update 20 in ")
    assert "is damaged" in sentence and "The last good one is update 10" in sentence
    assert (again.folder.with_name("checkpoints_damaged") / "20").is_dir()
    # Its place is free again.
    assert again.save(20, state(21.0))
    assert same(open_checkpoints().restore(state(0.0))[1], state(21.0))


def test_all_damaged(open_checkpoints, told):
    checkpoints = open_checkpoints()
    checkpoints.save(10, state(1.0))
    damage(checkpoints.folder / "10", "remove")
    assert open_checkpoints().restore(state(0.0)) is None
    assert "There is no earlier one" in told[0]


def test_another_structure_is_refused_and_kept(open_checkpoints, told):
    checkpoints = open_checkpoints()
    checkpoints.save(10, state(1.0))
    other = {**state(0.0), "count": jnp.zeros(3)}
    with pytest.raises(
        ValueError, match=r"'count' is int32\[\] there and float32\[3\] here \(1 arrays"
    ):
        checkpoints.restore(other)
    assert open_checkpoints().restore(state(0.0))[0] == 10 and told == []


def test_what_a_killed_process_left_half_written_is_removed(open_checkpoints, told):
    checkpoints = open_checkpoints()
    checkpoints.save(10, state(1.0))
    checkpoints.close()
    half = checkpoints.folder / "20.orbax-checkpoint-tmp"
    shutil.copytree(checkpoints.folder / "10", half)
    (half / "commit_success.txt").unlink(missing_ok=True)
    again = open_checkpoints()
    assert again.restore(state(0.0))[0] == 10
    again.close()  # It is removed in the background.
    assert not half.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_keeps_the_one_before(small_disk, open_checkpoints, told):
    checkpoints = open_checkpoints(small_disk / "checkpoints")
    rng = np.random.default_rng(0)
    large = {"x": jnp.asarray(rng.normal(size=18_000), jnp.float32)}
    assert checkpoints.save(10, large)
    assert not checkpoints.save(20, {"x": large["x"] + 1})
    (sentence,) = told
    assert sentence.startswith("The checkpoint at update 20 could not be written")
    assert "The last good one is update 10" in sentence
    assert checkpoints.latest == 10
    # Half a checkpoint would keep the disk full.
    assert [entry.name for entry in checkpoints.folder.iterdir() if entry.is_dir()] == ["10"]
    again = open_checkpoints(small_disk / "checkpoints")
    step, found = again.restore(large)
    assert step == 10 and same(found, large)


def test_an_error_of_the_file_system_keeps_the_one_before(open_checkpoints, told, monkeypatch):
    """The same without the right to mount: the error is raised where orbax writes."""
    checkpoints = open_checkpoints()
    checkpoints.save(10, state(1.0))
    with monkeypatch.context() as patched:

        def full(step, **options):
            # Not even tidied away.
            (checkpoints.folder / str(step) / "state").mkdir(parents=True)
            raise OSError(28, "No space left on device")

        patched.setattr(checkpoints._manager, "save", full)
        assert not checkpoints.save(20, state(2.0))
    assert "No space left on device" in told[0] and "Training goes on" in told[0]
    assert not (checkpoints.folder / "20").exists()
    assert checkpoints.save(30, state(3.0))
    assert open_checkpoints().restore(state(0.0))[0] == 30
