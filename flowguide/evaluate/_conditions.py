import dataclasses
from typing import Any

from .._critic import Critic
from .._guidance import best_of_n
from .._guide import guide, METHODS

UNGUIDED = "unguided"
BEST_OF_N = "best_of_n"


@dataclasses.dataclass(frozen=True, order=True)
class Condition:
    """What is compared: a guidance method at a weight, with the best of n actions.

    **Arguments:**

    - `method`: `"unguided"`, `"best_of_n"`, or the name of a gradient guidance.
    - `weight`: its weight; 0 without gradient guidance.
    - `best_of_n`: how many actions are sampled for each one played.

    **Raises:**

    `ValueError` for an unknown method, or numbers that contradict it.
    """

    method: str = UNGUIDED
    weight: float = 0.0
    best_of_n: int = 1

    def __post_init__(self):
        known = [UNGUIDED, *sorted(set(METHODS) - {"grad_step"})]
        if self.method not in known:
            raise ValueError(f"Unknown method {self.method!r}: expected one of {known}.")
        if self.best_of_n < 1 or (self.method == UNGUIDED and self.best_of_n > 1):
            raise ValueError(
                f"best_of_n is {self.best_of_n} with method {self.method!r}: expected at least 1, "
                'and 1 for "unguided" ("best_of_n" is the method that only chooses).'
            )
        if self.method in (UNGUIDED, BEST_OF_N) and self.weight:
            raise ValueError(f"{self.method!r} has no weight, got {self.weight}.")

    @property
    def structure(self) -> tuple[str, int]:
        """What has to be compiled anew: conditions that differ in weight alone share a program."""
        return self.method, self.best_of_n

    @property
    def label(self) -> str:
        name = self.method
        if self.method == BEST_OF_N:
            return f"best of {self.best_of_n}"
        return name if self.best_of_n == 1 else f"{name}, best of {self.best_of_n}"

    def __str__(self) -> str:
        return f"{self.label} {self.weight:g}" if self.weight else self.label


def apply(structure: tuple[str, int], weight: Any, policy: Any, critic: Critic | None) -> Any:
    """The policy of a condition, with the weight as an array."""
    method, n = structure
    if critic is None:
        return policy
    if method not in (UNGUIDED, BEST_OF_N):
        policy = guide(policy, critic, method, weight=weight)
    return guide(policy, critic, best_of_n(n)) if n > 1 or method == BEST_OF_N else policy
