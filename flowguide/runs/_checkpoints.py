import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from .._checks import as_positive_int
from .._save import hash_of, is_array, named_arrays

State = TypeVar("State")


class Checkpoints:
    """The last few states of a training run, through orbax.

    A checkpoint appears whole or not at all, and carries a hash of its arrays. One that cannot be
    written, or is damaged, is reported to `on_message` and passed over; the run goes on.

    **Arguments:**

    - `folder`: made if missing. Half-written checkpoints of a killed process are removed; damaged
        ones are moved into the folder of this name with `_damaged` behind it.
    - `keep`: how many to keep.
    - `on_message`: called with a sentence about each checkpoint that could not be used or written.
    """

    def __init__(self, folder: str | os.PathLike, *, keep: int, on_message: Callable[[str], Any]):
        import orbax.checkpoint as ocp

        # Its warnings are about clusters and files that flowguide does not use.
        logging.getLogger("absl").setLevel(logging.ERROR)
        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._on_message = on_message
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
        about = {"sha256": hash_of(arrays), "arrays": _described(arrays)}
        before = self.latest
        args = self._args
        items = args.Composite(state=args.StandardSave(arrays), about=args.JsonSave(about))
        try:
            if self._manager.save(step, args=items, force=True):
                return True
            reason = "orbax did not write it"
        except Exception as error:  # Of which kind is up to the file system and to tensorstore.
            reason = _first_line(error)
        self._delete(step)
        self._on_message(
            f"The checkpoint at update {step:,} could not be written to {self.folder}: {reason}. "
            f"{_last_good(before)} Training goes on."
        )
        return False

    def restore(self, like: State) -> tuple[int, State] | None:
        """The newest state that is whole: `(step, state)`, or None if there is none.

        **Arguments:**

        - `like`: a state of the same structure; its arrays say the shapes, types and devices.

        **Raises:**

        `ValueError` for a whole checkpoint of another structure; what is wrong with the machine
        and not with the checkpoint (no memory, no permission).
        """
        expected = dict(named_arrays(like))
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                about = self._read(step, about=self._args.JsonRestore())["about"]
                arrays, wanted, saved = {}, _described(expected), about["arrays"]
                if saved == wanted:
                    arrays = self._read(step, state=self._args.StandardRestore(expected))["state"]
                    if hash_of({n: np.asarray(arrays[n]) for n in expected}) != about["sha256"]:
                        raise ValueError("its arrays do not have the hash written with them")
            except Exception as error:  # Whatever a damaged file makes orbax raise.
                if isinstance(error, (PermissionError, MemoryError)) or "EXHAUSTED" in str(error):
                    raise
                self._move_aside(step)
                self._on_message(
                    f"The checkpoint at update {step:,} in {self.folder} is damaged, and moved "
                    f"aside: {_first_line(error)}. {_last_good(self.latest)}"
                )
                continue
            if saved != wanted:
                names = sorted(n for n in {*saved, *wanted} if saved.get(n) != wanted.get(n))
                raise ValueError(
                    f"The checkpoint at update {step:,} in {self.folder} is of another training "
                    f"state: {names[0]!r} is {saved.get(names[0])} there and "
                    f"{wanted.get(names[0])} here ({len(names)} arrays differ). "
                    f"{_cause(saved, wanted)}"
                )
            leaves, structure = jax.tree.flatten(like)
            restored = iter(arrays[name] for name in expected)
            filled = [next(restored) if is_array(leaf) else leaf for leaf in leaves]
            return step, jax.tree.unflatten(structure, filled)
        return None

    def _read(self, step: int, **items: Any) -> Any:
        return self._manager.restore(step, args=self._args.Composite(**items))

    def _delete(self, step: int) -> None:
        """What a failed save left: nobody misses half a checkpoint, and a full disk its space."""
        for folder in self.folder.glob(f"{step}*"):
            if folder.name.partition(".")[0] == str(step):
                shutil.rmtree(folder, ignore_errors=True)
        self._manager.reload()

    def _move_aside(self, step: int) -> None:
        """Makes its place free, and loses nothing that somebody could still want to look at."""
        folder = self.folder / str(step)
        if folder.exists():
            aside = self.folder.with_name(f"{self.folder.name}_damaged")
            aside.mkdir(exist_ok=True)
            shutil.rmtree(aside / folder.name, ignore_errors=True)
            folder.rename(aside / folder.name)
        self._manager.reload()

    def close(self) -> None:
        self._manager.close()


def _described(arrays: Mapping[str, Any]) -> dict[str, str]:
    return {name: f"{x.dtype}{list(x.shape)}" for name, x in arrays.items()}


def _cause(saved: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    narrow = {k: v.replace("64", "32") for k, v in saved.items()}
    if narrow == {k: v.replace("64", "32") for k, v in wanted.items()}:
        return "It was written with another jax_enable_x64 (JAX_ENABLE_X64) than this process has."
    return "Another version of flowguide may have written it."


def _last_good(step: int | None) -> str:
    return "There is no earlier one." if step is None else f"The last good one is update {step:,}."


def _first_line(error: BaseException) -> str:
    return (str(error) or repr(error)).strip().splitlines()[0]
