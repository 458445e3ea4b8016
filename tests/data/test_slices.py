import io
import itertools
import os
import subprocess
import sys
import threading
import weakref
import zipfile
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from hypothesis import given, strategies as st

from flowguide import nn
from flowguide.data import from_arrays, GoalWindows, POLICY_GOALS, SliceStream, Windows
from flowguide.train import FlowMatching, train

# How long to wait for another thread before a test fails instead of hanging.
PATIENCE = 60


def load(file):
    with np.load(file) as arrays:
        return dict(arrays)


def make(dataset):
    return Windows(dataset, 1)


def make_arrays(number, lengths=(3, 4)):
    """Episodes of the given numbers of actions, in a slice that its observations tell apart."""
    rng = np.random.default_rng(number)
    size = sum(lengths) + len(lengths)
    ends = np.zeros(size, bool)
    ends[np.cumsum(np.array(lengths) + 1) - 1] = True
    return {
        "observations": np.stack([np.full(size, number), np.arange(size)], axis=1),
        "actions": rng.uniform(-1, 1, (size, 1)),
        "rewards": rng.normal(size=size),
        "masks": (rng.random(size) > 0.2).astype(float),
        "ends": ends,
    }


def windows_of(sampler) -> Any:
    return getattr(sampler, "windows", sampler)


def number_of(sampler):
    return int(windows_of(sampler).dataset.observations[0, 0])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slices")
    paths = [folder / f"slice-{i}.npz" for i in range(4)]
    for i, path in enumerate(paths):
        np.savez(path, **make_arrays(i, (3,) * (i + 1)))
    return paths


class Loader:
    """Loads a slice whenever the test lets it, and notes which."""

    def __init__(self):
        self.files = []
        self.permits = threading.Semaphore(0)
        self.at_start = lambda: None

    def __call__(self, file):
        assert self.permits.acquire(timeout=PATIENCE)
        self.at_start()
        self.files.append(file)
        return load(file)


@given(
    num_slices=st.integers(1, 4),
    every=st.integers(1, 3),
    seed=st.integers(0, 2**40),
    resumed_at=st.integers(0, 20),
)
def test_every_slice_once_in_an_epoch_in_an_order_that_a_resumed_run_goes_on_in(
    files, num_slices, every, seed, resumed_at
):
    def visited(steps):
        with SliceStream(files[:num_slices], load, make, every=every, seed=seed) as stream:
            assert len(stream) == num_slices
            return [number_of(stream.at(step)) for step in steps]

    steps = range(3 * num_slices * every)
    order = visited(steps)
    visits = np.array(order).reshape(3, num_slices, every)
    assert np.all(visits == visits[:, :, :1])
    np.testing.assert_array_equal(np.sort(visits[:, :, 0]), [list(range(num_slices))] * 3)
    assert visited(steps[resumed_at:]) == order[resumed_at:]


def test_the_order_depends_on_seed_and_epoch(files):
    def order(seed):
        with SliceStream(files, load, make, every=1, seed=seed) as stream:
            return tuple(number_of(stream.at(step)) for step in range(12))

    orders = {order(seed) for seed in range(4)}
    assert len(orders) == 4
    assert any(order[:4] != order[4:8] for order in orders)


def test_the_next_slice_is_loaded_before_it_is_due_and_at_most_two_are_held(files):
    loader, made = Loader(), []
    alive_at_start, alive_when_made = [], []
    next_is_made = threading.Semaphore(0)

    def alive():
        return sum(reference() is not None for reference in made)

    def counting_make(dataset):
        made.append(weakref.ref(dataset.observations))
        alive_when_made.append(alive())
        next_is_made.release()
        return make(dataset)

    loader.at_start = lambda: alive_at_start.append(alive())
    # A seed by which any three visits in a row are to three slices, so that each is a load.
    with SliceStream(files, loader, counting_make, every=2, seed=41) as stream:
        loader.permits.release()
        sampler = stream.at(0)
        assert next_is_made.acquire(timeout=PATIENCE)
        for visit in range(1, 12):
            # The loader is let on only here, after this run let go of the slice before.
            loader.permits.release()
            assert next_is_made.acquire(timeout=PATIENCE)
            loaded, last = len(loader.files), number_of(sampler)
            sampler = stream.at(2 * visit)
            assert number_of(sampler) != last
            assert stream.at(2 * visit + 1) is sampler
            assert len(loader.files) == loaded
        loader.permits.release()
    assert alive_at_start[:11] == [0] + [1] * 10
    assert alive_when_made[:11] == [1] + [2] * 10


