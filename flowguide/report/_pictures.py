from collections.abc import Sequence

from .._results.compare import Comparison
from .._results.conditions import units_of
from .._system.files import as_file_name
from ..plot import Styles
from ._compared import Compared
from ._findings import Findings
from ._over_tasks import Tasks
from ._picture import Picture
from ._picture_changes import draw_changes, draw_weights
from ._picture_compute import compute_picture
from ._picture_profiles import draw_profiles
from ._picture_tasks import draw_conditions, draw_iqm, draw_tasks, draw_tuned, short
from ._picture_training import draw_training
from ._sections import Key

# Of so many training runs learning curves are drawn.
MAX_RUNS = 12


def pictures(findings: Findings) -> dict[Key, list[Picture]]:
    """The pictures of a report, by the section that they belong to."""
    everything = [row.condition for each in findings.compared for row in each.rows]
    everything += [row.condition for _, rows in findings.tuned for row in rows]
    together = [tasks.pooled.rows for tasks in findings.tasks if tasks.pooled]
    everything += [row.condition for rows in together for row in rows]
    # One colour for a method throughout.
    styles = Styles(everything)
    pictures: dict[Key, list[Picture | None]] = {}
    for tasks in findings.tasks:
        pictures["", tasks.training, tasks.kind] = _of_tasks(findings, tasks, styles)
    tuned_of = {each.test.key: (each, validation) for each, validation in findings.tuned}
    for each in findings.compared:
        drawn = _of_task(each, styles)
        if each.group.key in tuned_of:
            tuned, validation = tuned_of[each.group.key]
            name = _file_name(tuned.task, tuned.training)
            title = _title(tuned.task, tuned.training)
            drawn.insert(0, draw_tuned(f"{name}tuned", title, tuned, validation, each.rows))
            drawn += _of_weights(f"{name}validation_", f"{title}, validation", validation, styles)
        pictures[each.group.key] = drawn
    names = [as_file_name(run.folder.name) for run in findings.runs]
    pictures["", "", "runs"] = [
        # Folders of one name, as in sweeps, have a number too.
        draw_training(f"training_{name}" + (f"_{i}" if names.count(name) > 1 else ""), run)
        for i, (name, run) in enumerate(zip(names, findings.runs, strict=True))
        if i < MAX_RUNS
    ]
    return {key: [p for p in several if p is not None] for key, several in pictures.items()}


def _of_task(compared: Compared, styles: Styles) -> list[Picture | None]:
    group, rows = compared.group, compared.rows
    name, title = _file_name(group.task, group.training), _title(group.task, group.training)
    if group.kind == "test":
        name, title = f"{name}test_", f"{title}, test"
    of_weights = _of_weights(name, title, rows, styles) if group.kind == "played" else []
    if group.kind == "played" and not of_weights:
        of_weights = [draw_conditions(f"{name}success", title, rows)]
    return [
        *of_weights,
        compute_picture(
            *(f"{name}compute", title, rows, styles), is_chosen_elsewhere=group.kind == "test"
        ),
        draw_changes(f"{name}changes", title, rows, str(compared.baseline)),
    ]


def _of_weights(
    name: str, title: str, rows: Sequence[Comparison], styles: Styles
) -> list[Picture | None]:
    return [
        draw_weights(f"{name}weights_{unit}", title, rows, unit, styles) for unit in _units(rows)
    ]


def _of_tasks(findings: Findings, tasks: Tasks, styles: Styles) -> list[Picture | None]:
    compared = [
        each
        for each in findings.compared
        if (each.group.training, each.group.kind) == (tasks.training, tasks.kind)
    ]
    name = _file_name(f"tasks_{tasks.kind}" if tasks.kind == "test" else "tasks", tasks.training)
    title = f"{len(tasks.tasks)} tasks"
    if tasks.training:
        title += f", training {tasks.training}"
    if tasks.kind == "test":
        title += ", test"
    drawn = [
        draw_iqm(f"{name}iqm", title, tasks, styles),
        draw_profiles(f"{name}profiles", title, tasks, styles),
    ]
    if tasks.pooled:
        pooled, is_test = tasks.pooled.rows, tasks.kind == "test"
        drawn += [
            compute_picture(f"{name}compute", title, pooled, styles, is_chosen_elsewhere=is_test),
            draw_changes(f"{name}changes", title, pooled, tasks.baseline),
        ]
    if tasks.kind == "test":
        return drawn
    rows = [row for each in compared for row in each.rows]
    return [
        *drawn,
        *(draw_tasks(f"{name}{unit}", title, compared, unit, styles) for unit in _units(rows)),
    ]


def _units(rows: Sequence[Comparison]) -> list[str]:
    return units_of(row.condition for row in rows)


def _title(task: str, training: str) -> str:
    return f"{short(task)}, training {training}" if training else short(task)


def _file_name(task: str, training: str) -> str:
    """The beginning of the names of its files."""
    parts = [part for part in (short(task), training) if part]
    return "".join(as_file_name(part) + "_" for part in parts)
