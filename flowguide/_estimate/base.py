import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from .._cost import Cost
from .._critic import Critic
from .._policy import Flow, FlowCost, FlowPolicy
from .._velocity import VelocityStep


class AbstractEstimate(eqx.Module):
    """Guesses the clean action that a noisy one will become; there the critic is differentiated."""

    @property
    def twice(self) -> "AbstractEstimate | None":
        """The same estimate in a form that can be differentiated twice; None if it already can."""
        return None

    @property
    def is_single(self) -> bool:
        """Whether there is one clean action, or several with a leading axis."""
        return True

    @property
    def count(self) -> int:
        """How many clean actions there are."""
        return 1

    def cleanness(self, t: Float[ArrayLike, ""]) -> float | Float[ArrayLike, ""]:
        """How clean the estimate is, as a time: 1 for a clean action. Noise-conditioned critics ask
        for it."""
        del t
        return 1.0

    def check(self, policy: FlowPolicy, critic: Critic) -> None:
        """Refuses, with a `ValueError`, what this estimate cannot be made for."""

    @abc.abstractmethod
    def __call__(
        self, flow: Flow, t: Float[ArrayLike, ""], action: Float[Array, "*action"]
    ) -> tuple[Float[Array, "*clean"], VelocityStep]:
        """Returns the estimate and what the flow does at `(t, action)`.

        The estimate has the shape `(*action)`, or `(K, *action)` unless it `is_single`. `flow` is
        the flow below the guidance, at one observation: `flow.step(t, action)` is what it does,
        `flow.clip` and `flow.finish` are those of the policy.

        The step is returned with the estimate because the guided field needs both, and a policy
        that is a black box should be asked once.
        """

    def cost(self, flow: FlowCost, t: float) -> Cost:
        """What an estimate at `t` costs, with the velocity there: by default that alone."""
        return flow.velocity(t)

    @property
    def gradient_cost(self) -> Cost:
        """What the critic's gradient costs there."""
        return Cost(critic_gradients=self.count)

    def pullback_cost(self, flow: FlowCost, t: float) -> Cost:
        """What one vector-Jacobian product of the estimate costs: by default that of a velocity."""
        return pulled_back(flow.velocity(t))


def pulled_back(cost: Cost) -> Cost:
    """What a gradient costs that is carried back through something of this cost.

    A gradient through a critic's gradient counts as another one.
    """
    critics: Any = cost.critic_values + cost.critic_gradients
    return Cost(pullbacks=cost.velocities + cost.pullbacks, critic_gradients=critics)
