import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from .._agent.cross import Crossing
from .._checks import as_positive_int
from ..ogbench import check_name, dataset_name, is_goal_conditioned
from ..results import Condition
from ._resources import KINDS, Resources
from ._tables import check_keys, from_table
from ._training import Training


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What is played with each policy and critic, `[evaluate]` in a plan.

    **Attributes:**

    - `conditions`: what is compared: tables of methods and weights.
    - `episodes`: of each condition, task, training setting and training seed.
    - `replan`, `max_episode_steps`, `success_at`, `rescale`, `num_envs`, `timeout`: as in
        `flowguide.evaluate.evaluate`.
    """

    conditions: tuple[Crossing, ...]
    episodes: int
    replan: int | None = None
    max_episode_steps: int | None = None
    success_at: Literal["end", "any"] = "end"
    rescale: bool = False
    num_envs: int | None = None
    timeout: float = 120.0


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What is tuned for each task and training setting, `[tune]` in a plan.

    **Attributes:**

    - `candidates`: what is chosen from: tables of methods and weights.
    - `validation_episodes`, `test_episodes`: to choose on and to report, of each training seed.
    - `replan`, `max_episode_steps`, `success_at`, `rescale`, `num_envs`, `timeout`: as in
        `flowguide.evaluate.evaluate`.
    """

    candidates: tuple[Crossing, ...]
    validation_episodes: int = 32
    test_episodes: int = 50
    replan: int | None = None
    max_episode_steps: int | None = None
    success_at: Literal["end", "any"] = "end"
    rescale: bool = False
    num_envs: int | None = None
    timeout: float = 120.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """Tasks x training settings x seeds x guidance conditions, as `read_plan` gives it.

    **Attributes:**

    - `tasks`: OGBench names.
    - `seeds`: training seeds, each a run of its own.
    - `trainings`: the named training settings.
    - `collect`: how many episodes are collected of a dataset that is not there; None for none.
    - `dataset_dir`: the folder of the datasets; None for the default.
    - `evaluation`, `tuning`: what is played; None for nothing.
    - `resources`: what each kind of job asks SLURM for.
    """

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    trainings: tuple[Training, ...]
    collect: int | None = None
    dataset_dir: Path | None = None
    evaluation: Evaluation | None = None
    tuning: Tuning | None = None
    resources: Mapping[str, Resources] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Top:
    """The keys of a plan that are no tables."""

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    collect: int | None = None
    dataset_dir: Path | None = None


def read_plan(file: str | os.PathLike) -> Plan:
    """Reads a plan, a TOML file as `docs/sweeps.md` describes it.

    **Arguments:**

    - `file`: the TOML file. Relative paths in it count from the folder that it is in.

    **Raises:**

    `FileNotFoundError`; `ValueError` that names the file and what is wrong in it.
    """
    file = Path(file).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"There is no plan {file}.")
    try:
        return _parse(tomllib.loads(file.read_text(encoding="utf-8-sig")), file.absolute().parent)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _parse(table: dict[str, Any], folder: Path) -> Plan:
    tables = ("train", "evaluate", "tune", "slurm")
    names = [field.name for field in dataclasses.fields(_Top)]
    check_keys(table, [*names, *tables], "the plan")
    top = from_table(_Top, {key: table[key] for key in names if key in table}, "the plan")
    _check_tasks(top.tasks)
    if not top.seeds or min(top.seeds) < 0 or len(set(top.seeds)) < len(top.seeds):
        raise ValueError(f"seeds must be different integers of at least 0, got {list(top.seeds)}.")
    if top.collect is not None:
        as_positive_int("collect", top.collect)
    return Plan(
        **{**vars(top), "dataset_dir": _below(folder, top.dataset_dir)},
        trainings=_trainings(table.get("train", {}), top.tasks, folder),
        evaluation=_evaluation(table["evaluate"]) if "evaluate" in table else None,
        tuning=_tuning(table["tune"]) if "tune" in table else None,
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


def _trainings(table: Any, tasks: Sequence[str], folder: Path) -> tuple[Training, ...]:
    check_keys(table, table, "[train]")
    if not table:
        raise ValueError(
            "The plan has no training settings: expected a table such as [train.small]."
        )
    trainings = []
    for name, options in table.items():
        where = f"[train.{name}]"
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"{where} must be named with letters, digits, - and _ alone.")
        check_keys(options, options, where)
        options = dict(options)
        differing = options.pop("tasks", {})
        check_keys(differing, [*tasks, *map(dataset_name, tasks)], f"[train.{name}.tasks]")
        for each in (options, *differing.values()):
            if isinstance(each, dict) and isinstance(each.get("dataset_dir"), str):
                each["dataset_dir"] = str(_below(folder, Path(each["dataset_dir"])))
        training = Training(name, options, differing)
        for dataset in dict.fromkeys(map(dataset_name, tasks)):
            training.policy_settings([t for t in tasks if dataset_name(t) == dataset])
        trainings.append(training)
    return tuple(trainings)


def _evaluation(table: Any) -> Evaluation:
    crossed = _conditions(table, "conditions", "[evaluate]")
    found = from_table(Evaluation, {**table, "conditions": ()}, "[evaluate]")
    _check_counts(found, ("episodes",), "[evaluate]")
    return dataclasses.replace(found, conditions=crossed)


def _tuning(table: Any) -> Tuning:
    crossed = _conditions(table, "candidates", "[tune]")
    found = from_table(Tuning, {**table, "candidates": ()}, "[tune]")
    _check_counts(found, ("validation_episodes", "test_episodes"), "[tune]")
    if not any(condition.has_weight for condition in conditions_of(crossed)):
        raise ValueError("[tune] has nothing to choose from: no candidate has a weight.")
    return dataclasses.replace(found, candidates=crossed)


def conditions_of(tables: Sequence[Crossing]) -> list[Condition]:
    """What tables compare, each condition once."""
    return list(dict.fromkeys(each for table in tables for each in table.conditions))


def _conditions(table: Any, key: str, where: str) -> tuple[Crossing, ...]:
    """The tables `[[evaluate.conditions]]` or `[[tune.candidates]]`, which can be made."""
    check_keys(table, table, where)
    tables = table.get(key, [])
    header = f"[[{where.strip('[]')}.{key}]]"
    if not isinstance(tables, list) or not tables:
        raise ValueError(
            f"{where} lacks {key}: expected a table {header} with methods and weights."
        )
    found: list[Crossing] = []
    for number, each in enumerate(tables, start=1):
        named = f"{header} number {number}"
        found.append(from_table(Crossing, each, named))
        try:
            # What is wrong with it is said now, and not by a job.
            assert found[-1].conditions
        except ValueError as error:
            raise ValueError(f"{named}: {error}") from error
    return tuple(found)


def _check_counts(record: Any, names: Sequence[str], where: str) -> None:
    for name in (*names, "replan", "max_episode_steps", "num_envs"):
        if getattr(record, name) is not None:
            as_positive_int(f"{name} in {where}", getattr(record, name))
    if not record.timeout > 0:
        raise ValueError(f"timeout in {where} must be above 0, got {record.timeout}.")


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


def _below(folder: Path, path: Path | None) -> Path | None:
    return None if path is None else folder / path.expanduser()