@pytest.mark.parametrize("num_slices", [1, 2, 4])
def test_a_slice_that_is_held_is_not_loaded_again(files, num_slices):
    """The last of an epoch that is also the first of the next; and one or two slices in all."""
    stayed = 0
    for seed in range(4):
        loader = Loader()
        loader.permits.release(100)
        with SliceStream(files[:num_slices], loader, make, every=1, seed=seed) as stream:
            samplers = [stream.at(step) for step in range(12)]
        numbers = [number_of(sampler) for sampler in samplers]
        for (m, a), (n, b) in itertools.pairwise(zip(numbers, samplers, strict=True)):
            assert (a is b) == (m == n)
            stayed += m == n
        assert num_slices > 2 or len(loader.files) == num_slices
    assert stayed


@given(steps=st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_any_step_can_be_asked_for(files, steps):
    with SliceStream(files, load, make, every=3) as stream:
        expected = [number_of(stream.at(step)) for step in range(41)]
        jumped = [number_of(stream.at(step)) for step in steps]
    assert jumped == [expected[step] for step in steps]


def test_the_first_load_is_counted_apart(files, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr("flowguide.data._slices.time.perf_counter", lambda: float(next(ticks)))
    with SliceStream(files, load, make, every=1) as stream:
        assert (stream.first_load, stream.waited) == (0, 0)
        for step in range(4):
            stream.at(step)
    # Each wait is one tick of this clock.
    assert (stream.first_load, stream.waited) == (1, 3)


# Few sizes: each is compiled for.
@given(
    seed=st.integers(0, 1000),
    lengths=st.permutations([0, 3, 5]),
    padding=st.sampled_from([0, 7]),
    sampler=st.sampled_from(["n_step", "monte_carlo", "success_to_go", "critic", "policy"]),
)
def test_padding_changes_no_batch(tmp_path_factory, seed, lengths, padding, sampler):
    arrays = make_arrays(seed, lengths)
    file = tmp_path_factory.mktemp("padding") / "slice.npz"
    np.savez(file, **arrays)

    def make(dataset):
        if sampler == "critic":
            return GoalWindows(dataset, 3)
        if sampler == "policy":
            return GoalWindows(dataset, 3, ratios=POLICY_GOALS)
        return Windows(dataset, 3, 0.9, returns=sampler)

    unpadded = make(from_arrays(**arrays))
    num_rows = len(arrays["ends"]) + padding
    with SliceStream([file], load, make, num_rows=num_rows) as stream:
        padded = stream.at(0)
    before, after = windows_of(unpadded), windows_of(padded)
    assert len(before) == len(after)
    assert len(after.dataset) == len(after.starts) == num_rows
    batches = [x.sample(jax.random.key(seed), 16) for x in (unpadded, padded)]
    assert eqx.tree_equal(*batches)
    # No success is made up, either.
    assert np.sum(after.dataset.masks == 0) == np.sum(before.dataset.masks == 0)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_slices_are_as_long_as_the_longest_file(tmp_path, files, version):
    """Without ends, a slice is one episode. Bounds have no rows to pad."""
    arrays = make_arrays(7, (30,))
    del arrays["ends"]
    file = tmp_path / "long.npz"
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=version)
            archive.writestr(f"{name}.npy", content.getvalue())

    def load_with_bounds(file):
        return {**load(file), "low": np.array([-2.0]), "high": 2.0, "goals": None}

    with SliceStream([files[0], file], load_with_bounds, make, every=1) as stream:
        windows = [windows_of(stream.at(step)) for step in (0, 1)]
    assert [len(x.dataset) for x in windows] == [31, 31]
    assert sorted(len(x) for x in windows) == [3, 30]


class CountingTraces(FlowMatching):
    """A learner whose update is run by Python only when it is compiled."""

    traces: list = eqx.field(static=True, kw_only=True)

    def update(self, state, batch, key):
        self.traces.append(1)
        return super().update(state, batch, key)


def test_training_compiles_once_and_resumes_to_the_same_result(files, key):
    traces = []
    learner = CountingTraces(lambda k: nn.VelocityMLP(2, (1, 1), (8,), key=k), traces=traces)

    def run(steps, log_every, state=None):
        counts, numbers = [], []

        def numbered(dataset):
            numbers.append(int(dataset.observations[0, 0]))
            return make(dataset)

        def note(report):
            counts.append((report.step, len(traces)))

        with SliceStream(files, load, numbered, every=3, seed=2) as stream:
            state = train(
                learner,
                stream,
                steps=steps,
                batch_size=4,
                key=key,
                log_every=log_every,
                state=state,
                on_report=note,
            )
        return state, counts, numbers

    # optax.adam raises a float to its integer step count, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        whole, counts, numbers = run(30, 3)
        first, _, _ = run(16, 7)
        resumed, _, _ = run(30, 7, first)
    assert [step for step, _ in counts] == list(range(3, 31, 3))
    assert set(numbers) == {0, 1, 2, 3}
    assert counts[0][1] > 0 and len(traces) == counts[0][1]
    assert eqx.tree_equal(whole, resumed)


def test_the_slices_are_what_is_learnt_from(files, key):
    """Another seed visits them in another order, and training ends elsewhere."""
    learner = FlowMatching(lambda k: nn.VelocityMLP(2, (1, 1), (8,), key=k))

    def run(seed):
        with SliceStream(files, load, make, every=1, seed=seed) as stream:
            return train(learner, stream, steps=3, batch_size=4, key=key)

    with jax.numpy_dtype_promotion("standard"):
        assert not eqx.tree_equal(run(0), run(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"num_rows": 0}, "num_rows must be an integer of at least 1, got 0"),
    ],
)
def test_arguments(files, options, message):
    with pytest.raises(ValueError, match=message):
        SliceStream(files, load, make, **options)


