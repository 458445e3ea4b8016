"""What the examples look at: the policies and critics of examples/ogbench/small.toml.

Whoever has run that plan has them; what is missing is made here, for each task 8 minutes of
collecting and for each training seed 4 minutes of training, on two cores.
"""

import dataclasses
import os
import tomllib
from pathlib import Path
from typing import Any

from flowguide.evaluate import load_agents
from flowguide.ogbench import collect, dataset_name
from flowguide.plot import save_picture
from flowguide.runs import preset, run as train_run, Settings

PLAN = tomllib.loads((Path(__file__).parent / "ogbench" / "small.toml").read_text())
CUBE = "cube-single-play-singletask-task1-v0"
PUZZLE = "puzzle-3x3-play-singletask-task1-v0"


@dataclasses.dataclass(frozen=True)
class Common:
    """What most examples are told."""

    tasks: tuple[str, ...] = (CUBE, PUZZLE)
    """OGBench tasks."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds, at least two."""

    runs: Path = Path("runs/small")
    """The folder of examples/ogbench/small.toml."""

    out: Path = Path("docs/images")
    """Where the pictures go."""


def trained(
    task: str, seeds: tuple[int, ...], runs: Path, *, training: str = "small", **changed: Any
) -> list[Any]:
    """An agent for each training seed, with `policy`, `critic` and `observations`.

    `runs` is the plan's folder: what is there is used, what is missing is made there. With
    settings that are `changed`, such as `steps`, the critics are others, of the name `training`,
    for the same policies.
    """
    settings = plan_settings(task, runs)
    agents = []
    for seed in seeds:
        policy = runs / "policies" / dataset_name(task) / "small" / f"seed_{seed}"
        critic = critic_run(runs, task, seed, training)
        alone = dataclasses.replace(settings, critic="none", seed=seed)
        with_critic = dataclasses.replace(settings, **{"frozen": policy, "seed": seed, **changed})
        for run, made in ((policy, alone), (critic, with_critic)):
            if not (run / "finished.json").exists():
                train_run(made, run)
        agents += load_agents(critic)
    return agents


def plan_settings(task: str, runs: Path) -> Settings:
    """The plan's settings of a training; data that are missing are collected first."""
    dataset, folder = dataset_name(task), runs / "data"
    if not (folder / f"{dataset}.npz").exists():
        collect(dataset, PLAN["collect"], folder, workers=os.cpu_count() or 1)
    options = dict(PLAN["train"]["small"])
    settings = preset(options.pop("preset"), task)
    return dataclasses.replace(settings, **options, dataset_dir=folder)


def critic_run(runs: Path, task: str, seed: int, training: str = "small") -> Path:
    """The folder of a critic and its policy."""
    return runs / "critics" / task / training / f"seed_{seed}"


def save(figure: Any, out: Path, name: str) -> None:
    """Writes a picture of the pages, light and dark, and says where."""
    out.mkdir(parents=True, exist_ok=True)
    light, dark = save_picture(figure, out / f"{name}.svg")
    print(f"Wrote {light} and {dark.name}.")
