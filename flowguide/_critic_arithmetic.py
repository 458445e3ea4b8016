import abc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from ._critic_value import Critic, evaluate


class CriticArithmetic(eqx.Module):
    """Critics that can be added, subtracted and scaled: `critic - 0.3 * effort`.

    A base of flowguide's critics; `flowguide.as_critic` makes one of any other. The smaller of two
    critics is `flowguide.Ensemble([a, b])`.
    """

    # NumPy would make an array of `np.float32(0.3) * critic`.
    __array_ufunc__: ClassVar[None] = None

    @abc.abstractmethod
    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        """The value of an action."""

    def __add__(self, other: Any) -> "WeightedSum":
        return NotImplemented if not callable(other) else _sum((1, self), (1, other))

    def __radd__(self, other: Any) -> "WeightedSum":
        return NotImplemented if not callable(other) else _sum((1, other), (1, self))

    def __sub__(self, other: Any) -> "WeightedSum":
        return NotImplemented if not callable(other) else _sum((1, self), (-1, other))

    def __rsub__(self, other: Any) -> "WeightedSum":
        return NotImplemented if not callable(other) else _sum((1, other), (-1, self))

    def __mul__(self, factor: ArrayLike) -> "WeightedSum":
        return _sum((factor, self)) if _is_factor(factor) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: ArrayLike) -> "WeightedSum":
        return _sum((1 / jnp.asarray(divisor), self)) if _is_factor(divisor) else NotImplemented

    def __neg__(self) -> "WeightedSum":
        return _sum((-1, self))


class WeightedSum(CriticArithmetic):
    r"""Several critics as one: $\sum_i w_i\, Q_i(o, a)$.

    One frozen policy serves several objectives, and the weights are array leaves: to change them
    recompiles nothing.

    **Arguments:**

    - `critics`: at least one.
    - `weights`: a number for each.

    **Raises:**

    `ValueError` for no critics, or another number of weights.
    """

    critics: tuple[Critic, ...]
    weights: Float[Array, " critics"]

    def __init__(self, critics: Sequence[Critic], weights: ArrayLike | Sequence[ArrayLike]):
        self.critics = tuple(critics)
        self.weights = jnp.asarray(weights, float)
        if not self.critics or self.weights.shape != (len(self.critics),):
            raise ValueError(
                "WeightedSum takes critics and one weight for each, got "
                f"{len(self.critics)} critics and weights of shape {self.weights.shape}."
            )

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        values = jnp.stack([evaluate(critic, observation, action) for critic in self.critics])
        return jnp.sum(self.weights.astype(values.dtype) * values)


class Switch(CriticArithmetic):
    """One critic where a condition holds, another where it does not.

    ```python
    flowguide.Switch(lambda o: o[0] > 0, carry, reach)
    ```

    **Arguments:**

    - `condition`: a callable from the observation to a boolean scalar.
    - `if_true`, `if_false`: critics.
    """

    condition: Callable[[PyTree], Any]
    if_true: Critic
    if_false: Critic

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        holds: Bool[Array, ""] = jnp.asarray(self.condition(observation))
        if holds.shape != () or holds.dtype != bool:
            raise ValueError(
                "The condition of a Switch is one boolean, got an array of shape "
                f"{holds.shape} and dtype {holds.dtype}."
            )
        # Not `where`, whose gradient is NaN if that of the branch that does not count is.
        return jax.lax.cond(
            holds,
            lambda: evaluate(self.if_true, observation, action),
            lambda: evaluate(self.if_false, observation, action),
        )


def as_critic(critic: Any) -> CriticArithmetic:
    """Any callable `critic(observation, action) -> scalar` as one that can be added and scaled.

    ```python
    effort = flowguide.as_critic(lambda observation, action: jnp.sum(action**2))
    flowguide.guide(policy, critic - 0.3 * effort, "qgf", weight=0.1)
    ```

    **Arguments:**

    - `critic`: any critic.

    **Raises:**

    `TypeError` for what cannot be called.
    """
    if not callable(critic):
        raise TypeError(
            f"critic must be a callable critic(observation, action) -> scalar, got {critic!r}."
        )
    return critic if isinstance(critic, CriticArithmetic) else _sum((1, critic))


def _is_factor(factor: Any) -> bool:
    return not callable(factor) and jnp.ndim(factor) == 0


def _sum(*terms: tuple[Any, Any]) -> WeightedSum:
    """The sum of critics times factors, flat: a sum of sums is one sum."""
    critics, weights = [], []
    for factor, critic in terms:
        if isinstance(critic, WeightedSum):
            critics += critic.critics
            weights += list(factor * critic.weights)
        else:
            critics.append(critic)
            weights.append(factor)
    return WeightedSum(critics, jnp.stack([jnp.asarray(weight, float) for weight in weights]))
