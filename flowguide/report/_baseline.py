from collections.abc import Iterable

from .._results.conditions import Condition
from .._results.episodes import Episode
from ._read import Results


def baseline_of(episodes: Iterable[Episode], name: str) -> Condition:
    """The condition that a name means among some episodes.

    **Arguments:**

    - `episodes`: of one group.
    - `name`: a label, or the name of a curve of which one weight was played, as `qgf` is in what
        `flowguide tune` leaves.
    """
    conditions = {episode.condition for episode in episodes}
    if Condition(name) not in conditions:
        of_curve = [c for c in conditions if name in (c.curve, c.series)]
        if len(of_curve) == 1:
            return of_curve[0]
    # The one that was played knows its curve and its weight.
    return next((c for c in conditions if c.label == name), Condition(name))


def check_baseline(results: Results, name: str) -> None:
    """Refuses a baseline that was played nowhere; the unguided policy may be missing."""
    groups = [{e.condition for e in group.episodes} for group in results.groups]
    found = [baseline_of(group.episodes, name) for group in results.groups]
    if name != Condition().label and not any(
        each in group for each, group in zip(found, groups, strict=True)
    ):
        played = [repr(str(c)) for c in sorted({c for group in groups for c in group})]
        raise ValueError(
            f"The baseline {name!r} was not played; these were: {', '.join(played)}. Of "
            "a method with several weights the label is needed."
        )
