import dataclasses

from .._cost import CRITICS
from .._results.conditions import Condition
from .._results.tables import mark, number, Table
from ._findings import Findings
from ._over_tasks import Tasks
from ._runs import runs_table
from ._tables_between import (
    between_table,
    pooled_between_table,
    pooled_table,
    tasks_between_table,
    tasks_table,
)
from ._tables_task import task_table
from ._tables_trainings import trainings_tables

SHOWN_ERRORS = 500

Key = tuple[str, str, str]
"""The task (empty for all of them), the training, and what it is about."""


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report: a table, and the key of the pictures that belong to it."""

    key: Key
    table: Table


def sections(findings: Findings, source: Table) -> list[Section]:
    """The tables of a report: over tasks, between trainings, each task, what was played, where it
    comes from, errors.

    **Arguments:**

    - `findings`: all numbers.
    - `source`: the table of where they come from.
    """
    parts: list[Section] = []
    for each in findings.tasks:
        parts += _over(each)
    for each in findings.trainings:
        key = "", "", f"{each.kind} trainings"
        parts += [Section(key, table) for table in trainings_tables(each)]
    tuned = {each.test.key: (each, validation) for each, validation in findings.tuned}
    for each in findings.compared:
        key = each.group.key
        said = (f"{each.verdict}.",) if len(findings.compared) > 1 else ()
        table = task_table(each, said, *tuned.get(key, (None, [])))
        parts.append(Section(key, table))
        if each.between:
            parts.append(Section((*key[:2], f"{key[2]} between"), between_table(each)))
    played = _played_table(findings)
    if played.rows:
        parts.append(Section(("", "", "guidances"), played))
    if findings.runs:
        parts.append(Section(("", "", "runs"), runs_table(findings.runs)))
    parts.append(Section(("", "", "source"), source))
    if findings.errors:
        parts.append(Section(("", "", "errors"), _errors_table(findings)))
    return parts


def _over(tasks: Tasks) -> list[Section]:
    key, between = ("", tasks.training, tasks.kind), ("", tasks.training, f"{tasks.kind} between")
    parts = []
    if tasks.overall or not tasks.pooled:
        parts.append(Section(key, tasks_table(tasks)))
    if tasks.between:
        parts.append(Section(between, tasks_between_table(tasks)))
    if tasks.pooled:
        # Pictures belong to the first of them.
        keys = [(*each[:2], f"{each[2]} pooled") if parts else each for each in (key, between)]
        tables = pooled_table(tasks, tasks.pooled), pooled_between_table(tasks, tasks.pooled)
        parts += [Section(each, table) for each, table in zip(keys, tables, strict=True)]
    return parts


def _played_table(findings: Findings) -> Table:
    """What the labels stand for, once for all tasks, and what an action costs."""
    rows: dict[tuple[str, ...], Condition] = {}
    for each in findings.compared:
        for row in each.rows:
            if row.guidance or row.cost:
                cost = None if row.cost is None else row.cost.forwards()
                name = str(row.condition), number(row.steps), number(cost), row.guidance or "-"
                rows.setdefault(name, row.condition)
    ordered = sorted(rows, key=lambda name: (rows[name], name))
    return Table(
        "What was played",
        ("condition", "flow steps", "cost of an action", "guidance"),
        ordered,
        tuple(mark(None) for _ in ordered),
        (
            f"Costs are in forward passes of one network, for critics of {CRITICS} networks as "
            "large as the policy's; a gradient in the action counts as two forward passes.",
        ),
    )


def _errors_table(findings: Findings) -> Table:
    errors = findings.errors
    notes = ["They are counted here and left out of every number."]
    if len(errors) > SHOWN_ERRORS:
        notes.append(f"The first {SHOWN_ERRORS} are shown; summary.json has all.")
    listed = errors[:SHOWN_ERRORS]
    return Table(
        f"Episodes that ended in an error: {len(errors)}",
        ("task", "training", "condition", "training seed", "episode seed", "error"),
        [
            (
                e.task,
                e.training or "-",
                str(e.condition),
                str(e.train_seed),
                str(e.episode_seed),
                " ".join((e.error or "").split()),
            )
            for e in listed
        ],
        tuple(mark(None) for _ in listed),
        tuple(notes),
    )
