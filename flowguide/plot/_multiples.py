"""Small multiples: more curves than a reader can tell apart are in several panels."""

from collections.abc import Iterable, Sequence

from .._results.conditions import Condition
from ._styles import Styles

MAX_IN_PANEL = 5
"""Curves of one panel: colours that a colour-blind reader can tell apart, lines that an eye can
follow."""


def in_turn(names: Sequence[str], room: int = MAX_IN_PANEL) -> list[list[str]]:
    """As few groups as have room for all, neighbours in different ones.

    **Arguments:**

    - `names`: of curves.
    - `room`: how many may be in a group.
    """
    count = max(-(-len(names) // room), 1)
    return [list(names[i::count]) for i in range(count)]


def split_curves(
    conditions: Iterable[Condition], unit: str, styles: Styles
) -> dict[str, list[Condition]]:
    """The conditions of each panel of `draw_curves`, by its title.

    Up to five curves and conditions without a weight are in one panel, without a title. Of more
    each curve has a panel, with the conditions without a weight, so that all can be compared with
    those.

    **Arguments:**

    - `conditions`: that are drawn.
    - `unit`: of the weights.
    - `styles`: colours and markers; what has none is left out.
    """
    drawn = [c for c in sorted(conditions) if styles.has(c)]
    plain = [c for c in drawn if not c.has_weight]
    weighted = [c for c in drawn if c.has_weight and c.unit == unit]
    curves = list(dict.fromkeys(c.curve for c in weighted))
    if len(curves) < 2 or len(curves) + len(plain) <= MAX_IN_PANEL:
        return {"": [*plain, *weighted]}
    return {name: [*plain, *(c for c in weighted if c.curve == name)] for name in curves}
