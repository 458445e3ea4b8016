from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._critic_arithmetic import CriticArithmetic
from ._critic_value import Critic as Critic, evaluate as evaluate

_REDUCTIONS: dict[str, Callable[[Array], Array]] = {"min": jnp.min, "mean": jnp.mean}


class Ensemble(CriticArithmetic):
    """K critics that act as one.

    ```python
    flowguide.Ensemble([critic_a, critic_b])                      # the smaller of the two
    flowguide.Ensemble(stacked, "mean")                           # a module vmapped over K keys
    flowguide.Ensemble(stacked, flowguide.Pessimism(0.5))         # mean - 0.5 * std
    ```

    **Arguments:**

    - `members`: a list or tuple of K critics, or one `equinox.Module` critic whose every array has
        a leading axis of size K (as `equinox.filter_vmap` of its constructor over K keys makes).
    - `reduction`: `"min"`, `"mean"`, or a callable from the K values, shape `(K,)`, to a scalar.

    **Raises:**

    `ValueError` for no members, or an unknown reduction.
    """

    members: Any
    reduction: str | Callable[[Array], Array]

    def __init__(self, members: Any, reduction: str | Callable[[Array], Array] = "min"):
        if isinstance(members, list):
            members = tuple(members)
        if isinstance(members, tuple) and not members:
            raise ValueError("Ensemble needs at least one member, got an empty sequence.")
        if not callable(reduction) and reduction not in _REDUCTIONS:
            raise ValueError(
                f"Unknown reduction {reduction!r}: expected one of {sorted(_REDUCTIONS)} or a "
                "callable from the (K,) values to a scalar."
            )
        self.members = members
        self.reduction = reduction

    def values(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, " K"]:
        """The value that each of the K members gives, shape `(K,)`."""
        if isinstance(self.members, Sequence):
            members = [evaluate(member, observation, action) for member in self.members]
            return jnp.stack(members)
        in_axes = (eqx.if_array(0), None, None)
        return eqx.filter_vmap(evaluate, in_axes=in_axes)(self.members, observation, action)

    def reduce(self, values: Float[Array, " K"]) -> Float[Array, ""]:
        """The one value that stands for all K."""
        reduction = self.reduction
        return (reduction if callable(reduction) else _REDUCTIONS[reduction])(values)

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        return self.reduce(self.values(observation, action))


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


class NoiseConditionedCritic(CriticArithmetic):
    r"""A critic that knows how noisy an action is: $Q(o, a_t, t)$, with $t = 1$ for a clean one.

    It is a critic like any other, of clean actions. Gradient guidance that asks about the noisy
    action itself (`flowguide.robust_q`, `flowguide.ood`) asks it with the time at hand.

    **Arguments:**

    - `critic`: a critic `critic((observation, t), action)`, an `Ensemble` or not.
    """

    critic: Critic

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        return self.critic((observation, jnp.ones(())), action)


class CriticGradient(eqx.Module):
    """A critic's value and action-gradient at one action.

    **Attributes:**

    - `value`: shape `()`.
    - `members`: the values of an `Ensemble`'s members, shape `(K,)`; `(1,)` for any other critic.
    - `gradient`: of `value` in the action, shape `(*action)`.
    """

    value: Float[Array, ""]
    members: Float[Array, " K"]
    gradient: Float[Array, "*action"]


def critic_gradient(
    critic: Critic,
    observation: PyTree,
    action: Float[Array, "*action"],
    t: float | Float[Array, ""] = 1.0,
) -> CriticGradient:
    """The value of a critic at an action and its gradient there, in one backward pass.

    `t` is how clean the action is; only a `NoiseConditionedCritic` asks.
    """
    if isinstance(critic, NoiseConditionedCritic):
        critic, observation = critic.critic, (observation, jnp.asarray(t, action.dtype))

    def value_and_members(action):
        if isinstance(critic, Ensemble):
            ensemble, members = critic, critic.values(observation, action)
            return evaluate(lambda o, a: ensemble.reduce(members), observation, action), members
        value = evaluate(critic, observation, action)
        return value, value[None]

    (value, members), gradient = jax.value_and_grad(value_and_members, has_aux=True)(action)
    return CriticGradient(value, members, gradient)
