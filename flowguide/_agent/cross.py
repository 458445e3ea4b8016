"""Guidances by their labels, from tables of methods and weights."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtyping import PyTree

from .._catalogue import Method, method_named
from .._describe import describe
from .._guidance import best_of_n as make_best_of_n
from .._guide import guide
from .._results.conditions import best_of, Condition, UNGUIDED, weight_text
from .._weight import Kappa, Normalised, Relative, weight_of

BEST_OF_N = "best_of_n"


@dataclasses.dataclass(frozen=True)
class Crossing:
    """The arguments of `cross`: what it makes of them, and whether it can."""

    methods: tuple[str, ...]
    weights: tuple[float, ...] = ()
    kappas: tuple[float, ...] = ()
    local: tuple[float, ...] = ()
    relatives: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()
    best_of_n: tuple[int, ...] = (1,)

    @property
    def conditions(self) -> list[Condition]:
        """What is compared, without its guidances: no observations are needed.

        **Raises:**

        `ValueError` as `cross` does.
        """
        return [condition for condition, _ in self._crossed(None)]

    def guidances(self, observations: PyTree = None) -> dict[str, Any]:
        """The guidances by their labels.

        **Raises:**

        `ValueError` as `cross` does, and for kappas without observations.
        """
        if self.kappas and observations is None:
            raise ValueError(
                "kappas are weights in units of the task, which are measured from observations: "
                "expected observations=..., such as flowguide.load_observations(run). Weights "
                "in units of the observation at hand (local) need none."
            )
        return {condition.label: guidance for condition, guidance in self._crossed(observations)}

    def _crossed(self, observations: PyTree) -> list[tuple[Condition, Any]]:
        by_label: dict[str, tuple[Condition, Any]] = {UNGUIDED: (Condition(), None)}
        for name in self.methods:
            for condition, guidance in self._of(name, observations):
                first, _ = by_label.setdefault(condition.label, (condition, guidance))
                if first.weight != condition.weight:
                    raise ValueError(
                        f"Two weights have the label {condition.label!r}: {first.weight} and "
                        f"{condition.weight}. Labels have six digits."
                    )
        return list(by_label.values())

    def _of(self, name: str, observations: PyTree) -> list[tuple[Condition, Any]]:
        if name == UNGUIDED:
            return []
        if name == BEST_OF_N:
            several = [n for n in self.best_of_n if n != 1]
            if not several:
                raise ValueError("'best_of_n' needs a number above 1, such as 4.")
            return [(Condition(f"best of {n}"), make_best_of_n(n)) for n in several]
        method = method_named(name)
        if not method.has_weight:
            return [(Condition(best_of(name, n)), _chosen(_made(method), n)) for n in self._numbers]
        weights = [
            (unit, float(number), rule(float(number)))
            for unit, numbers, rule in self._rules(method, observations)
            for number in numbers
        ]
        if not weights:
            raise ValueError(
                f"{name!r} needs weights, of one unit or of several: "
                f"{', '.join(each for each in _UNITS.values())}."
            )
        crossed = []
        for n in self._numbers:
            for unit, number, weight in weights:
                curve = best_of(name, n)
                label = f"{curve} {weight_text(number, unit)}"
                guidance = _chosen(_made(method, weight=weight), n)
                crossed.append((Condition(label, curve, number, unit), guidance))
        return crossed

    @property
    def _numbers(self) -> tuple[int, ...]:
        wrong = [n for n in self.best_of_n if n < 1]
        if wrong:
            raise ValueError(f"best_of_n must be numbers of at least 1, got {list(wrong)}.")
        return self.best_of_n

    def _rules(
        self, method: Method, observations: PyTree
    ) -> list[tuple[str, tuple[float, ...], Callable[[float], Any]]]:
        rules: dict[str, Callable[[float], Any]] = {
            "raw": float,
            "kappa": lambda number: Kappa(number, observations),
            "local": Kappa,
            "relative": Relative,
            "norm": Normalised,
        }
        weights = [(u, getattr(self, given), rules[u]) for u, given in _UNITS.items()]
        # Of a method that asks no critic weights have no other unit.
        asked = [given for unit, given in _UNITS.items() if unit != "raw" and getattr(self, given)]
        if method.family == "conditioned" and asked:
            raise ValueError(
                f"{method.name!r} asks no critic, so it has raw weights alone, and no {asked[0]}."
            )
        return weights


# What the weights of each unit are called among the arguments.
_UNITS = {
    "raw": "weights",
    "kappa": "kappas",
    "local": "local",
    "relative": "relatives",
    "norm": "norms",
}


def _chosen(guidance: Any, n: int) -> Any:
    return guidance if n == 1 else [guidance, make_best_of_n(n)]


class _Weighed:
    """What a registered method made of a weight: results read here what it does not keep."""

    def __init__(self, guidance: Any, name: str, weight: Any):
        self._guidance, self.weight = guidance, weight
        # As functions have it: what `describe` calls it.
        self.__qualname__ = f"{name}(weight={describe([weight])[1:-1]})"

    def __call__(self, policy: Any, critic: Any) -> Any:
        return guide(policy, critic, self._guidance)


def _made(method: Method, **options: Any) -> Any:
    try:
        guidance = method.make(**options)
        is_known = "weight" not in options or weight_of(guidance) is not None
        return guidance if is_known else _Weighed(guidance, method.name, options["weight"])
    except TypeError as error:
        raise ValueError(
            f"{method.name!r} cannot be made from its weight alone: {error}. Make the guidance, "
            "and give it a label of its own."
        ) from error


def cross(
    methods: Sequence[str],
    *,
    weights: Sequence[float] = (),
    kappas: Sequence[float] = (),
    local: Sequence[float] = (),
    relatives: Sequence[float] = (),
    norms: Sequence[float] = (),
    best_of_n: Sequence[int] = (1,),
    observations: PyTree = None,
) -> dict[str, Any]:
    """Every combination of methods, weights in each unit, and numbers of actions.

    ```python
    guidances = flowguide.evaluate.cross(
        ["qgf", "best_of_n"], weights=[0.1], best_of_n=[1, 4]
    )
    list(guidances)  # ['unguided', 'qgf 0.1', 'qgf, best of 4 0.1', 'best of 4']
    ```

    **Arguments:**

    - `methods`: names; `"unguided"` comes first whether it is named or not, and `"best_of_n"` meets
        the numbers above 1 alone. A method without a weight, such as `"beam"`, stands with its
        defaults.
    - `weights`: as `flowguide.guide` takes them.
    - `kappas`: in units of the task: `flowguide.Kappa(kappa, observations)`.
    - `local`: in units of the observation at hand: `flowguide.Kappa(kappa)`.
    - `relatives`: in shares of the velocity: `flowguide.Relative(alpha)`.
    - `norms`: the length of the term: `flowguide.Normalised(length)`.
    - `best_of_n`: how many actions are sampled for each one played.
    - `observations`: what the unit of `kappas` is measured from, with a leading axis
        (`flowguide.load_observations`).

    **Returns:**

    The guidances by their labels, as `flowguide.evaluate.evaluate` takes them; None for the
    unguided policy.

    **Raises:**

    `ValueError` for an unknown method, one that has no weight to go with it, nothing but 1 to
    choose from, or kappas without observations.
    """
    given = Crossing(
        *(tuple(methods), tuple(weights), tuple(kappas), tuple(local), tuple(relatives)),
        *(tuple(norms), tuple(best_of_n)),
    )
    return given.guidances(observations)


def merged(crossings: Sequence[Crossing], observations: PyTree = None) -> dict[str, Any]:
    """The guidances of several tables, each label once."""
    guidances: dict[str, Any] = {}
    for crossing in crossings:
        for label, guidance in crossing.guidances(observations).items():
            guidances.setdefault(label, guidance)
    return guidances


def check_guidances(guidances: Mapping[str, Any]) -> None:
    """Refuses what is no mapping from labels to guidances.

    **Raises:**

    `TypeError` for something else; `ValueError` for a guidance under the name of the unguided
    policy.
    """
    if not isinstance(guidances, Mapping):
        raise TypeError(
            "What is played is a mapping from labels to guidances, such as {'unguided': None, "
            f"'qgf 0.1': flowguide.qgf(weight=0.1)}}; got {type(guidances).__name__}."
        )
    if guidances.get(UNGUIDED) is not None:
        raise ValueError(
            f"{UNGUIDED!r} is the label of the policy without guidance: expected None under it, "
            f"got {guidances[UNGUIDED]!r}."
        )
