import dataclasses
from collections.abc import Sequence

from .._cost import CRITICS
from .._results.compare import Comparison
from .._results.conditions import Condition
from .._results.dropped import note_of
from .._results.tables import amount, change, mark, number, rate, Table
from ._findings import Compared, Findings, Tasks
from ._read import Group, TunedFolder

SHOWN_NAMES = 5
SHOWN_ERRORS = 500

Key = tuple[str, str, str]
"""The task (empty for all of them), the training, and what it is about."""


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report: a table, and the key of the pictures that belong to it."""

    key: Key
    table: Table


def sections(findings: Findings) -> list[Section]:
    """The tables of a report: over tasks, tuned, each task, what was played, errors."""
    parts = [Section(("", each.training, each.kind), _tasks_table(each)) for each in findings.tasks]
    rows = {_key(each.group): each.rows for each in findings.compared}
    for tuned, validation in findings.tuned:
        key = _key(tuned.test)
        parts.append(Section((*key[:2], "tuned"), _tuned_table(tuned, validation, rows[key])))
    parts += [Section(_key(each.group), _task_table(each)) for each in findings.compared]
    played = _played_table(findings)
    if played.rows:
        parts.append(Section(("", "", "guidances"), played))
    if findings.errors:
        parts.append(Section(("", "", "errors"), _errors_table(findings)))
    return parts


def _key(group: Group) -> Key:
    return group.task, group.training, group.kind


def heading(task: str, training: str, kind: str) -> str:
    """What a task and a training are called in a report."""
    name = task or "A task without a name"
    if training:
        name += f", training {training}"
    return name + (", test episodes" if kind == "test" else "")


def _task_table(compared: Compared) -> Table:
    rows = compared.rows
    has_success = any(row.success for row in rows)
    with_errors = any(row.errors for row in rows)
    columns = ["condition", "episodes"]
    columns += ["errors"] if with_errors else []
    columns += ["success", "difference to unguided"] if has_success else []
    columns += ["pairs", "gained", "lost", "mean return"] if has_success else ["mean return"]
    columns += [] if has_success else ["difference to unguided", "pairs"]

    def cells(row: Comparison) -> tuple[str, ...]:
        texts = [str(row.condition), number(row.episodes)]
        texts += [number(row.errors)] if with_errors else []
        pairs = number(row.pairs if row.condition != Condition() else None)
        if has_success:
            texts += [rate(row.success), change(row.difference), pairs]
            texts += [number(row.gained), number(row.lost), amount(row.episode_return)]
        else:
            texts += [amount(row.episode_return), amount(row.return_difference, "+"), pairs]
        return tuple(texts)

    differences = [row.difference if has_success else row.return_difference for row in rows]
    return Table(
        heading(*_key(compared.group)),
        tuple(columns),
        [cells(row) for row in rows],
        tuple(mark(difference) for difference in differences),
        tuple(_task_notes(compared, has_success)),
    )


def _task_notes(compared: Compared, has_success: bool) -> list[str]:
    rows = compared.rows
    seeds = sorted({seed for row in rows for seed in row.train_seeds})
    notes = []
    if has_success:
        notes.append(
            "Success with 95% Wilson intervals, differences and returns with 95% bootstrap "
            f"intervals over episode seeds: for training {_seeds(seeds)}, and not for others."
        )
    else:
        notes.append(
            "The environment does not tell success, only returns: with 95% bootstrap intervals "
            f"over episode seeds, for training {_seeds(seeds)}, and not for others."
        )
    judged = [row.difference if has_success else row.return_difference for row in rows]
    judged = [difference for difference in judged if difference is not None]
    if judged:
        marks = [mark(difference) for difference in judged]
        notes.append(
            f"Of {_conditions(len(judged))}, {marks.count('better')} better than unguided, "
            f"{marks.count('worse')} worse, {marks.count('')} not to be told from it: the interval "
            "of the paired difference lies above 0, below 0 or around it."
        )
    if all(row.condition != Condition() for row in rows):
        notes.append("Unguided was not played, so there is nothing to take differences to.")
    else:
        notes += _unpaired(rows)
    dropped = note_of((row.condition, row.dropped) for row in rows)
    notes += [dropped] if dropped else []
    if compared.group.kind == "played" and _several_weights(rows):
        notes.append(
            "The best of several weights is chosen here on the episodes that it is shown on, so it "
            "is a little too good: flowguide tune chooses on some episodes and reports on others."
        )
    return notes


def _conditions(count: int) -> str:
    return "1 condition" if count == 1 else f"{count} conditions"


def _seeds(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))


def _unpaired(rows: Sequence[Comparison]) -> list[str]:
    missing = [f"{row.condition} ({row.unpaired})" for row in rows if row.unpaired]
    if not missing:
        return []
    listed = ", ".join(missing[:SHOWN_NAMES])
    if len(missing) > SHOWN_NAMES:
        listed += f" and {len(missing) - SHOWN_NAMES} more"
    return [
        "Episodes without an unguided partner of the same training and episode seed, left out of "
        f"the differences: {listed}."
    ]


def _several_weights(rows: Sequence[Comparison]) -> bool:
    series = [row.condition.series for row in rows if row.condition.has_weight]
    return len(series) > len(set(series))


def _tuned_table(
    tuned: TunedFolder, validation: Sequence[Comparison], rows: Sequence[Comparison]
) -> Table:
    before = {row.condition: row for row in validation}
    after = {row.condition: row for row in rows}
    has_success = any(row.success for row in rows)
    order = [
        *(condition for condition in after if not condition.has_weight),
        *(condition for condition in tuned.chosen if condition.has_weight),
    ]

    def of(row: Comparison | None) -> list[str]:
        if row is None:
            return ["-", "-"]
        return [
            number(row.episodes),
            rate(row.success) if has_success else amount(row.episode_return),
        ]

    def cells(condition: Condition) -> tuple[str, ...]:
        row = after.get(condition)
        texts = [str(condition), *of(before.get(condition)), *of(row)]
        if row is None:
            return (*texts, *["-"] * (3 if has_success else 1))
        if not has_success:
            return (*texts, amount(row.return_difference, "+"))
        return (*texts, change(row.difference), number(row.gained), number(row.lost))

    name = "success" if has_success else "return"
    columns = ["chosen", "validation episodes", f"validation {name} (optimistic)"]
    columns += ["test episodes", f"test {name}", "test difference to unguided"]
    columns += ["gained", "lost"] if has_success else []
    after_rows = [after.get(condition) for condition in order]
    differences = [
        row and (row.difference if has_success else row.return_difference) for row in after_rows
    ]
    rounds = ", ".join(
        f"{_conditions(count)} with {episodes} episodes each" for count, episodes in tuned.rounds
    )
    return Table(
        f"Honest weights: {heading(tuned.task, tuned.training, '')}",
        tuple(columns),
        [cells(condition) for condition in order],
        tuple(mark(difference) for difference in differences),
        (
            f"Weights were chosen on validation episodes, by successive halving: {rounds}. The "
            "validation number of a chosen weight is the largest of several, so it is too good; "
            "test episodes have other seeds and chose nothing.",
        ),
    )


def _tasks_table(tasks: Tasks) -> Table:
    title = f"Over {len(tasks.tasks)} tasks"
    if tasks.training:
        title += f", training {tasks.training}"
    if tasks.kind == "test":
        title += ", test episodes"
    notes = []
    if tasks.overall:
        notes.append(
            "Interquartile means of the success rates of all training seeds on all tasks, with 95% "
            "intervals of a bootstrap over training seeds within each task: for these tasks with "
            f"other training seeds. Tasks: {', '.join(tasks.tasks)}."
        )
    if tasks.left_out:
        notes.append(
            f"Left out here: {_conditions(tasks.left_out)} without success rates of two training "
            "seeds or more on every task."
        )
    return Table(
        title,
        ("condition", "tasks", "runs", "interquartile mean", "difference to unguided"),
        [
            (
                row.name,
                number(len(tasks.tasks)),
                number(row.iqm.count),
                rate(row.iqm),
                change(row.difference),
            )
            for row in tasks.overall
        ],
        tuple(mark(row.difference) for row in tasks.overall),
        tuple(notes),
    )


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
