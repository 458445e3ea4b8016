from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._pytree import PyTree
from .arithmetic import CriticArithmetic
from .value import critic_at, depends_on_time, members_of, value_of

_REDUCTIONS: dict[str, Callable[[Array], Array]] = {"min": jnp.min, "mean": jnp.mean}


def check_reduction(reduction: Any) -> None:
    """Refuses what makes no one value of the K that an ensemble has."""
    if not callable(reduction) and reduction not in _REDUCTIONS:
        raise ValueError(
            f"Unknown reduction {reduction!r}: expected one of {sorted(_REDUCTIONS)} or a "
            "callable from the (K,) values to a scalar."
        )


class Ensemble(CriticArithmetic):
    """K critics that act as one.

    ```python
    flowguide.Ensemble([critic_a, critic_b])  # the smaller of the two
    flowguide.Ensemble(stacked, "mean")  # a module vmapped over K keys
    flowguide.Ensemble(stacked, flowguide.Pessimism(0.5))  # mean - 0.5 * std
    ```

    **Arguments:**

    - `critics`: a list or tuple of K critics, or one `equinox.Module` critic whose every array has
        a leading axis of size K (as `equinox.filter_vmap` of its constructor over K keys makes).
    - `reduction`: `"min"`, `"mean"`, or a callable from the K values, shape `(K,)`, to a scalar.

    **Raises:**

    `ValueError` for no critics, or an unknown reduction.
    """

    critics: Any
    reduction: str | Callable[[Array], Array]

    def __init__(self, critics: Any, reduction: str | Callable[[Array], Array] = "min"):
        if isinstance(critics, list):
            critics = tuple(critics)
        if isinstance(critics, tuple) and not critics:
            raise ValueError("Ensemble needs at least one member, got an empty sequence.")
        check_reduction(reduction)
        self.critics = critics
        self.reduction = reduction

    def members(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, " K"]:
        """The value that each of the K critics gives, shape `(K,)`."""
        if isinstance(self.critics, Sequence):
            return jnp.stack([value_of(critic, observation, action) for critic in self.critics])
        in_axes = (eqx.if_array(0), None, None)
        return eqx.filter_vmap(value_of, in_axes=in_axes)(self.critics, observation, action)

    def reduce(self, values: Float[Array, " K"]) -> Float[Array, ""]:
        """The one value that stands for all K."""
        reduction = self.reduction
        return (reduction if callable(reduction) else _REDUCTIONS[reduction])(values)

    def at(self, t: float | Float[Array, ""]) -> "Ensemble":
        """The ensemble of those that its critics ask about an action of cleanness `t`."""
        if isinstance(self.critics, Sequence):
            return Ensemble([critic_at(critic, t) for critic in self.critics], self.reduction)
        if not depends_on_time(self.critics):
            return self
        # As an array, which gets the leading axis of the others.
        stacked = eqx.filter_vmap(lambda critic: critic_at(critic, jnp.asarray(t)))(self.critics)
        return Ensemble(stacked, self.reduction)

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        return self.reduce(self.members(observation, action))


class MeanOfMembers(CriticArithmetic):
    """The mean of a critic's members, whatever it makes of them itself."""

    critic: Any

    def at(self, t: float | Float[Array, ""]) -> "MeanOfMembers":
        return MeanOfMembers(critic_at(self.critic, t))

    def members(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, " K"]:
        return members_of(self.critic, observation, action)

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        return jnp.mean(self.members(observation, action))


class Pessimism(eqx.Module):
    """The reduction `mean - rho * std` of an ensemble's values: low where its members disagree.

    **Arguments:**

    - `rho`: how many standard deviations (of the K values, divided by K) below the mean.
    """

    rho: float = eqx.field(static=True, default=0.5)

    def __call__(self, values: Float[Array, " K"]) -> Float[Array, ""]:
        return jnp.mean(values) - self.rho * safe_std(values)


def safe_std(values: Float[Array, " K"]) -> Float[Array, ""]:
    """The standard deviation, with gradient 0 and not NaN where all values are equal."""
    variance = jnp.var(values)
    is_spread = variance > 0
    return jnp.where(is_spread, jnp.sqrt(jnp.where(is_spread, variance, 1)), 0)
