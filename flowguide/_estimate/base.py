import abc

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float, PyTree

from .._critic import Critic
from .._policy import FlowPolicy


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

    def cleanness(self, t: Float[ArrayLike, ""]) -> float | Float[ArrayLike, ""]:
        """How clean the estimate is, as a time: 1 for a clean action. Noise-conditioned critics ask
        for it."""
        del t
        return 1.0

    def check(self, critic: Critic) -> None:
        """Refuses a critic that cannot be asked about this estimate, with a `ValueError`."""

    @abc.abstractmethod
    def __call__(
        self,
        policy: FlowPolicy,
        t: Float[ArrayLike, ""],
        action: Float[Array, "*action"],
        observation: PyTree,
    ) -> tuple[Float[Array, "*clean"], Float[Array, "*action"]]:
        """Returns the estimate and the velocity at `(t, action)`.

        The estimate has the shape `(*action)`, or `(K, *action)` unless it `is_single`.

        The velocity is returned with it because the guided field needs both, and a policy that is
        a black box should be asked once.
        """
