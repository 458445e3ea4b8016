"""Keeps the steps of an episode, and writes them where the process that asked for it reads them."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._pytree import PyTree

# In place of a success.
UNKNOWN = -1


@dataclasses.dataclass
class Recorder:
    """Writes each episode that ends without an error to a file.

    **Arguments:**

    - `folder`: for the files, `SEED.npz`.
    - `keep`: what is kept of an observation, called in the worker's process.
    """

    folder: Path
    keep: Callable[[Any], PyTree]

    def begin(self, seed: int, observation: Any) -> None:
        """Forgets what was recorded, and takes the first observation of an episode."""
        self._seed = seed
        self._observations = [self._kept(observation)]
        self._steps: list[tuple[np.ndarray, float, bool, int]] = []

    def step(
        self,
        action: np.ndarray,
        observation: Any,
        reward: float,
        is_terminal: bool,
        success: int | None,
    ) -> None:
        """Takes a step: the action, and what came of it; None for a success that is not known."""
        self._observations.append(self._kept(observation))
        known = UNKNOWN if success is None else success
        self._steps.append((np.array(action), reward, is_terminal, known))

    def end(self) -> None:
        """Writes the episode."""
        actions, rewards, terminals, successes = map(np.array, zip(*self._steps, strict=True))
        leaves = [jax.tree.leaves(each) for each in self._observations]
        arrays: Any = {
            f"observation {i}": np.stack(x) for i, x in enumerate(zip(*leaves, strict=True))
        }
        arrays |= {
            "actions": np.concatenate([actions, actions[-1:]]),
            "rewards": np.append(rewards, 0.0),
            "masks": np.append(1.0 - terminals, 1.0),
            "successes": np.append(successes, UNKNOWN),
            "ends": np.arange(len(rewards) + 1) == len(rewards),
        }
        # Under its name only once it is whole: whoever kills a worker finds no half of a file.
        part = self.folder / f"{self._seed}-{os.getpid()}.part.npz"
        np.savez(part, **arrays)
        # An evaluation plays one episode again, to see whether it follows from its seed: where it
        # does not, the first stays.
        whole = self.folder / f"{self._seed}.npz"
        if whole.exists():
            part.unlink()
        else:
            os.replace(part, whole)

    def _kept(self, observation: Any) -> PyTree:
        # Environments may change their arrays in place.
        return jax.tree.map(np.array, self.keep(observation))


def recorded(folder: Path, seed: int, structure: Any) -> dict[str, Any]:
    """The arrays of an episode that ended without an error, of which `observations` is a pytree."""
    with np.load(folder / f"{seed}.npz") as arrays:
        leaves = [arrays[f"observation {i}"] for i in range(structure.num_leaves)]
        rest = {name: arrays[name] for name in arrays if not name.startswith("observation ")}
    return {"observations": jax.tree.unflatten(structure, leaves), **rest}
