import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from .._agent.cross import Crossing
from .._checks import as_positive_int
from .._near import did_you_mean
from .._random import as_seed
from ..ogbench import check_name, dataset_name, is_goal_conditioned
from ..results import Condition
from ._tables import check_keys, convert, from_table
from ._training import Training

# The kinds of jobs, in the order of the graph.
KINDS = ("collect", "download", "policy", "critic", "learner", "evaluate", "tune", "report")
# A job goes back into SLURM's queue two minutes before its time is over.
_LEAST = {"gpus": 0, "cpus": 1, "time": 5, "timeouts": 0}
_COUNTS = "episodes validation_episodes test_episodes replan max_episode_steps num_envs".split()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Playing:
    """How episodes are played: the fields are as in `flowguide.evaluate.evaluate`."""

    replan: int | None = None
    max_episode_steps: int | None = None
    success_at: Literal["end", "any"] = "end"
    rescale: bool = False
    num_envs: int | None = None
    timeout: float = 120.0


@dataclasses.dataclass(frozen=True)
class Conditions(Crossing):
    """A table of methods and weights, `[[evaluate.conditions]]` or `[[tune.candidates]]`.

    **Attributes:**

    - `trainings`: the names of those that it is of; none for all.
    """

    trainings: tuple[str, ...] = ()

    def is_of(self, training: str) -> bool:
        return not self.trainings or training in self.trainings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(Playing):
    """What is played with each policy and critic, `[evaluate]` in a plan.

    **Attributes:**

    - `conditions`: what is compared: tables of methods and weights.
    - `episodes`: of each condition, task, training setting and training seed.
    - `first_episode_seed`: episodes have the seeds from this one on.
    """

    conditions: tuple[Conditions, ...]
    episodes: int
    first_episode_seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuning(Playing):
    """What is tuned for each task and training setting, `[tune]` in a plan.

    **Attributes:**

    - `candidates`: what is chosen from: tables of methods and weights.
    - `validation_episodes`, `test_episodes`: to choose on and to report, of each training seed.
    """

    candidates: tuple[Conditions, ...]
    validation_episodes: int = 32
    test_episodes: int = 50


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a job asks SLURM for; `[slurm]` in a plan.

    **Attributes:**

    - `partition`: None for the cluster's default.
    - `gpus`, `cpus`: of one job.
    - `memory_gb`: None for the cluster's default.
    - `time`: minutes until a job is put back into the queue; at least 5.
    - `timeouts`: how often that may happen to a job before it counts as failed.
    - `setup`: lines of shell before the job, such as `module load cuda`.
    - `extra`: any other option of sbatch, such as `{account = "...", constraint = "..."}`.
    """

    partition: str | None = None
    gpus: int = 0
    cpus: int = 4
    memory_gb: float | None = None
    time: int = 240
    timeouts: int = 20
    setup: tuple[str, ...] = ()
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def check(self, where: str) -> None:
        """Refuses numbers out of range, with a `ValueError`."""
        for name, low in _LEAST.items():
            if getattr(self, name) < low:
                raise ValueError(
                    f"{name} in {where} must be at least {low}, got {getattr(self, name)}."
                )
        if self.memory_gb is not None and not self.memory_gb > 0:
            raise ValueError(f"memory_gb in {where} must be above 0, got {self.memory_gb}.")
        for name, value in self.extra.items():
            if not isinstance(value, (str, int, float)) or value is False:
                raise ValueError(f"{name} in extra of {where} must be a string, a number or true.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Tasks x training settings x seeds x guidance conditions, as `read_plan` gives it.

    **Attributes:**

    - `tasks`: OGBench names.
    - `seeds`: training seeds, each a run of its own.
    - `collect`: how many episodes are collected of a dataset that is not there; None for none.
    - `dataset_dir`: the folder of the datasets; None for the default.
    - `trainings`: the named training settings.
    - `evaluation`, `tuning`: what is played; None for nothing.
    - `resources`: what each kind of job asks SLURM for.
    """

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    collect: int | None = None
    dataset_dir: Path | None = None
    trainings: tuple[Training, ...] = ()
    evaluation: Evaluation | None = None
    tuning: Tuning | None = None
    resources: Mapping[str, Resources] = dataclasses.field(default_factory=dict)


