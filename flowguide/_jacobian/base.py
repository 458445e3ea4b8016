import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from .._cost import Cost
from .._policy import FlowCost
from .._velocity import VelocityStep


class AbstractJacobian(eqx.Module):
    """How a gradient at the clean action is carried back to the noisy action."""

    @property
    @abc.abstractmethod
    def is_derivative(self) -> bool:
        """Whether the estimate is differentiated."""

    @abc.abstractmethod
    def __call__(
        self,
        estimate: Callable[[Array], tuple[Array, VelocityStep]],
        action: Float[Array, "*action"],
    ) -> tuple[Float[Array, "*clean"], VelocityStep, Callable[[Array], Float[Array, "*action"]]]:
        """Calls an estimate at an action.

        **Arguments:**

        - `estimate`: maps the noisy action to the clean action and the step of the flow there.
        - `action`: the noisy action, shape `(*action)`.

        **Returns:**

        The clean action (or several, with a leading axis), the step, and a function from a gradient
        of the clean action's shape to one at the noisy action.
        """

    def cost(self, estimate: Any, flow: FlowCost, t: float) -> Cost:
        """What carrying a gradient back costs: by default one vector-Jacobian product."""
        return estimate.pullback_cost(flow, t) if self.is_derivative else Cost()
