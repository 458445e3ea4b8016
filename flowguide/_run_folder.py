"""The folder of a training run: what is in it, and where."""

import dataclasses
import json
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The folder of a training run, or one in which `flowguide.save` left a policy by itself.

    **Attributes:**

    - `path`: the folder. Whether it exists does not matter.
    """

    path: Path

    @property
    def settings_file(self) -> Path:
        """What the result follows from, and the versions that trained."""
        return self.path / "settings.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def evaluations(self) -> Path:
        """Of episodes that were played along training."""
        return self.path / "evaluations"

    @property
    def success_picture(self) -> Path:
        """Success along training."""
        return self.path / "success.png"

    @property
    def finished_file(self) -> Path:
        """Written last: it says that the rest is whole."""
        return self.path / "finished.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    def of_seed(self, seed: int) -> Path:
        """Where the policy and the critic of a training seed are."""
        return self.path / f"seed_{seed}"

    def settings(self) -> dict[str, Any]:
        """What the settings file says; empty without one."""
        return _read(self.settings_file)

    def finished(self) -> dict[str, Any]:
        """The `steps` and `seeds` of a run that has ended; empty before."""
        return _read(self.finished_file)

    def seeds(self) -> list[int]:
        """The training seeds that a finished run holds."""
        return self.finished().get("seeds", [])

    def the_one(self, seed: int | None) -> Path:
        """The folder of a policy and a critic: that of the seed, or of the only one there is.

        **Raises:**

        `ValueError` where there are several seeds and none is named, or not the one that is.
        """
        seeds = self.seeds()
        if not seeds and seed is None:
            return self.path
        if seed is None and len(seeds) > 1:
            raise ValueError(
                f"{self.path} holds the training seeds {seeds}: name one, load(folder, seed=...)."
            )
        if seed is not None and seed not in seeds:
            raise ValueError(f"{self.path} holds the training seeds {seeds}, not {seed}.")
        return self.of_seed(seeds[0] if seed is None else seed)


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.is_file() else {}
