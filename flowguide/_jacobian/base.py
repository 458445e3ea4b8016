import abc
from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float


class AbstractJacobian(eqx.Module):
    """How a gradient at the clean action is carried back to the noisy action."""

    @property
    @abc.abstractmethod
    def is_derivative(self) -> bool:
        """Whether the estimate is differentiated."""

    @abc.abstractmethod
    def __call__(
        self,
        estimate: Callable[[Array], tuple[Array, Array]],
        action: Float[Array, "*action"],
    ) -> tuple[
        Float[Array, "*clean"], Float[Array, "*action"], Callable[[Array], Float[Array, "*action"]]
    ]:
        """Evaluates an estimate at an action.

        **Arguments:**

        - `estimate`: maps the noisy action to `(clean_action, velocity)`.
        - `action`: the noisy action, shape `(*action)`.

        **Returns:**

        The clean action (or several, with a leading axis), the velocity, and a function from a
        gradient of the clean action's shape to one at the noisy action.
        """
