import os
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._checks import as_positive_int, is_int
from .._system.npz import npz_header
from ._dataset import Dataset, from_arrays
from ._windows import AbstractSampler


class SliceStream:
    """A dataset too large for the device, one slice at a time: `flowguide.train.train` learns from
    a slice for `every` updates while the next is loaded in the background.

    At most two slices are held: the one that is due and the next. All have the same number of rows,
    so that the training loop compiles once: shorter ones are padded with episodes without any
    action, which no window comes from. Padding does count in the dataset's own length,
    `num_episodes` and `success_share`.

    Every slice is visited once in an epoch. The order follows from the seed and the number of the
    update alone, so a resumed run goes on in it. `len` is the number of slices.

    Close it, or use it in a `with` block, to free its slices and its thread.

    **Arguments:**

    - `files`: one for each slice, such as the npz files of a folder.
    - `load`: a callable from a file to the arguments of `from_arrays`, a dictionary of NumPy
        arrays. Each slice has the same arrays, which differ in their number of rows alone.
    - `make`: a callable from a slice's `Dataset` to the sampler of its batches, such as
        `lambda dataset: Windows(dataset, 5, 0.99)`. Like `load` it is called in a background
        thread, with the CPU as JAX's default device and none of the caller's other context
        managers. What it returns is then moved to the device that was the default when the stream
        was made.
    - `every`: the number of updates on each slice.
    - `seed`: an integer of at least 0, for the order.
    - `num_rows`: of each slice once it is padded. By default the most that any file has, as the
        headers of the npz files say of their array `observations`.

    **Attributes:**

    - `first_load`: the seconds that `at` waited for the first slice of all.
    - `waited`: the seconds that `at` waited for data since.

    **Raises:**

    `FileNotFoundError` for a missing file. `ValueError` for no files, numbers out of range, or
    files whose number of rows cannot be read.
    """

    every: int
    first_load: float
    waited: float

    def __init__(
        self,
        files: Sequence[str | os.PathLike],
        load: Callable[[Path], dict[str, Any]],
        make: Callable[[Dataset], AbstractSampler],
        *,
        every: int = 1000,
        seed: int = 0,
        num_rows: int | None = None,
    ):
        self.every = as_positive_int("every", every)
        if not is_int(seed) or seed < 0:
            raise ValueError(f"seed must be an integer of at least 0, got {seed!r}.")
        self._seed = int(seed)
        self._files = [Path(file) for file in files]
        if not self._files:
            raise ValueError("files is empty: expected at least one slice.")
        missing = [file for file in self._files if not file.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(self)} slices are no files, first {missing[0]}."
            )
        if num_rows is None:
            self._num_rows = max(_count_rows(file) for file in self._files)
        else:
            self._num_rows = as_positive_int("num_rows", num_rows)
        self._load, self._make = load, make
        self._columns: dict[str, tuple[int, ...]] | None = None
        self._device = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
        self._held: dict[int, Future[AbstractSampler]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flowguide-slices")
        self._is_closed = False
        self._is_first = True
        self.first_load = self.waited = 0.0

    def __len__(self) -> int:
        return len(self._files)

    def __enter__(self) -> "SliceStream":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def at(self, step: int) -> AbstractSampler:
        """The sampler of the slice that is due at an update, once it is on the device. Then starts
        to load the next one.

        **Arguments:**

        - `step`: the number of updates done, in any order: after a jump, `at` waits for the slice.

        **Returns:**

        What `make` returned; the same object for all updates of a visit. Let go of it before the
        next visit: whoever keeps it keeps the slice on the device.

        **Raises:**

        `ValueError` if the slice cannot be used, naming its file, or if the stream is closed.
        """
        if self._is_closed:
            raise ValueError("This SliceStream is closed: make a new one.")
        visit = int(step) // self.every
        due = self._slice_of(visit)
        # The first slice of an epoch may be the last of the one before, and stays where it is. Then
        # the next to load is the second: slices of one epoch differ.
        following = [self._slice_of(visit + 1), self._slice_of(visit + 2)]
        upcoming = next((index for index in following if index != due), due)
        # Before anything else is loaded, so that there are never three.
        for index in self._held.keys() - {due, upcoming}:
            self._held.pop(index).cancel()
        sampler = self._wait_for(due)
        self._start(upcoming)
        return sampler

    def close(self) -> None:
        """Frees the slices, once a load that is under way has ended. Can be called again."""
        self._is_closed = True
        self._held.clear()
        self._thread.shutdown(cancel_futures=True)

    def _slice_of(self, visit: int) -> int:
        epoch, position = divmod(visit, len(self))
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self))
        return int(order[position])

    def _start(self, index: int) -> None:
        if index not in self._held:
            self._held[index] = self._thread.submit(self._in_background, self._files[index])

    def _wait_for(self, index: int) -> AbstractSampler:
        self._start(index)
        before = time.perf_counter()
        try:
            sampler = self._held[index].result()
        except Exception:
            # Whoever calls again, tries again.
            del self._held[index]
            raise
        seconds = time.perf_counter() - before
        if self._is_first:
            self.first_load, self._is_first = seconds, False
        else:
            self.waited += seconds
        return sampler

    def _in_background(self, file: Path) -> AbstractSampler:
        try:
            arrays = _pad(self._load(file), self._num_rows)
            with jax.default_device(_host()):
                dataset = from_arrays(**arrays)
                columns = {name: np.shape(array)[1:] for name, array in arrays.items()}
                if self._columns not in (None, columns):
                    raise ValueError(
                        f"the shapes of its rows are {columns}, those of other slices "
                        f"{self._columns}."
                    )
                sampler = self._make(dataset)
            # JAX's context managers hold for one thread.
            with jax.default_device(self._device):
                sampler = _put(sampler)
            self._columns = columns
            return sampler
        except Exception as error:
            # The text of others, such as of a KeyError, says little without their type.
            reason = error if isinstance(error, ValueError) else repr(error)
            raise ValueError(f"The slice {file} cannot be used: {reason}") from error


