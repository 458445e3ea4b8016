from collections.abc import Sequence

from .._results.compare import Comparison
from .._results.tables import change, mark, number, rate, solved, Table
from ._trainings import Trainings


def trainings_tables(trainings: Trainings) -> list[Table]:
    """Ways of training against each other: with what was best of each, and condition by
    condition."""
    kind = ", test episodes" if trainings.kind == "test" else ""
    tasks = f"{len(trainings.tasks)} task{'' if len(trainings.tasks) == 1 else 's'}"

    def table(
        title: str, rows: Sequence[Comparison], *notes: str, with_best: bool = False
    ) -> Table:
        return Table(
            f"Between trainings, {title}: {tasks}{kind}",
            (
                *("training", *(["condition"] if with_best else []), "cost of an action"),
                *("solved", "success", f"difference to {trainings.reference or '-'}"),
                *("pairs", "gained", "lost"),
            ),
            [cells(row, with_best) for row in rows],
            tuple(mark(row.difference) for row in rows),
            notes,
        )

    def cells(row: Comparison, with_best: bool) -> tuple[str, ...]:
        name = str(row.condition)
        best = [str(trainings.best[name if name in trainings.best else ""])] if with_best else []
        cost = number(None if row.cost is None else row.cost.forwards())
        pairs = number(row.pairs if name != (trainings.reference or "-") else None)
        return (
            *(name, *best, cost, solved(row.success), rate(row.success), change(row.difference)),
            *(pairs, number(row.gained), number(row.lost)),
        )

    note = (
        "Episodes are paired by task, training seed and episode seed; 95% intervals are of a "
        "bootstrap over the episode seeds of every task. Each training is other networks: with few "
        "training seeds a difference may be of these alone."
    )
    chosen = "The best were chosen on these episodes." if trainings.kind == "played" else ""
    best = table(
        *("each with its best condition", trainings.of_best),
        *(each for each in (note, chosen) if each),
        with_best=True,
    )
    return [best, *(table(name, rows) for name, rows in trainings.of_condition.items())]