def test_files_that_are_missing_or_not_slices(tmp_path, files):
    with pytest.raises(ValueError, match="files is empty"):
        SliceStream([], load, make)
    missing = tmp_path / "missing.npz"
    with pytest.raises(
        FileNotFoundError, match=r"1 of 5 slices are no files, first .*missing\.npz"
    ):
        SliceStream([*files, missing], load, make)
    text = tmp_path / "text.npz"
    text.write_text("no zip file")
    other = tmp_path / "other.npz"
    np.savez(other, actions=np.zeros(3))
    for file, reason in ((text, "not a zip file"), (other, "no item named 'observations.npy'")):
        with pytest.raises(ValueError, match=rf"{file.name} cannot be read: .*{reason}.*num_rows"):
            SliceStream([*files, file], load, make)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observations": np.zeros((21, 2))}, "it has 21 rows, expected 1 to num_rows=20"),
        ({"observations": np.zeros((0, 2))}, "it has 0 rows"),
        ({"observations": None}, r"it has no observations, only \['actions'"),
        ({"observations": np.zeros((9, 3))}, "the shapes of its rows are .* of other slices"),
        ({"goals": np.zeros((9, 3))}, "the shapes of its rows are .*'goals'"),
        ({"actions": np.zeros((8, 1))}, "actions has shape"),
        ({"actions": np.full((9, 1), np.nan)}, "not finite in 9 of 20 rows"),
        ({"ends": np.zeros(9, bool)}, "its last row is not the end of an episode"),
        ({"rewards": None}, "got one without the other"),
        ({"unknown": np.zeros(9)}, "TypeError.*unknown"),
    ],
)
def test_a_slice_that_cannot_be_used(files, change, message):
    """The error comes when the slice is due, and names it; the others can still be used."""

    def load_changed(file):
        arrays = make_arrays(files.index(file))
        return {**arrays, **change} if file == files[2] else arrays

    with SliceStream(files, load_changed, make, every=1, seed=1, num_rows=20) as stream:
        order, failures = [], []
        for step in range(8):
            try:
                order.append(number_of(stream.at(step)))
            except ValueError as error:
                order.append(None)
                failures.append(error)
    assert order.count(None) == 2 and {*order} == {0, 1, 3, None}
    with pytest.raises(ValueError, match=rf"slice .*slice-2\.npz cannot be used: .*{message}"):
        raise failures[0]


def test_a_damaged_file(tmp_path):
    file = tmp_path / "damaged.npz"
    np.savez_compressed(file, **make_arrays(0))
    content = file.read_bytes()
    middle = len(content) // 2
    file.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    with SliceStream([file], load, make, num_rows=20) as stream:
        with pytest.raises(ValueError, match=r"damaged\.npz cannot be used") as caught:
            stream.at(0)
        # Once it is repaired, the run can go on.
        file.write_bytes(content)
        assert number_of(stream.at(0)) == 0
    assert caught.value.__cause__ is not None


def test_a_closed_stream(files):
    with SliceStream(files, load, make) as stream:
        held = weakref.ref(windows_of(stream.at(0)).dataset.observations)
    assert held() is None
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.at(0)


SCRIPT = """
import sys
from pathlib import Path
import jax
import numpy as np
from flowguide.data import PerLearner, SliceStream, Windows

def load(file):
    if loaded:
        raise OSError("the disk is gone")
    loaded.append(file)
    return dict(np.load(file))

loaded = []
def make(dataset):
    return PerLearner({name: Windows(dataset, 1) for name in ("policy", "critic")})

device = jax.devices()[1]
with jax.default_device(device):
    stream = SliceStream(sys.argv[1:], load, make)
samplers = stream.at(0).samplers
assert {x.device for x in jax.tree.leaves(samplers)} == {device}
assert not any(x.committed for x in jax.tree.leaves(samplers))
assert samplers["policy"].dataset.observations is samplers["critic"].dataset.observations
print("done")
"""


def test_a_stream_that_is_left_open_does_not_keep_python_from_its_end(files):
    """Nor does a loader that fails; and the slices are on the device that was chosen."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags}
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, files)],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "done\n", "")
