"""Guided Action Flow and its rivals on MetaWorld, with SmolVLAs of a million parameters.

    python -m examples.lerobot.reproduce --quick
    python -m examples.lerobot.reproduce --out runs/lerobot
    python -m examples.lerobot.reproduce --out runs/lerobot --tasks six-tasks
    python -m examples.lerobot.reproduce --out runs/lerobot --tasks libero-object

Scripted demonstrations, a SmolVLA that is cloned from them with LeRobot's classes, episodes that it
plays by itself, critics of these, weights chosen in some episodes, and paired episodes in others.
Whatever is in the folder already is not done again.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

# One thread for each process: worker processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Read where MuJoCo is imported first.
os.environ.setdefault("MUJOCO_GL", "egl")

import jax
import numpy as np
import torch
import tyro

import flowguide as fg
from flowguide.data import from_arrays
from flowguide.evaluate import Agent, rollouts

from .arms import Evaluation
from .clone import clone, load_policy, make_environment, PLAY
from .critics import IMAGE, learn, look
from .demonstrate import demonstrate, Demonstrations
from .simulator import make_task

VALIDATION_SEED, TEST_SEED = 1_000_000, 2_000_000
STATE = "observation.environment_state"


@dataclasses.dataclass(frozen=True)
class Task:
    """A task, and how much of it.

    **Attributes:**

    - `demonstrations`, `noise`: see `demonstrate`.
    - `updates`: of the policy.
    - `image_every`: 0 for a policy that sees the state and no image.
    - `max_steps`: where an episode ends; demonstrations may take `demonstration_steps`.
    - `rollouts`: episodes that critics learn from; a sixth of them are held back.
    - `parts`: the simulator's tasks, where one policy does several, each with that many
        demonstrations.
    - `num_envs`: environments that play at a time; None for `evaluate`'s own choice.
    """

    demonstrations: int
    noise: float
    updates: int
    image_every: int
    max_steps: int = 150
    demonstration_steps: int = 200
    rollouts: int = 300
    parts: tuple[str, ...] = ()
    num_envs: int | None = None


# What the first three are to do, only the instruction says, and so with the next two.
SIX = (
    "reach-v3",
    "push-v3",
    "pick-place-v3",
    "window-open-v3",
    "window-close-v3",
    "drawer-open-v3",
)
# Those that the script solves.
LIBERO = tuple(f"libero_object-{i}" for i in (0, 3, 4, 5, 6, 7, 8, 9))
TASKS = {
    "push-v3": Task(100, 0.15, 5000, PLAY),
    "peg-insert-side-v3": Task(25, 0.2, 3000, 0),
    "six-tasks": Task(50, 0.15, 10_000, PLAY, rollouts=480, parts=SIX, num_envs=4),
    # On a CPU an image of LIBERO's takes 65 ms, six times a step: this policy sees the state. Each
    # environment has a scene for each part, of 300 MB.
    "libero-object": Task(30, 0.1, 15_000, 0, 200, 300, rollouts=320, parts=LIBERO, num_envs=2),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Runs everything, task by task, and prints a table for each."""

    out: Path = Path("runs/lerobot")
    """Where demonstrations, policies, critics and episodes are kept."""

    tasks: tuple[str, ...] = ("push-v3", "peg-insert-side-v3")
    """Of MetaWorld; six-tasks are one policy's, and so is libero-object, which needs LIBERO."""

    rollouts: int | None = None
    """Episodes that critics learn from; None for the task's own number."""

    critics_see: Literal["state", "features"] = "state"
    """All that the simulator tells, or what the policy itself makes of image and instruction."""

    at_chunks: bool = False
    """Critics learn from steps where the policy chose a chunk alone: an eighth of them."""

    critic_seeds: tuple[int, ...] = (0, 1, 2)
    """Of the critics' training. Each plays all test episodes."""

    validation_episodes: int = 40
    """In which weights are chosen, with the first critic."""

    test_episodes: int = 100
    """For each critic; rounded up to as many of each task, as in validation."""

    kappas: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0)
    """Weights of `qgf`, in units of the policy's own spread at the observation."""

    betas: tuple[float, ...] = (3.0, 1.0, 0.3, 0.1, 0.03)
    """Of Guided Action Flow: 3 in the paper's code."""

    quick: bool = False
    """A few minutes, to see that everything runs; nothing is learnt from its numbers."""


def main(settings: Settings) -> None:
    if settings.quick:
        settings = dataclasses.replace(
            settings,
            out=settings.out / "quick",
            tasks=("peg-insert-side-v3",),
            rollouts=12,
            critic_seeds=(0,),
            validation_episodes=2,
            test_episodes=4,
            kappas=(3.0,),
            betas=(1.0,),
        )
    for name in settings.tasks:
        task = TASKS[name]
        if settings.quick:
            task = dataclasses.replace(task, demonstrations=5, updates=100, max_steps=40)
        if settings.rollouts is not None:
            task = dataclasses.replace(task, rollouts=settings.rollouts)
        run_task(name, task, settings, settings.out / name)


