"""Guided Action Flow and its rivals on MetaWorld, with SmolVLAs of a million parameters.

    python -m examples.lerobot.reproduce --quick
    python -m examples.lerobot.reproduce --out runs/lerobot

Scripted demonstrations, a SmolVLA that is cloned from them with LeRobot's classes, episodes that it
plays by itself, critics of these, weights chosen in some episodes, and paired episodes in others.
Whatever is in the folder already is not done again.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# One thread for each process: worker processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import numpy as np
import torch
import tyro

import flowguide as fg
from flowguide import nn, train
from flowguide.data import Dataset, from_arrays, split_episodes, Windows
from flowguide.evaluate import Agent, evaluate, Pool, rollouts
from flowguide.results import compare, Condition, Episode, read_episodes, summarise, write_episodes

from .clone import clone, load_policy, make_environment, PLAY
from .simulator import ACTION, demonstrate, Demonstrations

# What the critic sees: all that the simulator tells.
STATE = "observation.environment_state"
DISCOUNT = 0.97
VALIDATION_SEED, TEST_SEED = 1_000_000, 2_000_000


@dataclasses.dataclass(frozen=True)
class Task:
    """A task, and how much of it.

    **Attributes:**

    - `demonstrations`, `noise`: see `demonstrate`.
    - `updates`: of the policy.
    - `image_every`: 0 for a policy that sees the state and no image.
    - `max_steps`: where an episode ends.
    """

    demonstrations: int
    noise: float
    updates: int
    image_every: int
    max_steps: int = 150


TASKS = {
    "push-v3": Task(100, 0.15, 5000, PLAY),
    "peg-insert-side-v3": Task(25, 0.2, 3000, 0),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Runs everything, task by task, and prints a table for each."""

    out: Path = Path("runs/lerobot")
    """Where demonstrations, policies, critics and episodes are kept."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """MetaWorld's."""

    rollouts: int = 300
    """Episodes that critics learn from; a sixth of them are held back."""

    critic_seeds: tuple[int, ...] = (0, 1, 2)
    """Of the critics' training. Each plays all test episodes."""

    validation_episodes: int = 40
    """In which weights are chosen, with the first critic."""

    test_episodes: int = 100
    """For each critic."""

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
        run_task(name, task, settings, settings.out / name)


def run_task(name: str, task: Task, settings: Settings, folder: Path) -> None:
    """All stages of a task, each skipped where its file is."""
    say = functools.partial(print, f"{name}:", flush=True)
    shown = _kept(folder / "demonstrations.npz", lambda: _demonstrate(name, task))
    say(f"{int(shown['tried'])} scripted episodes, {len(np.unique(shown['last']))} successful")
    if not (folder / "policy" / "model.safetensors").exists():
        demonstrations = Demonstrations(**shown)
        clone({name: demonstrations}, folder / "policy", steps=task.updates, say=say)
    policy, *_ = load_policy(folder / "policy")
    flow = fg.lerobot.flow_policy(policy, backend="torchax")
    make = functools.partial(
        make_environment, folder / "policy", name, task.max_steps, task.image_every
    )

    def play() -> dict[str, np.ndarray]:
        played = rollouts(
            Agent(flow), make, range(settings.rollouts), keep=[STATE], replan=PLAY, success_at="any"
        )
        data = played.dataset
        return {
            "observations": np.asarray(data.observations[STATE]),
            "actions": np.asarray(data.actions[:, :ACTION]),
            "rewards": np.asarray(data.rewards),
            "masks": np.asarray(data.masks),
            "ends": np.asarray(data.ends),
            "successes": np.asarray(data.solved),
        }

    arrays = _kept(folder / "rollouts.npz", play)
    data = from_arrays({STATE: arrays.pop("observations")}, **arrays, low=-np.inf, high=np.inf)
    say(f"{int(data.solved.sum())} of {data.num_episodes} rollouts successful")
    agents = {}
    for seed in settings.critic_seeds:
        critic = _critic(data, seed, folder / f"critic{seed}", say)
        asked = fg.lerobot.critic(policy, critic, horizon=PLAY)
        agents[seed] = Agent(flow, asked, train_seed=seed)
    evaluation = Evaluation(agents, make, folder, say)
    best = evaluation.choose(settings)
    evaluation.test(best, settings)


def _demonstrate(name: str, task: Task) -> dict[str, np.ndarray]:
    shown = demonstrate(
        name,
        task.demonstrations,
        noise=task.noise,
        seed=0,
        # A policy that looks once a chunk may begin one at any step.
        image_every=min(task.image_every, 1),
    )
    return shown._asdict()


