"""Is more guidance, or the best of more actions, still better? For a good critic and a bad one.

    python examples/over_optimisation.py --run runs/maze --out runs/over

docs/diagnose.md has the command that makes the run.

A judge, a critic of another seed, and a bad critic of few updates are trained for the run's policy.
Every condition is played with each critic, and the instrument is asked at the observations that
the run keeps, and where the episodes of one condition failed. Started again, it plays what is
missing.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from trained import save

from flowguide.diagnose import over_optimisation
from flowguide.evaluate import cross, evaluate_runs, load_agents, rollouts
from flowguide.results import compare
from flowguide.runs import run as train_run, Settings as RunSettings


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is trained, played and drawn."""

    run: Path
    """A run of `flowguide train`, of one training seed."""

    out: Path = Path("runs/over")
    """Where critics, episodes and pictures go."""

    local: tuple[float, ...] = (1, 5, 25)
    """Guidance weights, in units of the observation at hand."""

    best_of_n: tuple[int, ...] = (1, 4, 16)
    """Numbers of actions to choose from."""

    bad_steps: int = 300
    """Updates of the bad critic."""

    episodes: int = 16
    """Of each condition and critic."""

    stuck: str = "qgf, best of 4 local 5"
    """The condition whose failed episodes are looked at."""


def main(settings: Settings) -> None:
    trained = of_run(settings.run)
    given = load_agents(settings.run)[0]
    judge_run = critic_of(settings, trained, "judge", trained.steps, 1)
    bad_run = critic_of(settings, trained, "bad", settings.bad_steps, 2)
    judge, bad = load_agents(judge_run)[0].critic, load_agents(bad_run)[0].critic
    guidances = cross(["qgf", "best_of_n"], local=settings.local, best_of_n=settings.best_of_n)
    runs = {"good": settings.run, "other_seed": judge_run, "bad": bad_run}
    played: dict[str, Any] = {}
    for name, folder in runs.items():
        file = settings.out / f"{name}.jsonl"
        played[name] = compare(evaluate_runs([folder], guidances, settings.episodes, file))
        print(f"Played with the critic {name!r}:\n{played[name]}")

    def look(name: str, critic: Any, referee: Any, observations: Any, rows: Any) -> None:
        policy: Any = given.policy
        found = over_optimisation(
            *(policy, critic, referee, observations, guidances), key=jax.random.key(0)
        )
        print(f"{name}, {found.gain}:\n{found}")
        save(found.plot(rows), settings.out, f"over_optimisation_{name}")

    look("good", given.critic, judge, given.observations, played["good"])
    look("other_seed", judge, given.critic, given.observations, played["other_seed"])
    look("bad", bad, judge, given.observations, played["bad"])
    where = failed(given, trained.task, guidances[settings.stuck], settings.episodes)
    if where is not None:
        look("stuck", given.critic, judge, where, ())


def of_run(folder: Path) -> RunSettings:
    """The settings that a run was trained with."""
    found = json.loads((folder / "settings.json").read_text())
    known = {field.name for field in dataclasses.fields(RunSettings)}
    # Paths and tuples are strings and lists in there; the policy will be the run's.
    found["dataset_dir"], found["hidden"] = Path(found["dataset_dir"]), tuple(found["hidden"])
    found["evaluate_weights"] = tuple(found["evaluate_weights"])
    found["frozen"], found["track"] = None, ()
    return RunSettings(**{name: value for name, value in found.items() if name in known})


def critic_of(settings: Settings, trained: RunSettings, name: str, steps: int, seed: int) -> Path:
    """The run of another critic for the same policy."""
    folder = settings.out / name
    if not (folder / "finished.json").exists():
        changed = {"frozen": settings.run, "steps": steps, "seed": trained.seed + seed}
        train_run(dataclasses.replace(trained, **changed), folder)
    return folder


def failed(agent: Any, task: str, guidance: Any, episodes: int) -> Any:
    """Observations of the second halves of failed episodes, and what is done there; None if all
    succeeded."""
    found = rollouts(agent, task, range(episodes), guidance=guidance)
    seen, actions = np.asarray(found.dataset.observations), np.asarray(found.dataset.actions)
    chunk = agent.policy.action_shape[0]
    rows, ranges, turns, bounds, start = [], [], [], [], 0
    for episode in found.episodes:
        end = start + episode.length
        if not episode.success:
            half = np.arange(start + episode.length // 2, end)
            rows.append(half[::50])
            ranges.append(np.ptp(seen[half], axis=0))
            bounds.append(np.mean(np.abs(actions[half]) > 0.999))
            moves = np.diff(seen[half[::chunk]], axis=0)
            lengths = np.linalg.norm(moves[1:], axis=1) * np.linalg.norm(moves[:-1], axis=1)
            turns.append(np.mean((moves[1:] * moves[:-1]).sum(1) / np.maximum(lengths, 1e-9)))
        # The last observation of an episode has a row, too.
        start = end + 1
    print(f"{len(rows)} of {episodes} episodes failed.", end=" ")
    if not rows:
        return None
    print(
        f"In their second halves: observations within {np.mean(ranges, axis=0).round(2)}, "
        f"{np.mean(bounds):.0%} of the entries of actions at 1 or -1, cosine between the moves of "
        f"one chunk and of the next {np.mean(turns):.2f}."
    )
    return seen[np.concatenate(rows)].astype(np.float32)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
