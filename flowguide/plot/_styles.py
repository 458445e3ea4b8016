"""Colours, markers and dashes: a method has the same in every picture."""

from collections.abc import Iterable
from typing import Any

from .._results.conditions import Condition, method_of, UNGUIDED

# Okabe and Ito's colours, which colour-blind readers can tell apart; a marker goes with each. A
# method has the same in every picture.
METHOD_STYLES = {
    "qgf": ("#0072B2", "o"),
    "ood": ("#D55E00", "s"),
    "qgf_jacobian": ("#009E73", "^"),
    "ode": ("#CC79A7", "D"),
    "bptt": ("#E69F00", "v"),
    "robust_q": ("#56B4E9", "P"),
    # There are no more of theirs.
    "posterior": ("#004D40", "p"),
    "qgf_regularised": ("#9B870C", "d"),
    "qgf_orthogonal": ("#882255", "h"),
    "cfg": ("#A50026", ">"),
}
# Of methods that are not among them, in turn.
OTHER_STYLES = [
    *(("#000000", "X"), ("#8C5A2B", "*"), ("#5A3E8C", "H"), ("#7F7F7F", "<")),
    *(("#332288", "D"), ("#999933", "8")),
]
# Where those are used up, the same colours with other markers.
_MORE_STYLES = [
    (color, marker)
    for shift in range(1, len(OTHER_STYLES))
    for (color, _), (_, marker) in zip(
        OTHER_STYLES, OTHER_STYLES[shift:] + OTHER_STYLES[:shift], strict=True
    )
]
# Of a method with the best of 1, and of the first two other numbers.
_DASHES = ["-", "--", ":"]
_GREY = "0.45"
# Of conditions without a weight, in turn. Bands have no markers, points have.
_BANDS = [
    *(("#000000", ":", "P"), ("#8C5A2B", "-.", "*"), ("#5A3E8C", (0, (1, 1)), "H")),
    *(("#00695C", (0, (5, 1)), "<"), ("#A63D57", (0, (3, 1, 1, 1)), "8")),
]
MAX_CURVES = 10


class Styles:
    """A colour, a marker and dashes for each curve, the same in every picture of a report.

    A method of flowguide has its own colour everywhere; others are coloured in turn.

    **Arguments:**

    - `conditions`: all that may be drawn. There is room for `MAX_CURVES` curves, with three numbers
        of actions to choose from, and for five conditions without a weight besides the unguided
        one; the others are left out.
    """

    def __init__(self, conditions: Iterable[Condition]):
        weighted: dict[str, tuple[str, int]] = {}
        plain: dict[str, None] = {}
        for condition in sorted(conditions):
            if condition.has_weight:
                weighted.setdefault(condition.curve, method_of(condition.curve))
            elif condition.label != UNGUIDED:
                plain.setdefault(condition.label)
        numbers = sorted({n for _, n in weighted.values()} | {1})
        dashes = dict(zip(numbers, _DASHES, strict=False))
        order = [*METHOD_STYLES]
        curves = sorted(
            ((n, method, curve) for curve, (method, n) in weighted.items() if n in dashes),
            key=lambda c: (c[0], order.index(c[1]) if c[1] in order else len(order)),
        )
        self._curves = {curve: dashes[n] for n, _, curve in curves[:MAX_CURVES]}
        others = {method: None for _, method, _ in curves if method not in METHOD_STYLES}
        in_turn = [*OTHER_STYLES, *_MORE_STYLES]
        self._methods = {**METHOD_STYLES, **dict(zip(others, in_turn, strict=False))}
        self._bands = {UNGUIDED: (_GREY, "--", "X"), **dict(zip(plain, _BANDS, strict=False))}

    def has(self, condition: Condition) -> bool:
        return condition.curve in (self._curves if condition.has_weight else self._bands)

    def color(self, condition: Condition) -> str:
        if condition.has_weight:
            return self._methods[method_of(condition.curve)[0]][0]
        return self._bands[condition.label][0]

    def marker(self, condition: Condition) -> str:
        if condition.has_weight:
            return self._methods[method_of(condition.curve)[0]][1]
        return self._bands[condition.label][2]

    def is_filled(self, condition: Condition) -> bool:
        """Whether markers are: those of a method with the best of several are not."""
        return method_of(condition.curve)[1] == 1

    def dashes(self, condition: Condition) -> Any:
        if condition.has_weight:
            return self._curves[condition.curve]
        return self._bands[condition.label][1]

    def left_out(self, conditions: Iterable[Condition]) -> str:
        """A sentence about those of them that have no style."""
        names = sorted({c.curve for c in conditions if not self.has(c)})
        return f"No room for {', '.join(names)}." if names else ""


def method_style(name: str, number: int) -> tuple[str, str]:
    """The colour and the marker of a curve.

    **Arguments:**

    - `name`: of its method, which has those that it has in a report.
    - `number`: of the curve, for a name that is no method's.
    """
    return METHOD_STYLES.get(name) or OTHER_STYLES[number % len(OTHER_STYLES)]