def _critic(data: Dataset, seed: int, folder: Path, say: Callable[[str], Any]) -> Any:
    """A critic of the policy's own success to go, and how well it is calibrated."""
    learn, held_back = split_episodes(data, 1 / 6, seed=seed)
    windows, validation = (
        Windows(each, PLAY, DISCOUNT, returns="success_to_go") for each in (learn, held_back)
    )
    if not (folder / "model.safetensors").exists():
        encode = nn.Standardise(learn.observations)

        def make_critic(key):
            members = nn.critic_ensemble(4, encode.size, (PLAY, ACTION), (256, 256), key=key)
            return fg.EncodedCritic(members, encode)

        learner = train.ReturnRegression(make_critic)
        state = train.train(
            learner,
            windows,
            steps=4000,
            key=jax.random.key(seed),
            log_every=250,
            validation=validation,
            keep_best=["loss"],
        )
        critic = state.result(learner)
        fg.save(folder, None, critic)
        say(f"critic {seed}: the best of 4,000 updates is {int(state.best['loss'].step):,}")
    _, critic = fg.load(folder)
    calibration = fg.diagnose.critic_calibration(critic, validation)
    say(f"critic {seed} on held-back episodes:\n{calibration}")
    return critic


class Evaluation:
    """Episodes of one policy with several critics, kept in files."""

    def __init__(
        self,
        agents: Mapping[int, Agent],
        make: Callable[[], Any],
        folder: Path,
        say: Callable[[str], Any],
    ):
        self.agents, self.make, self.folder, self.say = agents, make, folder, say

    def choose(self, settings: Settings) -> dict[str, Any]:
        """The best weight of each method in the validation episodes of the first critic."""
        methods = {
            "qgf": {f"kappa {k:g}": fg.qgf(weight=fg.Kappa(k)) for k in settings.kappas},
            "gaf": {f"beta {b:g}": gated(b) for b in settings.betas},
            "gaf, no gate": {f"beta {b:g}": ungated(b) for b in settings.betas},
        }
        candidates = {
            f"{method}, {weight}": guidance
            for method, several in methods.items()
            for weight, guidance in several.items()
        }
        first = dict([next(iter(self.agents.items()))])
        seeds = range(VALIDATION_SEED, VALIDATION_SEED + settings.validation_episodes)
        played = self._play("validation.jsonl", first, {"unguided": None, **candidates}, seeds)
        solved = {c.label: success.rate for c, success in summarise(played).items()}
        best = {}
        for method, several in methods.items():
            labels = {weight: f"{method}, {weight}" for weight in several}
            weight = max(several, key=lambda weight: solved[labels[weight]])
            best[f"{method}, {weight}"] = several[weight]
        self.say("in validation: " + "; ".join(f"{k} {v:.2f}" for k, v in solved.items()))
        return best

    def test(self, best: Mapping[str, Any], settings: Settings) -> None:
        """Plays the chosen ones and those without a weight, and prints how they compare."""
        (label, tuned), *_ = best.items()
        arms = {
            "qgf, default": fg.qgf(),
            **best,
            "best of 4": fg.best_of_n(4),
            "best of 16": fg.best_of_n(16),
            f"{label}, best of 4": [tuned, fg.best_of_n(4)],
        }
        seeds = range(TEST_SEED, TEST_SEED + settings.test_episodes)
        # Without guidance no critic is asked: one of them plays for all.
        number, agent = next(iter(self.agents.items()))
        unguided = self._play("unguided.jsonl", {number: agent}, {"unguided": None}, seeds)
        played = self._play("test.jsonl", self.agents, arms, seeds)
        for seed in self.agents:
            played += [dataclasses.replace(e, train_seed=seed) for e in unguided]
        table = as_table(played)
        (self.folder / "table.md").write_text(table)
        self.say(f"{len(seeds)} episodes with each of {len(self.agents)} critics\n{table}")

    def _play(
        self,
        file: str,
        agents: Mapping[int, Agent],
        guidances: Mapping[str, Any],
        seeds: range,
    ) -> list[Episode]:
        path = self.folder / file
        episodes = read_episodes(path)
        for label, guidance in guidances.items():
            with Pool() as pool:
                episodes += evaluate(
                    list(agents.values()),
                    self.make,
                    {label: guidance},
                    seeds,
                    replan=PLAY,
                    success_at="any",
                    finished=[e for e in episodes if e.condition.label == label],
                    pool=pool,
                )
            write_episodes(path, episodes)
        return episodes


def gated(beta: float) -> Any:
    """Guided Action Flow as its published code has it: the gate is at least 0.1."""
    return fg.guided_action_flow(beta, scale=20.0, floor=0.1)


def ungated(beta: float) -> Any:
    """The same without the gate."""
    return fg.guided_action_flow(beta, scale=0.0)


def as_table(episodes: list[Episode]) -> str:
    """A row for each arm: success, and what it gains on the unguided policy."""
    rows = compare(episodes, Condition())
    lines = [
        "| | success | gained, lost | difference [95%] | milliseconds |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        success = row.success
        assert success is not None
        text = f"{success.rate:.3f} [{success.low:.3f}, {success.high:.3f}]"
        cells = [row.condition.label, text, "", ""]
        if row.difference is not None:
            d = row.difference
            cells[2:] = [
                f"{row.gained}, {row.lost}",
                f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


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
    warnings.filterwarnings("ignore", message="Constant.s. may be too high")
    main(tyro.cli(Settings, description=__doc__))
