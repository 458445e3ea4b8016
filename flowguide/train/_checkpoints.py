import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np

from .._checks import as_positive_int
from .._save import named_arrays

State = TypeVar("State")


class Checkpoints:
    """The last few states of a training run, through orbax.

    A checkpoint appears whole or not at all, and carries a hash of its arrays. What cannot be
    written, read or trusted is said through `tell` and passed over; the run goes on.

    **Arguments:**

    - `folder`: made if missing. Half-written checkpoints of a killed process are removed.
    - `keep`: how many to keep.
    - `tell`: called with a sentence about each checkpoint that could not be used or written.
    """

    def __init__(self, folder: str | os.PathLike, *, keep: int, tell: Callable[[str], Any]):
        import orbax.checkpoint as ocp

        # Its warnings are about clusters and files that flowguide does not use.
        logging.getLogger("absl").setLevel(logging.ERROR)
        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tell = tell
        self._args = ocp.args
        options = ocp.CheckpointManagerOptions(
            max_to_keep=as_positive_int("keep", keep),
            cleanup_tmp_directories=True,
            # Waiting costs less than a percent, and an error belongs to the step it happened at.
            enable_async_checkpointing=False,
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    @property
    def latest(self) -> int | None:
        """The number of updates of the newest checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any) -> bool:
        """Writes a state; False, and a sentence, where that was not possible."""
        arrays = {name: np.asarray(array) for name, array in named_arrays(state)}
        about = {"step": step, "sha256": _hash(arrays)}
        before = self.latest
        try:
            self._manager.save(
                step,
                args=self._args.Composite(
                    state=self._args.StandardSave(arrays), about=self._args.JsonSave(about)
                ),
            )
            return True
        except Exception as error:  # Of which kind is up to the file system and to tensorstore.
            self._tell(
                f"The checkpoint at update {step:,} could not be written to {self.folder}: "
                f"{_first_line(error)}. {_last_good(before)} Training goes on."
            )
            self._forget(step)
            return False

    def restore(self, like: State) -> tuple[int, State] | None:
        """The newest state that is whole: `(step, state)`, or None if there is none.

        **Arguments:**

        - `like`: a state of the same structure; its arrays say the shapes, types and devices.
        """
        expected = dict(named_arrays(like))
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                arrays = self._read(step, expected)
            except Exception as error:  # Whatever a damaged file makes orbax raise.
                self._forget(step)
                self._tell(
                    f"The checkpoint at update {step:,} in {self.folder} is damaged, and removed: "
                    f"{_first_line(error)}. {_last_good(self.latest)}"
                )
                continue
            leaves, structure = jax.tree.flatten(like)
            found = iter(arrays[name] for name in expected)
            filled = [next(found) if eqx.is_array(leaf) else leaf for leaf in leaves]
            return step, jax.tree.unflatten(structure, filled)
        return None

    def _read(self, step: int, expected: dict[str, jax.Array]) -> dict[str, jax.Array]:
        arguments = self._args.Composite(
            state=self._args.StandardRestore(expected), about=self._args.JsonRestore()
        )
        found = self._manager.restore(step, args=arguments)
        arrays = found["state"]
        if _hash({name: np.asarray(arrays[name]) for name in expected}) != found["about"]["sha256"]:
            raise ValueError("its arrays do not have the hash that was written with them")
        return arrays

    def _forget(self, step: int) -> None:
        try:
            self._manager.delete(step)
        except Exception:  # Nothing was written.
            pass
        self._manager.reload()

    def close(self) -> None:
        self._manager.close()


def _hash(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return digest.hexdigest()


def _last_good(step: int | None) -> str:
    return "There is no earlier one." if step is None else f"The last good one is update {step:,}."


def _first_line(error: BaseException) -> str:
    return (str(error) or repr(error)).strip().splitlines()[0]
