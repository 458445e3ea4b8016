"""The table of one task."""

from collections.abc import Sequence

from .._results.compare import Comparison
from .._results.dropped import note_of
from .._results.statistics import Estimate
from .._results.tables import amount, change, mark, number, rate, solved, Table
from ._compared import Compared, heading
from ._read import TunedFolder

SHOWN_NAMES = 5


def task_table(
    compared: Compared,
    said: Sequence[str] = (),
    tuned: TunedFolder | None = None,
    validation: Sequence[Comparison] = (),
) -> Table:
    """The conditions of a task; of a tuned one with the episodes that chose beside those that did
    not.

    **Arguments:**

    - `compared`: the task.
    - `said`: what stands before the other notes.
    - `tuned`, `validation`: the tuning, and what its validation episodes say.
    """
    rows, group = compared.rows, compared.group
    has_success = any(row.success for row in rows)
    with_errors = any(row.errors for row in rows)
    before = {row.condition: row for row in validation}
    count, value = ("solved", "success") if has_success else ("episodes", "mean return")
    against = f"difference to {compared.baseline}"
    columns = ["condition"]
    columns += [f"validation {count}", f"validation {value} (optimistic)"] if tuned else []
    columns += [count, *(["errors"] if with_errors else []), value, against, "pairs"]
    columns += ["gained", "lost", "mean return"] if has_success else []

    def reached(row: Comparison | None) -> list[str]:
        if row is None:
            return ["-", "-"]
        if has_success:
            return [solved(row.success), rate(row.success)]
        return [number(row.episodes), amount(row.episode_return)]

    def cells(row: Comparison) -> tuple[str, ...]:
        texts = [str(row.condition), *(reached(before.get(row.condition)) if tuned else [])]
        first, second = reached(row)
        texts += [first, *([number(row.errors)] if with_errors else []), second]
        pairs = number(row.pairs if row.condition != compared.baseline else None)
        if has_success:
            texts += [change(row.difference), pairs, number(row.gained), number(row.lost)]
            return (*texts, amount(row.episode_return))
        return (*texts, amount(row.return_difference, "+"), pairs)

    title = heading(group.task, group.training, group.kind)
    if tuned:
        title = f"Honest weights: {title}"
    notes = _notes(compared, has_success)
    if tuned:
        notes.insert(0, _tuned_note(tuned))
    return Table(
        title,
        tuple(columns),
        [cells(row) for row in rows],
        tuple(mark(_judged(row, has_success)) for row in rows),
        (*said, *notes),
    )


def _judged(row: Comparison, has_success: bool) -> Estimate | None:
    return row.difference if has_success else row.return_difference


def _tuned_note(tuned: TunedFolder) -> str:
    rounds = ", ".join(
        f"{conditions_text(count)} with {episodes} episodes each"
        for count, episodes in tuned.rounds
    )
    return (
        f"Weights were chosen on validation episodes, by successive halving: {rounds}. The "
        "validation number of a chosen weight is the largest of several, so it is too good; "
        "test episodes have other seeds and chose nothing."
    )


def _notes(compared: Compared, has_success: bool) -> list[str]:
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
    judged = [_judged(row, has_success) for row in rows]
    judged = [difference for difference in judged if difference is not None]
    if judged:
        marks = [mark(difference) for difference in judged]
        notes.append(
            f"Of {conditions_text(len(judged))}, {marks.count('better')} better than "
            f"{compared.baseline}, {marks.count('worse')} worse, {marks.count('')} undecided: the "
            "interval of the paired difference lies above 0, below 0 or around it."
        )
    name = str(compared.baseline)
    if all(row.condition != compared.baseline for row in rows):
        was = f"{name[:1].upper()}{name[1:]} was not played"
        notes.append(f"{was}, so there is nothing to take differences to.")
    else:
        notes += _unpaired(rows, name)
    dropped = note_of((row.condition, row.dropped) for row in rows)
    notes += [dropped] if dropped else []
    if compared.group.kind == "played" and _several_weights(rows):
        notes.append(
            "The best of several weights is chosen here on the episodes that it is shown on, so it "
            "is a little too good: flowguide tune chooses on some episodes and reports on others."
        )
    return notes


def conditions_text(count: int) -> str:
    """Such as `3 conditions`."""
    return "1 condition" if count == 1 else f"{count} conditions"


def _seeds(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))


def _unpaired(rows: Sequence[Comparison], baseline: str) -> list[str]:
    missing = [f"{row.condition} ({row.unpaired})" for row in rows if row.unpaired]
    if not missing:
        return []
    listed = ", ".join(missing[:SHOWN_NAMES])
    if len(missing) > SHOWN_NAMES:
        listed += f" and {len(missing) - SHOWN_NAMES} more"
    return [
        f"Episodes without a partner of {baseline} with the same training and episode seed, left "
        f"out of the differences: {listed}."
    ]


def _several_weights(rows: Sequence[Comparison]) -> bool:
    series = [row.condition.series for row in rows if row.condition.has_weight]
    return len(series) > len(set(series))
