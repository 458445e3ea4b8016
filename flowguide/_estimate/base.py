import abc

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float, PyTree

from .._policy import FlowPolicy


class AbstractEstimate(eqx.Module):
    """Guesses the clean action that a noisy one will become; there the critic is differentiated."""

    @property
    def twice(self) -> "AbstractEstimate | None":
        """The same estimate in a form that can be differentiated twice; None if it already can."""
        return None

    @abc.abstractmethod
    def __call__(
        self,
        policy: FlowPolicy,
        t: Float[ArrayLike, ""],
        action: Float[Array, "*action"],
        observation: PyTree,
    ) -> tuple[Float[Array, "*action"], Float[Array, "*action"]]:
        """Returns the estimate and the velocity at `(t, action)`.

        The velocity is returned with it because the guided field needs both, and a policy that is
        a black box should be asked once.
        """
