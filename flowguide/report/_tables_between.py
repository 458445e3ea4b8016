"""Tables over several tasks, and of methods against each other."""

from collections.abc import Sequence

from .._results.between import Between
from .._results.compare import Comparison
from .._results.tables import amount, change, judged, mark, number, rate, solved, Table
from ._compared import Compared, heading
from ._over_tasks import Tasks
from ._pooled import Pooled
from ._tables_task import conditions_text

_CHANCE = (
    "The better one comes first. Undecided: the interval of the difference includes 0. Of "
    "comparisons of what does not differ, one in twenty excludes it by chance."
)


def between_table(compared: Compared) -> Table:
    """The best of each method against each other, on the same episodes."""
    has_success = any(row.success for row in compared.rows)
    title = f"Between methods: {compared.heading}"
    return _pairs_table(title, compared.between, has_success, compared.group.kind)


def pooled_between_table(tasks: Tasks, pooled: Pooled) -> Table:
    """The best of each method against each other, on the same episodes of all tasks."""
    title = f"Between methods, episode by episode: {_heading(tasks)}"
    return _pairs_table(title, pooled.between, True, tasks.kind)


def _pairs_table(title: str, pairs: Sequence[Between], has_success: bool, kind: str) -> Table:
    rows, marks = [], []
    for each in pairs:
        row = each.row
        difference = row.difference if has_success else row.return_difference
        text = change(difference) if has_success else amount(difference, "+")
        cells = [str(row.condition), str(each.other), text, judged(difference), number(row.pairs)]
        cells += [number(row.gained), number(row.lost)] if has_success else []
        rows.append(tuple(cells))
        marks.append(mark(difference))
    notes = [
        "Each method with its best weight, paired by episode, with 95% bootstrap intervals over "
        f"episode seeds. {_CHANCE}"
    ]
    if kind == "played":
        notes.append("These weights are the best in these very episodes, so a little too good.")
    columns = ["condition", "against", "difference" if has_success else "difference of returns"]
    columns += ["which is", "pairs", *(["gained", "lost"] if has_success else [])]
    return Table(title, tuple(columns), rows, tuple(marks), tuple(notes))


def pooled_table(tasks: Tasks, pooled: Pooled) -> Table:
    """The conditions over all tasks, episode by episode, and in each domain."""

    def cells(i: int, row: Comparison) -> tuple[str, ...]:
        domains = [solved(rows[i].success) for rows in pooled.domains.values()]
        pairs = number(row.pairs if row.condition != pooled.baseline else None)
        return (
            *(str(row.condition), number(None if row.cost is None else row.cost.forwards())),
            *(*domains, solved(row.success), rate(row.success), change(row.difference)),
            *(pairs, number(row.gained), number(row.lost)),
        )

    notes = [
        f"{pooled.verdict}.",
        "All episodes of all tasks, paired by task, training seed and episode seed. The 95% "
        "intervals of differences are of a bootstrap over the episode seeds of every task: for "
        "these tasks and training seeds with other episodes.",
    ]
    if pooled.left_out:
        notes.append(f"Left out here: {conditions_text(pooled.left_out)} not played on every task.")
    return Table(
        f"Episode by episode: {_heading(tasks)}",
        (
            *("condition", "cost of an action", *pooled.domains, "solved", "success"),
            *(f"difference to {pooled.baseline}", "pairs", "gained", "lost"),
        ),
        [cells(i, row) for i, row in enumerate(pooled.rows)],
        tuple(mark(row.difference) for row in pooled.rows),
        tuple(notes),
    )


def tasks_between_table(tasks: Tasks) -> Table:
    """The best of each method against each other, over several tasks."""
    rows = [
        (
            each.first,
            each.second,
            rate(each.probability),
            change(each.difference),
            judged(each.difference),
            number(each.probability.count),
        )
        for each in tasks.between
    ]
    return Table(
        f"Between methods {_heading(tasks)}",
        (
            *("condition", "against", "probability of improvement", "difference"),
            *("which is", "runs of each"),
        ),
        rows,
        tuple(mark(each.difference) for each in tasks.between),
        (
            "Probability of improvement: that a run of the first is better than one of the second "
            "on the same task, with half of the ties (Agarwal et al. 2021); 0.5 is neither. "
            "Differences are of interquartile means. Both have 95% intervals of a bootstrap over "
            f"training seeds within each task. {_CHANCE}",
        ),
    )


def _heading(tasks: Tasks) -> str:
    return heading(tasks.name[:1].lower() + tasks.name[1:], tasks.training, tasks.kind)


def tasks_table(tasks: Tasks) -> Table:
    """The conditions over several tasks."""
    notes = [f"{tasks.verdict}."]
    if tasks.overall:
        notes.append(
            "Interquartile means of the success rates of all training seeds on all tasks, with 95% "
            "intervals of a bootstrap over training seeds within each task: for these tasks with "
            f"other training seeds. Tasks: {', '.join(tasks.tasks)}."
        )
    if tasks.left_out:
        notes.append(
            f"Left out here: {conditions_text(tasks.left_out)} without success rates of two "
            "training seeds or more on every task."
        )
    return Table(
        heading(tasks.name, tasks.training, tasks.kind),
        ("condition", "tasks", "runs", "interquartile mean", f"difference to {tasks.baseline}"),
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
