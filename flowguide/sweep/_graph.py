import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._agent.cross import Crossing
from .._run_folder import RunFolder
from ..ogbench import check_collectable, dataset_name, DEFAULT_DATASET_DIR, is_goal_conditioned
from ..runs import Settings
from ._jobs import Job
from ._plan import Evaluation, Plan, Tuning
from ._training import Training

DATA, POLICIES, CRITICS = "data", "policies", "critics"
EVALUATIONS, TUNED, REPORT = "evaluations", "tuned", "report"


def make_jobs(plan: Plan, out: Path) -> list[Job]:
    """The graph of a plan: each job after those that it needs.

    **Arguments:**

    - `plan`: what is to be done.
    - `out`: the folder of the sweep; what is there decides which datasets are missing, and which
        of its tasks a policy was trained under.

    **Raises:**

    `ValueError` for a dataset that is missing and that the plan can neither collect nor download.
    """
    groups: dict[str, list[str]] = {}
    for task in plan.tasks:
        groups.setdefault(dataset_name(task), []).append(task)
    jobs: dict[str, Job] = {}
    critics: dict[tuple[str, str], list[Job]] = {}
    played: list[Job] = []

    def add(job: Job) -> Job:
        return jobs.setdefault(job.name, job)

    # Seed by seed, so that there are results of all tasks long before the last seed is trained.
    for seed, training, tasks in itertools.product(plan.seeds, plan.trainings, groups.values()):
        settings = training.policy_settings(tasks)
        data = _data_job(plan, out, training, settings)
        needs = [add(data)] if data else []
        policy = add(_policy_job(plan, out, training, settings, seed, needs))
        for task in tasks:
            critic = add(_critic_job(plan, training, task, seed, policy))
            critics.setdefault((training.name, task), []).append(critic)
            if plan.evaluation:
                played.append(add(_evaluate_job(plan.evaluation, training, task, seed, critic)))
    if plan.tuning:
        for (name, task), found in critics.items():
            played.append(add(_tune_job(plan.tuning, name, task, found)))
    if played:
        add(_report_job(played))
    return list(jobs.values())


def _data_job(plan: Plan, out: Path, training: Training, settings: Settings) -> Job | None:
    """What makes or downloads a missing dataset: once, or its policies would all at a time."""
    dataset, folder = dataset_name(settings.task), _data_folder(plan, settings)
    if settings.slices or (out / Path(folder).expanduser() / f"{dataset}.npz").exists():
        return None
    # A training with a folder of its own has a dataset of its own.
    name = dataset if "dataset_dir" not in training.options else f"{training.name}.{dataset}"
    if plan.collect is None:
        return _job("download", name, {"dataset": dataset, "folder": folder})
    try:
        check_collectable(dataset)
    except ValueError as error:
        raise ValueError(
            f"collect is {plan.collect}: {error} Or else its npz files in {out / folder}."
        ) from error
    arguments = {"dataset": dataset, "episodes": plan.collect, "folder": folder}
    return _job("collect", name, arguments)


def _data_folder(plan: Plan, settings: Settings) -> str:
    if settings.dataset_dir != Path(DEFAULT_DATASET_DIR):
        return str(settings.dataset_dir)
    if plan.dataset_dir is not None:
        return str(plan.dataset_dir)
    return DATA if plan.collect is not None else DEFAULT_DATASET_DIR


def _policy_job(
    plan: Plan, out: Path, training: Training, settings: Settings, seed: int, needs: Sequence[Job]
) -> Job:
    dataset = dataset_name(settings.task)
    folder = _folder(POLICIES, dataset, training, seed)
    settings = dataclasses.replace(
        settings,
        task=_trained_under(out / folder, settings.task),
        seed=seed,
        dataset_dir=Path(_data_folder(plan, settings)),
    )
    arguments = {"settings": settings.to_json(), "folder": folder}
    return _job("policy", f"{training.name}.{dataset}.seed_{seed}", arguments, needs)


def _trained_under(folder: Path, task: str) -> str:
    """The task that a policy was trained under: another order of the tasks is no other policy."""
    try:
        found = RunFolder(folder).settings()["task"]
    except (OSError, ValueError, KeyError):
        return task
    same = dataset_name(found) == dataset_name(task)
    return found if same and not is_goal_conditioned(task) else task


def _critic_job(plan: Plan, training: Training, task: str, seed: int, policy: Job) -> Job:
    settings = training.critic_settings(task)
    settings = dataclasses.replace(
        settings,
        seed=seed,
        dataset_dir=Path(_data_folder(plan, settings)),
        frozen=Path(policy.arguments["folder"]),
    )
    folder = _folder(CRITICS, task, training, seed)
    arguments = {"settings": settings.to_json(), "folder": folder}
    return _job("critic", f"{training.name}.{task}.seed_{seed}", arguments, [policy])


def _evaluate_job(
    evaluation: Evaluation, training: Training, task: str, seed: int, critic: Job
) -> Job:
    arguments = {
        "runs": [critic.arguments["folder"]],
        "conditions": _as_json(evaluation.conditions),
        "episodes": evaluation.episodes,
        "file": f"{_folder(EVALUATIONS, task, training, seed)}.jsonl",
        "training": training.name,
        "options": _options(evaluation),
    }
    return _job("evaluate", f"{training.name}.{task}.seed_{seed}", arguments, [critic])


def _tune_job(tuning: Tuning, training: str, task: str, critics: Sequence[Job]) -> Job:
    arguments = {
        "runs": [critic.arguments["folder"] for critic in critics],
        "candidates": _as_json(tuning.candidates),
        "validation_episodes": tuning.validation_episodes,
        "test_episodes": tuning.test_episodes,
        "folder": f"{TUNED}/{task}/{training}",
        "training": training,
        "options": _options(tuning),
    }
    return _job("tune", f"{training}.{task}", arguments, critics)


def _report_job(played: Sequence[Job]) -> Job:
    files = [job.arguments.get("file") or job.arguments["folder"] for job in played]
    job = _job("report", "", {"files": files, "folder": REPORT}, played)
    return dataclasses.replace(job, name="report", tolerant=True)


def _job(kind: str, rest: str, arguments: dict[str, Any], needs: Sequence[Job] = ()) -> Job:
    names = tuple(job.name for job in needs)
    return Job(f"{kind}.{rest}", kind, f"flowguide.sweep._kinds:{kind}", arguments, names)


def _folder(top: str, name: str, training: Training, seed: int) -> str:
    return f"{top}/{name}/{training.name}/seed_{seed}"


def _as_json(tables: Sequence[Crossing]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(table) for table in tables]


def _options(played: Evaluation | Tuning) -> dict[str, Any]:
    names = ("replan", "max_episode_steps", "success_at", "rescale", "num_envs", "timeout")
    return {name: getattr(played, name) for name in names}
