"""What results say of a guidance that was played. No guidance is imported here, and no JAX: results
are read by whoever never heard of the method."""

import dataclasses
import functools
import math
import re
from collections.abc import Iterable
from typing import Any

UNGUIDED = "unguided"

UNITS = ("raw", "kappa", "local", "relative", "norm")
"""What a weight can count, in the order of tables and pictures. Results may have others."""

AXIS_NAMES = {
    "raw": "guidance weight",
    "kappa": "guidance weight, in units of the task (kappa)",
    "local": "guidance weight, in units of the observation (local)",
    "relative": "guidance weight, as a share of the velocity (relative)",
    "norm": "guidance weight, gradient normalised (norm)",
}


@dataclasses.dataclass(frozen=True)
class Condition:
    """What is compared: the label of a guidance, and its weight, if it has one.

    Conditions are equal if their labels are. They sort as tables do: unguided first, then those
    without a weight, then curve by curve, the weights of each rising.

    **Arguments:**

    - `label`: the guidance's unique name, such as `"qgf kappa 3"` or `"mine"`.
    - `curve`: the label without its weight, such as `"qgf"`: the name of a curve; by default the
        label.
    - `weight`: the guidance's one weight; None if it has none, several, or an array.
    - `unit`: what the weight counts: `"raw"`, as in `flowguide.guide`; `"kappa"`, in units of the
        task (`flowguide.Kappa` with observations); `"local"`, in units of the observation at hand;
        `"relative"`, in shares of the velocity; `"norm"`, the length of the term; or the unit of a
        rule of your own.

    **Raises:**

    `ValueError` for a label that says nothing, or a weight that is not finite.
    """

    label: str = UNGUIDED
    curve: str = dataclasses.field(default="", compare=False)
    weight: float | None = dataclasses.field(default=None, compare=False)
    unit: str = dataclasses.field(default="raw", compare=False)

    def __post_init__(self):
        if not self.label.strip():
            raise ValueError(f"A condition needs a label, got {self.label!r}.")
        if self.weight is not None and not math.isfinite(self.weight):
            raise ValueError(f"The weight of {self.label!r} must be finite, got {self.weight}.")
        if not self.curve:
            object.__setattr__(self, "curve", self.label)

    @property
    def has_weight(self) -> bool:
        return self.weight is not None

    @property
    def series(self) -> str:
        """The curve and the unit along it, such as `"qgf (kappa)"`: weights of one series are the
        same method at another strength."""
        return self.curve if self.unit == "raw" else f"{self.curve} ({self.unit})"

    @functools.cached_property
    def _place(self) -> tuple[Any, ...]:
        unit = UNITS.index(self.unit) if self.unit in UNITS else len(UNITS)
        return (
            *(self.label != UNGUIDED, self.has_weight, _natural(self.curve), unit, self.unit),
            *(0.0 if self.weight is None else self.weight, self.label),
        )

    def __lt__(self, other: "Condition") -> bool:
        return self._place < other._place

    def __str__(self) -> str:
        return self.label


def _natural(text: str) -> tuple[str | int, ...]:
    """The text with its numbers as numbers: best of 4 comes before best of 16."""
    return tuple(int(x) if i % 2 else x for i, x in enumerate(re.split(r"(\d+)", text)))


def weight_text(weight: float, unit: str) -> str:
    """A weight at the end of a label, such as `0.1` or `kappa 3`."""
    return f"{weight:g}" if unit == "raw" else f"{unit} {weight:g}"


def with_weight(label: str, weight: float, unit: str) -> Condition:
    """The condition of a label whose guidance has one weight.

    The curve is the label without the weight at its end, if it ends in it, as `"qgf kappa 3"` and
    `"mine 3"` do.
    """
    curve, _, last = label.rstrip().rpartition(" ")
    if not _is_number(last, weight):
        curve = label
    elif unit != "raw":
        curve = curve.removesuffix(f" {unit}")
    return Condition(label, curve.rstrip(" ,:=") or label, weight, unit)


def _is_number(text: str, weight: float) -> bool:
    try:
        return math.isclose(float(text), weight, rel_tol=1e-5)
    except ValueError:
        return False


def units_of(conditions: Iterable[Condition]) -> list[str]:
    """The units of their weights, those of flowguide first."""
    units = {condition.unit for condition in conditions if condition.has_weight}
    return [unit for unit in UNITS if unit in units] + sorted(units - set(UNITS))


def axis_name(unit: str) -> str:
    """What stands below an axis of weights."""
    return AXIS_NAMES.get(unit, f"guidance weight ({unit})")


def without_hashes(description: str) -> str:
    """The description of a guidance without the hashes of its large arrays."""
    return re.sub(r"#[0-9a-f]{8}", "", description)


def best_of(method: str, n: int) -> str:
    """The name of a curve: a method, and how many actions are sampled for each one played."""
    return method if n == 1 else f"{method}, best of {n}"


def guided_among(conditions: Iterable[Condition]) -> set[Condition]:
    """Those that bend the flow: neither unguided nor, as the label `best of 4` says, only chosen
    among unguided actions. Without any, those that choose; without these, all."""
    every = set(conditions)
    others = {condition for condition in every if condition.label != UNGUIDED}
    return {condition for condition in others if not is_choice(condition)} or others or every


def is_choice(condition: Condition) -> bool:
    """Whether unguided actions are only chosen among, as the label `best of 4` says: what guidance
    has to beat at the same cost."""
    return re.fullmatch(r"best of \d+", condition.label) is not None


def method_of(curve: str) -> tuple[str, int]:
    """The method of a curve and its number of actions: what `best_of` put together."""
    match = re.fullmatch(r"(.+), best of (\d+)", curve)
    return (curve, 1) if match is None else (match[1], int(match[2]))


def from_first_version(method: str, weight: float, best_of_n: int, unit: str = "raw") -> Condition:
    """The condition of a line that flowguide 0.1.0 wrote."""
    if method == "best_of_n":
        return Condition(f"best of {best_of_n}")
    if method == UNGUIDED:
        return Condition()
    curve = best_of(method, best_of_n)
    return Condition(f"{curve} {weight_text(weight, unit)}", curve, weight, unit)