def find_plan(plan: str | os.PathLike) -> tuple[Path, Path]:
    """The file of a plan, or of a shipped plan by its name, and the folder that its paths count
    from: of a shipped plan the working folder.

    **Raises:**

    `FileNotFoundError` that names the shipped plans.
    """
    file = Path(plan).expanduser()
    if file.is_file():
        return file, file.absolute().parent
    package = Path(__file__).parents[1]
    # In the wheel; beside the package in a repository.
    folders = (package / "examples" / "ogbench", package.parent / "examples" / "ogbench")
    shipped = {found.stem: found for folder in folders[::-1] for found in folder.glob("*.toml")}
    if str(plan) not in shipped:
        raise FileNotFoundError(
            f"There is no plan {file}. Shipped plans: {sorted(shipped)}."
            f"{did_you_mean(str(plan), shipped)}"
        )
    return shipped[str(plan)], Path.cwd()


def read_plan(plan: str | os.PathLike) -> Plan:
    """Reads a plan, a TOML file as `docs/sweeps.md` describes it.

    **Arguments:**

    - `plan`: the TOML file. Relative paths in it count from the folder that it is in. Or the name
        of a plan that comes with flowguide, such as `"small"`: they count from the working folder.

    **Raises:**

    `FileNotFoundError`; `ValueError` that names the file and what is wrong in it.
    """
    file, folder = find_plan(plan)
    try:
        return _parse(tomllib.loads(file.read_text(encoding="utf-8-sig")), folder)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _parse(table: dict[str, Any], folder: Path) -> Plan:
    names = ("tasks", "seeds", "collect", "dataset_dir")
    parts = ("settings", "train", "learn", "evaluate", "tune", "slurm")
    check_keys(table, [*names, *parts], "the plan")
    plan = from_table(Plan, {key: table[key] for key in names if key in table}, "the plan")
    _check_tasks(plan.tasks)
    for seed in plan.seeds:
        as_seed("seeds", seed)
    if not plan.seeds or len(set(plan.seeds)) < len(plan.seeds):
        raise ValueError(f"seeds must be different integers, got {list(plan.seeds)}.")
    if plan.collect is not None:
        as_positive_int("collect", plan.collect)
    trainings = _trainings(table, plan.tasks, folder)
    names = [training.name for training in trainings]
    return dataclasses.replace(
        plan,
        dataset_dir=plan.dataset_dir and folder / plan.dataset_dir.expanduser(),
        trainings=trainings,
        evaluation=_playing(Evaluation, "conditions", table, "evaluate", names),
        tuning=_playing(Tuning, "candidates", table, "tune", names),
        resources=_resources(table.get("slurm", {})),
    )


def _check_tasks(tasks: Sequence[str]) -> None:
    if not tasks or len(set(tasks)) < len(tasks):
        raise ValueError(f"tasks must be different names, at least one, got {list(tasks)}.")
    for task in tasks:
        check_name(task)
        others = [t for t in tasks if t != task and dataset_name(t) == dataset_name(task)]
        if others and is_goal_conditioned(task):
            raise ValueError(
                f"{task!r} is goal-conditioned and {others[0]!r} learns from the same dataset: "
                "they cannot share its policy. Put them in two plans."
            )


def _trainings(plan: Any, tasks: Sequence[str], folder: Path) -> tuple[Training, ...]:
    """`[train.NAME]`, and after them `[learn.NAME]`."""
    if not plan.get("train"):
        raise ValueError(
            "The plan has no training settings: expected a table such as [train.small]."
        )
    trainings: dict[str, Training] = {}
    for kind in ("train", "learn"):
        check_keys(plan.get(kind, {}), plan.get(kind, {}), f"[{kind}]")
        for name in plan.get(kind, {}):
            if name in trainings:
                raise ValueError(f"[train.{name}] and [learn.{name}]: expected different names.")
            trainings[name] = _training(plan, kind, name, tasks, folder)
    for training in trainings.values():
        source = training.source
        if source is None:
            for dataset in dict.fromkeys(map(dataset_name, tasks)):
                training.policy_settings([t for t in tasks if dataset_name(t) == dataset])
        elif source in plan["train"]:
            for task in tasks:
                training.learner_settings(task)
        else:
            raise ValueError(
                f"source in {training.where} must be the name of a training, one of "
                f"{list(plan['train'])}, got {source!r}.{did_you_mean(source, plan['train'])}"
            )
    return tuple(trainings.values())


