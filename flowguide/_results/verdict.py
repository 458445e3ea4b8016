"""The answer that a reader looks for first: does guidance help, and more than choosing does?"""

from collections.abc import Sequence

from .between import best_of_series, merit
from .compare import compare, Comparison
from .conditions import Condition, guided_among, is_choice
from .episodes import Episode
from .statistics import Estimate
from .tables import amount, change, judged, mark, solved

_ANSWERS = {"better": "Yes", "worse": "No", "": "Undecided"}
ANSWERS = tuple(_ANSWERS.values())


def verdict(
    episodes: Sequence[Episode],
    rows: Sequence[Comparison],
    baseline: Condition,
    *,
    is_chosen_elsewhere: bool = False,
) -> str:
    """One sentence: the best guidance against the baseline, and against its strongest rival.

    The rival is the best of those that choose among unguided actions (`best of 4`), or else the
    best other method. It is "Yes" where the interval of the paired difference to the baseline lies
    above 0, "No" below it, and "Undecided" where it includes 0.

    **Arguments:**

    - `episodes`: of one way of training; of several tasks they are taken together.
    - `rows`: of `compare`, with this baseline.
    - `baseline`: what they were compared with.
    - `is_chosen_elsewhere`: whether the weights were chosen on other episodes.
    """
    if all(row.condition != baseline for row in rows):
        return f"Undecided: {baseline} was not played, so there is nothing to compare with"
    others = [row for row in rows if row.condition != baseline]
    if not others:
        return f"Undecided: nothing but {baseline} was played"
    kept = guided_among(row.condition for row in others)
    guided = [row for row in others if row.condition in kept]
    best = max(guided, key=merit)
    base = next(row for row in rows if row.condition == baseline)
    difference = _difference(best)
    if difference is None:
        return f"Undecided: {best.condition} and {baseline} share too few episodes to compare"
    text = (
        f"{answer(difference)}: {best.condition}, {_reached(best)} against {_reached(base)} "
        f"{baseline}, {_changed(best)}"
    )
    counts = {row.success.count if row.success else row.episodes for row in (best, base)}
    if counts != {best.pairs}:
        text += f" in {best.pairs} pairs"
    parts = [text, _against_rival(episodes, best, others)]
    if len(guided) > 1:
        what = "methods" if is_chosen_elsewhere else "conditions"
        parts.append(f"the best of {len(guided)} {what}, chosen on these episodes")
    tasks = len({episode.task for episode in episodes})
    seeds = seeds_text(len(best.train_seeds))
    parts.append(seeds if tasks == 1 else f"{tasks} tasks, {seeds}")
    return "; ".join(part for part in parts if part)


def answer(difference: Estimate | None) -> str:
    """The first word: `Yes`, `No` or `Undecided`."""
    return _ANSWERS[mark(difference)]


def seeds_text(count: int) -> str:
    return "one training seed" if count == 1 else f"{count} training seeds"


def rival_of(best: Comparison, others: Sequence[Comparison]) -> Comparison | None:
    """The strongest of those that choose among unguided actions; else of the other methods."""
    rest = [row for row in others if row.condition.series != best.condition.series]
    choices = [row for row in rest if is_choice(row.condition)]
    return max(choices or best_of_series(rest), key=merit, default=None)


def _against_rival(
    episodes: Sequence[Episode], best: Comparison, others: Sequence[Comparison]
) -> str:
    rival = rival_of(best, others)
    if rival is None:
        return ""
    both = [e for e in episodes if e.condition in (best.condition, rival.condition)]
    rows = compare(both, rival.condition, over_tasks=True)
    found = {row.condition: row for row in rows}[best.condition]
    if _difference(found) is None:
        return ""
    return f"against {rival.condition} {_changed(found)}, {judged(_difference(found))}"


def _difference(row: Comparison) -> Estimate | None:
    return row.difference if row.success else row.return_difference


def _changed(row: Comparison) -> str:
    return change(row.difference) if row.success else amount(row.return_difference, "+")


def _reached(row: Comparison) -> str:
    return solved(row.success) if row.success else f"a return of {amount(row.episode_return)}"
