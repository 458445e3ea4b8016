import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._results.conditions import UNGUIDED
from .._run_folder import RunFolder
from ..ogbench import check_collectable, dataset_name, DEFAULT_DATASET_DIR, is_goal_conditioned
from ..runs import Settings, WATCHING
from ._plan import Conditions, Evaluation, Plan, Playing, Tuning
from ._training import Training


@dataclasses.dataclass(frozen=True)
class Job:
    """One job of a sweep: a call in a process of its own.

    **Attributes:**

    - `name`: of its files in `OUT/jobs`.
    - `kind`: one of `KINDS`; what resources it gets.
    - `call`: `"module:function"`, called as `function(out, arguments, cpus)`.
    - `arguments`: JSON. Paths in it count from the folder of the sweep, so that it can be moved.
    - `needs`: names of the jobs that must be done before.
    - `tolerant`: it runs as well if some of these failed.
    """

    name: str
    kind: str
    call: str
    arguments: dict[str, Any]
    needs: tuple[str, ...] = ()
    tolerant: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        """What its result follows from, as JSON gives it back."""
        return json.loads(json.dumps({"call": self.call, "arguments": self.arguments}))


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
    datasets: dict[str, Job] = {}
    policies: dict[str, Job] = {}
    trained: dict[tuple[str, str], dict[int, Job]] = {}
    played: list[Job] = []

    def add(kind: str, name: str, arguments: dict[str, Any], needs: Sequence[Job] = ()) -> Job:
        full = f"{kind}.{name}" if name else kind
        call, names = f"flowguide.sweep._kinds:{kind}", tuple(job.name for job in needs)
        job = Job(full, kind, call, arguments, names, tolerant=kind == "report")
        return jobs.setdefault(full, job)

    def policy_of(seed: int, training: Training, tasks: Sequence[str]) -> Job:
        """That of their dataset; trainings that differ in their critics alone have one, that of the
        first."""
        settings = training.policy_settings(tasks)
        dataset, needs = dataset_name(settings.task), []
        if missing := _missing(plan, out, settings):
            # A training with a folder of its own has a dataset of its own, which others share that
            # name the same folder.
            own = f"{training.name}." if "dataset_dir" in training.options else ""
            place = json.dumps(missing, sort_keys=True)
            if place not in datasets:
                datasets[place] = add(missing.pop("kind"), own + dataset, missing)
            needs = [datasets[place]]
        folder = f"policies/{dataset}/{training.name}/seed_{seed}"
        same = _without_watching(_run(plan, settings, seed, folder)["settings"])
        if same not in policies:
            trained_under = _trained_under(out / folder, settings.task)
            settings = dataclasses.replace(settings, task=trained_under)
            name = f"{training.name}.{dataset}.seed_{seed}"
            policies[same] = add("policy", name, _run(plan, settings, seed, folder), needs)
        return policies[same]

    # Those that others learn from come first.
    trainings = sorted(plan.trainings, key=lambda training: training.source is not None)
    for seed, training, tasks in itertools.product(plan.seeds, trainings, groups.values()):
        for task in tasks:
            name = f"{training.name}.{task}.seed_{seed}"
            run = f"critics/{task}/{training.name}/seed_{seed}"
            if training.source is None:
                source = policy_of(seed, training, tasks)
                kind, settings = "critic", training.critic_settings(task)
            else:
                source = trained[training.source, task][seed]
                kind, settings = "learner", training.learner_settings(task)
                run = f"learners/{task}/{training.name}/seed_{seed}"
            settings = dataclasses.replace(settings, frozen=Path(source.arguments["folder"]))
            job = add(kind, name, _run(plan, settings, seed, run), [source])
            trained.setdefault((training.name, task), {})[seed] = job
            if plan.evaluation:
                file = f"evaluations/{task}/{training.name}/seed_{seed}.jsonl"
                arguments = _play(plan.evaluation, training.name, [job]) | {"file": file}
                played.append(add("evaluate", name, arguments, [job]))
    if plan.tuning:
        for (name, task), by_seed in trained.items():
            if not any(each.is_of(name) for each in plan.tuning.candidates):
                continue
            found = list(by_seed.values())
            arguments = _play(plan.tuning, name, found) | {"folder": f"tuned/{task}/{name}"}
            played.append(add("tune", f"{name}.{task}", arguments, found))
    if played:
        files = [job.arguments.get("file") or job.arguments["folder"] for job in played]
        first = plan.trainings[0].name if len(plan.trainings) > 1 else None
        add("report", "", {"files": files, "folder": "report", "training": first}, played)
    return list(jobs.values())


def _missing(plan: Plan, out: Path, settings: Settings) -> dict[str, Any] | None:
    """What makes or downloads a missing dataset: once, or its policies would all at a time."""
    dataset, folder = dataset_name(settings.task), _data_folder(plan, settings)
    if settings.slices or (out / Path(folder).expanduser() / f"{dataset}.npz").exists():
        return None
    if plan.collect is None:
        return {"kind": "download", "dataset": dataset, "folder": folder}
    try:
        check_collectable(dataset)
    except ValueError as error:
        raise ValueError(
            f"collect is {plan.collect}: {error} Or else its npz files in {out / folder}."
        ) from error
    return {"kind": "collect", "dataset": dataset, "episodes": plan.collect, "folder": folder}


def _data_folder(plan: Plan, settings: Settings) -> str:
    if settings.dataset_dir != Path(DEFAULT_DATASET_DIR):
        return str(settings.dataset_dir)
    if plan.dataset_dir is not None:
        return str(plan.dataset_dir)
    return "data" if plan.collect is not None else DEFAULT_DATASET_DIR


def _run(plan: Plan, settings: Settings, seed: int, folder: str) -> dict[str, Any]:
    data = Path(_data_folder(plan, settings))
    settings = dataclasses.replace(settings, seed=seed, dataset_dir=data)
    return {"settings": settings.to_json(), "folder": folder}


def _without_watching(settings: dict[str, Any]) -> str:
    """All that a policy follows from, and where its data are."""
    # The settings of a policy have a discount, and a cloned policy does not depend on it.
    names = settings.keys() - WATCHING - {"discount"} | {"dataset_dir"}
    return json.dumps({name: settings[name] for name in sorted(names)})


def _trained_under(folder: Path, task: str) -> str:
    """The task that a policy was trained under: another order of the tasks is no other policy."""
    try:
        found = RunFolder(folder).settings()["task"]
    except (OSError, ValueError, KeyError):
        return task
    same = dataset_name(found) == dataset_name(task)
    return found if same and not is_goal_conditioned(task) else task


def _play(played: Evaluation | Tuning, training: str, critics: Sequence[Job]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(Playing)}
    key = "conditions" if isinstance(played, Evaluation) else "candidates"
    tables = [each for each in getattr(played, key) if each.is_of(training)]
    crossed = [dataclasses.asdict(each) for each in tables or [Conditions(methods=(UNGUIDED,))]]
    for each in crossed:
        del each["trainings"]
    table = dataclasses.asdict(played) | {key: crossed}
    options = {name: table.pop(name) for name in names}
    runs = [critic.arguments["folder"] for critic in critics]
    return {**table, "runs": runs, "training": training, "options": options}
