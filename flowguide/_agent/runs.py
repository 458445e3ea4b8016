import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .._run_folder import RunFolder
from .._save import load_observations, NoObservationsError
from ..ogbench import is_goal_conditioned
from .agents import Agent, load_agents


class Runs(NamedTuple):
    """What several runs of one task are played with.

    **Attributes:**

    - `agents`: of all training seeds.
    - `environment`: what they play.
    - `goal_conditioned`: whether they learnt to reach goals.
    """

    agents: list[Agent]
    environment: str
    goal_conditioned: bool


def load_runs(
    runs: Sequence[str | os.PathLike], training: str = "", environment: str | None = None
) -> Runs:
    """The agents of several runs of one task, and the environment that they play.

    **Raises:**

    `ValueError` if the runs have different tasks or the same training seeds, or none is known;
    what `flowguide.load` raises.
    """
    agents: dict[int, Agent] = {}
    tasks: dict[str, str | None] = {}
    for run in map(Path, runs):
        for agent in load_agents(run, training=training):
            if agent.train_seed in agents:
                raise ValueError(
                    f"Two runs have the training seed {agent.train_seed}, the second is {run}: "
                    "their episodes could not be told apart. Evaluate them one by one, into "
                    "different files."
                )
            agents[agent.train_seed] = agent
        tasks[str(run)] = _task_of(run)
    if not agents:
        raise ValueError("No run was given: expected folders of `flowguide train`.")
    if len(set(tasks.values())) > 1:
        raise ValueError(f"The runs have different tasks: {tasks}.")
    task = next(iter(tasks.values()))
    if task is None and environment is None:
        raise ValueError(
            f"{next(iter(tasks))} does not say its task, as a folder of `flowguide train` does: "
            "name the environment."
        )
    is_goals = task is not None and is_goal_conditioned(task)
    return Runs(list(agents.values()), environment or task or "", is_goals)


def observations_of(runs: Sequence[str | os.PathLike]) -> Any:
    """What the unit of weights is measured from, for all of the runs: what the first one kept.

    **Raises:**

    `ValueError` if it kept none; what `flowguide.load_observations` raises else.
    """
    if not runs:
        raise ValueError("No run was given: expected folders of `flowguide train`.")
    run = Path(runs[0]).expanduser()
    seeds = RunFolder(run).seeds()
    try:
        return load_observations(run, seed=seeds[0] if seeds else None)
    except NoObservationsError as error:
        raise ValueError(
            "Weights in units of the task (kappas) are measured from observations of the first "
            f"run, and it has none: {error} Weights in units of the observation at hand (local) "
            "need none."
        ) from error


def _task_of(run: Path) -> str | None:
    """Of a run, or of the folder of one of its seeds."""
    for folder in (run.expanduser(), run.expanduser().parent):
        task = RunFolder(folder).settings().get("task")
        if task is not None:
            return task
    return None