def _training(plan: Any, kind: str, name: str, tasks: Sequence[str], folder: Path) -> Training:
    where, options, shared = f"[{kind}.{name}]", plan[kind][name], plan.get("settings", {})
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"{where} must be named with letters, digits, - and _ alone.")
    check_keys(shared, shared, "[settings]")
    check_keys(options, options, where)
    source = None
    if kind == "learn":
        shared = {key: value for key, value in shared.items() if key != "critic"}
        source = convert(options.get("source", ""), str, f"source in {where}")
        options = {key: value for key, value in options.items() if key != "source"}
    options = {**shared, **options}
    differing = options.pop("tasks", {})
    check_keys(differing, [*tasks, *map(dataset_name, tasks)], f"[{kind}.{name}.tasks]")
    for each in (options, *differing.values()):
        if isinstance(each, dict) and isinstance(each.get("dataset_dir"), str):
            each["dataset_dir"] = str(folder / Path(each["dataset_dir"]).expanduser())
    return Training(name, options, differing, source)


def _playing(
    kind: type[Any], key: str, plan: dict[str, Any], name: str, trainings: Sequence[str]
) -> Any:
    """The table `[evaluate]` or `[tune]` with its conditions or candidates, if there is one."""
    if name not in plan:
        return None
    where = f"[{name}]"
    crossed = _conditions(plan[name], key, where, trainings)
    found = from_table(kind, {**plan[name], key: ()}, where)
    for field in dataclasses.fields(kind):
        value = getattr(found, field.name)
        if value is not None and field.name in _COUNTS:
            as_positive_int(f"{field.name} in {where}", value)
    if not found.timeout > 0:
        raise ValueError(f"timeout in {where} must be above 0, got {found.timeout}.")
    if kind is Evaluation:
        as_seed(f"first_episode_seed in {where}", found.first_episode_seed, found.episodes)
    for training in trainings if kind is Tuning else ():
        mine = [each for each in crossed if each.is_of(training)]
        if mine and not any(each.has_weight for each in conditions_of(mine)):
            raise ValueError(
                f"{where} has nothing to choose from for {training!r}: no candidate has a weight."
            )
    return dataclasses.replace(found, **{key: crossed})


def conditions_of(tables: Sequence[Crossing]) -> list[Condition]:
    """What tables compare, each condition once."""
    return list(dict.fromkeys(each for table in tables for each in table.conditions))


def _conditions(
    table: Any, key: str, where: str, trainings: Sequence[str]
) -> tuple[Conditions, ...]:
    """The tables `[[evaluate.conditions]]` or `[[tune.candidates]]`, which can be made."""
    check_keys(table, table, where)
    tables = table.get(key, [])
    header = f"[[{where.strip('[]')}.{key}]]"
    if not isinstance(tables, list) or not tables:
        raise ValueError(
            f"{where} lacks {key}: expected a table {header} with methods and weights."
        )
    found: list[Conditions] = []
    for number, each in enumerate(tables, start=1):
        named = f"{header} number {number}"
        found.append(from_table(Conditions, each, named))
        for training in found[-1].trainings:
            if training not in trainings:
                raise ValueError(
                    f"trainings in {named} must be some of {list(trainings)}, got {training!r}."
                    f"{did_you_mean(training, trainings)}"
                )
        try:
            # What is wrong with it is said now, and not by a job.
            assert found[-1].conditions
        except ValueError as error:
            raise ValueError(f"{named}: {error}") from error
    return tuple(found)


def _resources(table: Any) -> dict[str, Resources]:
    """`[slurm]` is what all kinds of jobs ask for, `[slurm.KIND]` what differs for one."""
    names = [field.name for field in dataclasses.fields(Resources)]
    check_keys(table, [*names, *KINDS], "[slurm]")
    shared = {key: value for key, value in table.items() if key not in KINDS}
    from_table(Resources, shared, "[slurm]").check("[slurm]")
    found = {}
    for kind in KINDS:
        where = f"[slurm.{kind}]" if kind in table else "[slurm]"
        own = table.get(kind, {})
        check_keys(own, names, where)
        extra = {**shared.get("extra", {}), **own.get("extra", {})}
        found[kind] = from_table(Resources, {**shared, **own, "extra": extra}, where)
        found[kind].check(where)
    return found
