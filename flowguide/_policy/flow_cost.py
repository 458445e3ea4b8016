"""What a flow costs, counted along the times at which its solver asks the field."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import diffrax
import numpy as np

from .._cost import Cost

_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class FlowCost:
    """The cost of a flow up to some of its guidance terms, as parts of these terms ask for it.

    **Attributes:**

    - `size`: how many entries an action has.
    - `velocity`: a callable from a time to the `Cost` of one velocity there.
    - `times`: a callable from a time to those at which the field is asked from there to the end.
    - `again`: how often a backward pass of the flow computes it again.
    - `depth`: how many terms of guidance there are in it.
    - `networks`: how many networks one call of the policy's own field asks.
    """

    size: int
    velocity: Callable[[float], Cost]
    times: Callable[[float], list[float]]
    again: int = 1
    depth: int = 0
    networks: int = 1

    def rest(self, t: float) -> Cost:
        """Of the flow from `t` to the end."""
        return sum((self.velocity(s) for s in self.times(t)), Cost())

    @property
    def action(self) -> Cost:
        """Of a whole action."""
        return self.rest(0.0)


def networks_of(velocity: Any) -> int:
    """How many networks one call of a field asks; a field may say so by `num_networks`."""
    return int(getattr(velocity, "num_networks", 1))


def computed_again(solver: Any) -> int:
    """How often `diffrax.RecursiveCheckpointAdjoint` computes a flow again on the way back.

    Once the steps, and where these are made of stages, which are a loop too, once the stages.
    """
    return 1 if isinstance(solver, diffrax.Euler) else 2


def times_of(solver: Any, controller: Any, num_steps: int, t0: float) -> list[float] | None:
    """The times at which a solver asks the field from `t0` to 1; None if that is not known."""
    if isinstance(controller, diffrax.ConstantStepSize):
        count = max(math.ceil((1 - t0) * num_steps - _TOLERANCE), 0)
        starts = [t0 + i / num_steps for i in range(count)]
    elif isinstance(controller, diffrax.StepTo):
        starts = [float(t) for t in np.asarray(controller.ts)[:-1]]
    else:
        return None
    ends = [*starts[1:], 1.0][: len(starts)]
    if isinstance(solver, diffrax.Euler):
        return starts
    if not isinstance(solver, diffrax.AbstractERK):
        return None
    tableau: Any = solver.tableau
    later = [float(c) for c in np.asarray(tableau.c)]
    times = []
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        # The first stage of the step after is the last of the one before.
        first = [] if i and tableau.fsal else [start]
        times += [*first, *(start + c * (end - start) for c in later)]
    return times
