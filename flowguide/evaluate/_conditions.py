import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import optax

from .._critic import Critic
from .._guidance import best_of_n
from .._guide import guide, METHODS

UNGUIDED = "unguided"
BEST_OF_N = "best_of_n"

Unit = Literal["raw", "kappa", "norm"]
UNITS: tuple[Unit, ...] = ("raw", "kappa", "norm")
# What stands before a weight of each unit.
_SYMBOLS = {"raw": "", "kappa": "kappa ", "norm": "norm "}


@dataclasses.dataclass(frozen=True, order=True)
class Condition:
    """What is compared: a guidance method at a weight, with the best of n actions.

    **Arguments:**

    - `method`: `"unguided"`, `"best_of_n"`, the name of a guidance with a weight, or one given
        with `flowguide.register`.
    - `weight`: its weight; 0 without gradient guidance.
    - `best_of_n`: how many actions are sampled for each one played.
    - `unit`: what the weight counts: `"raw"`, as in `flowguide.guide`; `"kappa"`, times the unit of
        the policy and the critic (`flowguide.weight_unit`); `"norm"`, the length of the term, with
        the gradient normalised (`optax.normalize_by_update_norm`).

    **Raises:**

    `ValueError` for an unknown method or unit, or numbers that contradict them.
    """

    method: str = UNGUIDED
    weight: float = 0.0
    best_of_n: int = 1
    unit: Unit = "raw"

    def __post_init__(self):
        if self.method not in known_methods():
            why = (
                f"{self.method!r} is no method of one weight, which is what a condition names"
                if self.method in METHODS
                else f"Unknown method {self.method!r}"
            )
            raise ValueError(
                f"{why}: expected one of {known_methods()}, or a name that flowguide.register gave."
            )
        if self.unit not in UNITS:
            raise ValueError(f"Unknown unit {self.unit!r}: expected one of {list(UNITS)}.")
        if self.best_of_n < 1 or (self.method == UNGUIDED and self.best_of_n > 1):
            raise ValueError(
                f"best_of_n is {self.best_of_n} with method {self.method!r}: expected at least 1, "
                'and 1 for "unguided" ("best_of_n" is the method that only chooses).'
            )
        if not self.has_weight and (self.weight or self.unit != "raw"):
            raise ValueError(
                f"{self.method!r} has no weight, got {self.weight} in the unit {self.unit!r}."
            )

        if self.method == "cfg" and self.unit != "raw":
            raise ValueError(f"'cfg' asks no critic, so its weights have no unit {self.unit!r}.")

    @property
    def has_weight(self) -> bool:
        return self.method not in (UNGUIDED, BEST_OF_N)

    @property
    def structure(self) -> tuple[str, int, bool]:
        """What has to be compiled anew: conditions that differ in weight alone share a program."""
        return self.method, self.best_of_n, self.unit == "norm"

    @property
    def label(self) -> str:
        """The condition without its weight: the name of a curve."""
        if self.method == BEST_OF_N:
            return f"best of {self.best_of_n}"
        name = self.method if self.best_of_n == 1 else f"{self.method}, best of {self.best_of_n}"
        return name if self.unit == "raw" else f"{name} ({self.unit})"

    def __str__(self) -> str:
        if not self.has_weight:
            return self.label
        bare = dataclasses.replace(self, unit="raw").label
        return f"{bare} {_SYMBOLS[self.unit]}{self.weight:g}"


def known_methods() -> list[str]:
    """What a condition can name: methods of one weight. Others have their own options."""
    weighted = [name for name, make in METHODS.items() if _has_weight(make)]
    return [UNGUIDED, *sorted([BEST_OF_N, *weighted])]


@functools.cache
def _has_weight(make: Callable[..., Any]) -> bool:
    return "weight" in inspect.signature(make).parameters


def cross(
    methods: Sequence[str],
    *,
    weights: Sequence[float] = (),
    kappas: Sequence[float] = (),
    norms: Sequence[float] = (),
    best_of_n: Sequence[int] = (1,),
) -> list[Condition]:
    """Every combination of methods, weights in each unit, and numbers of actions.

    **Arguments:**

    - `methods`: names; `"unguided"` comes first whether it is named or not, and `"best_of_n"` meets
        the numbers above 1 alone.
    - `weights`, `kappas`, `norms`: weights in the units `"raw"`, `"kappa"` and `"norm"`.
    - `best_of_n`: how many actions are sampled for each one played.

    **Returns:**

    The conditions, each once.

    **Raises:**

    `ValueError` if a method has no weight to go with it, or nothing but 1 to choose from; and what
    `Condition` raises.
    """
    found = [Condition()]
    weighted: list[tuple[Unit, float]] = [
        (unit, weight)
        for unit, given in zip(UNITS, (weights, kappas, norms), strict=True)
        for weight in given
    ]
    for method in methods:
        if method == UNGUIDED:
            continue
        if method == BEST_OF_N:
            several = [n for n in best_of_n if n != 1]
            if not several:
                raise ValueError("'best_of_n' needs a number above 1, such as --best-of-n 4.")
            found += [Condition(method, best_of_n=n) for n in several]
            continue
        if not weighted:
            Condition(method)  # An unknown method is refused for its name.
            raise ValueError(f"{method!r} needs weights: --weights, --kappas or --norms.")
        for n in best_of_n:
            found += [Condition(method, float(w), n, unit) for unit, w in weighted]
    return list(dict.fromkeys(found))


def apply(structure: tuple[str, int, bool], weight: Any, policy: Any, critic: Critic | None) -> Any:
    """The policy of a condition, with the weight (a raw one, or of unit `"norm"`) as an array."""
    method, n, normalised = structure
    if critic is None:
        return policy
    if method not in (UNGUIDED, BEST_OF_N):
        options: dict[str, Any] = {"weight": weight}
        if normalised:
            options["shaping"] = optax.normalize_by_update_norm()
        policy = guide(policy, critic, method, **options)
    return guide(policy, critic, best_of_n(n)) if n > 1 or method == BEST_OF_N else policy