def run_task(name: str, task: Task, settings: Settings, folder: Path) -> None:
    """All stages of a task, each skipped where its file is."""
    say = functools.partial(print, f"{name}:", flush=True)
    parts = task.parts or (name,)
    demonstrations = []
    for part in parts:
        file = folder / "demonstrations" / f"{part}.npz"
        shown = Demonstrations(**_kept(file, functools.partial(_demonstrate, part, task)))
        successful = len(np.unique(shown.last))
        say(f"{int(shown.tried)} scripted episodes of {part}, {successful} successful")
        demonstrations.append(shown._replace(instruction=str(shown.instruction)))
    if not (folder / "policy" / "model.safetensors").exists():
        clone(demonstrations, folder / "policy", steps=task.updates, say=say)
    policy, *_ = load_policy(folder / "policy")
    with_features = settings.critics_see == "features"
    flow = fg.lerobot.flow_policy(policy, backend="torchax", features=with_features)
    make, make_with_images = (
        functools.partial(make_environment, folder / "policy", parts, task.max_steps, image_every)
        for image_every in (task.image_every, min(task.image_every, 1))
    )
    # The policy looks once a chunk, and critics of its features learn from every step.
    all_images = with_features and not settings.at_chunks and task.image_every > 1
    (size,) = policy.config.output_features["action"].shape

    def play() -> dict[str, np.ndarray]:
        seeds = range(task.rollouts)
        played = rollouts(
            Agent(flow),
            make_with_images if all_images else make,
            seeds,
            keep=_compact,
            replan=PLAY,
            success_at="any",
            num_envs=task.num_envs,
        ).dataset
        seen = {name: np.asarray(x) for name, x in played.observations.items()}
        return seen | {
            "asked": np.array(task.rollouts),
            "actions": np.asarray(played.actions[:, :size]),
            "rewards": np.asarray(played.rewards),
            "masks": np.asarray(played.masks),
            "ends": np.asarray(played.ends),
            "successes": np.asarray(played.solved),
        }

    arrays = _kept(folder / f"rollouts{'-with-images' if all_images else ''}.npz", play)
    seen = {name: arrays.pop(name) for name in list(arrays) if name.startswith("observation")}
    asked = int(arrays.pop("asked"))
    data = from_arrays({STATE: seen[STATE]}, **arrays, low=-np.inf, high=np.inf)
    if asked != task.rollouts:
        raise ValueError(
            f"{folder} has the critics of {asked} rollouts, and --rollouts is {task.rollouts}: "
            "choose another --out."
        )
    say(f"{int(data.solved.sum())} of {data.num_episodes} rollouts successful")
    folder = folder / f"{settings.critics_see}{'-at-chunks' if settings.at_chunks else ''}"
    every = PLAY if settings.at_chunks else 1
    if with_features:
        features = _kept(folder / "features.npz", lambda: look(flow, seen, data, every))
        data = dataclasses.replace(data, observations=jax.device_put(features))
    agents = {}
    for seed in settings.critic_seeds:
        critic = learn(data, seed, every, folder / f"critic{seed}", say)
        asked = fg.lerobot.critic(policy, critic, horizon=PLAY)
        agents[seed] = Agent(flow, asked, train_seed=seed)
    evaluation = Evaluation(agents, make, folder, parts, task.num_envs, say)
    chosen_in, tested_in = (
        range(first, first + -(-count // len(parts)) * len(parts))
        for first, count in (
            (VALIDATION_SEED, settings.validation_episodes),
            (TEST_SEED, settings.test_episodes),
        )
    )
    best = evaluation.choose(settings.kappas, settings.betas, chosen_in)
    evaluation.test(best, tested_in)


def _demonstrate(name: str, task: Task) -> dict[str, np.ndarray]:
    # Whoever learns from them may begin a chunk at any step.
    env = make_task(name, task.demonstration_steps, min(task.image_every, 1))
    return demonstrate(env, task.demonstrations, noise=task.noise, seed=0)._asdict()


def _compact(observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """An observation with its image in bytes, from which LeRobot made it."""
    return {**observation, IMAGE: np.round(observation[IMAGE] * 255).astype(np.uint8)}


def _kept(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The arrays of a file, made where it is missing."""
    if not file.exists():
        arrays = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.npz")
        np.savez_compressed(part, **arrays)
        os.replace(part, file)
    with np.load(file) as arrays:
        return dict(arrays)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Settings, description=__doc__))
