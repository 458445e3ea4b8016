"""The folder of a training run: each of its seeds has a folder of its own inside."""

import json
from pathlib import Path

# A training run writes it last.
FINISHED_FILE = "finished.json"


def seed_folder(run: Path, seed: int) -> Path:
    """Where a training run leaves the policy and the critic of a seed."""
    return run / f"seed_{seed}"


def seeds_of(run: Path) -> list[int]:
    """The training seeds that a finished run holds."""
    file = run / FINISHED_FILE
    return json.loads(file.read_text())["seeds"] if file.is_file() else []


def folder_of_seed(folder: Path, seed: int | None) -> Path:
    seeds = seeds_of(folder)
    if not seeds and seed is None:
        return folder
    if seed is None and len(seeds) > 1:
        raise ValueError(
            f"{folder} holds the training seeds {seeds}: name one, load(folder, seed=...)."
        )
    if seed is not None and seed not in seeds:
        raise ValueError(f"{folder} holds the training seeds {seeds}, not {seed}.")
    return seed_folder(folder, seeds[0] if seed is None else seed)