def _count_rows(file: Path) -> int:
    """The number of rows of an npz file's observations, which are not read."""
    try:
        return npz_header(file, "observations")[0][0]
    except (zipfile.BadZipFile, KeyError, ValueError, IndexError) as error:
        raise ValueError(
            f"The number of rows in {file} cannot be read: {error}. Expected an npz file with an "
            "array 'observations'; for other files, give num_rows."
        ) from error


def _host() -> Any:
    """Where slices are built: on a GPU even `jnp.asarray` runs a program, which would queue behind
    the updates on the slice before. The default device if JAX is configured without a CPU."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


def _put(sampler: AbstractSampler) -> AbstractSampler:
    """The sampler, once it is on the default device. An array that it has twice is there once."""
    arrays = {id(x): np.asarray(x) for x in jax.tree.leaves(sampler) if eqx.is_array(x)}
    placed = dict(zip(arrays, jax.device_put(list(arrays.values())), strict=True))
    return jax.block_until_ready(jax.tree.map(lambda x: placed.get(id(x), x), sampler))


def _pad(arrays: dict[str, Any], num_rows: int) -> dict[str, Any]:
    """Arguments of `from_arrays`, with rows added that are each an episode without any action."""
    arrays = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    if "observations" not in arrays:
        raise ValueError(f"it has no observations, only {sorted(arrays)}.")
    rows = len(arrays["observations"])
    if not 0 < rows <= num_rows:
        raise ValueError(f"it has {rows} rows, expected 1 to num_rows={num_rows}.")
    arrays.setdefault("ends", np.arange(rows) == rows - 1)
    # Else the last episode would go on in the padding.
    if not np.any(arrays["ends"][-1:]):
        raise ValueError("its last row is not the end of an episode: ends[-1] is False.")
    if rows == num_rows:
        return arrays
    # Masks of 0 would count as successes.
    fill = {"ends": True, "masks": 1}

    def pad(name, array):
        widths = [(0, num_rows - rows), *[(0, 0)] * (array.ndim - 1)]
        return np.pad(array, widths, constant_values=fill.get(name, 0))

    # The bounds have no rows.
    return {
        name: array if name in ("low", "high") else pad(name, array)
        for name, array in arrays.items()
    }
