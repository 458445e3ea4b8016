import abc
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._pytree import PyTree
from .value import Critic, critic_at, members_of, value_of


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

    def at(self, t: float | Float[Array, ""]) -> Critic:
        """The critic that is asked about an action of cleanness `t`: itself."""
        del t
        return self

    def members(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, " K"]:
        """The values of the critics that it is made of, shape `(K,)`: its one value."""
        return value_of(self, observation, action)[None]

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

    def at(self, t: float | Float[Array, ""]) -> "WeightedSum":
        """The sum of those that its critics ask about an action of cleanness `t`."""
        critics = tuple(critic_at(critic, t) for critic in self.critics)
        return eqx.tree_at(lambda s: s.critics, self, critics)

    def members(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, " K"]:
        """The sums of the K members' values, shape `(K,)`; a plain critic is in each of them."""
        values = [members_of(critic, observation, action) for critic in self.critics]
        together = jnp.stack(like_each_other(values))
        return self.weights.astype(together.dtype) @ together

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        values = jnp.stack([value_of(critic, observation, action) for critic in self.critics])
        return jnp.sum(self.weights.astype(values.dtype) * values)


def like_each_other(values: Sequence[Array]) -> list[Array]:
    """Values of members, those of plain critics repeated as often as the others have members.

    **Raises:**

    `ValueError` for critics of several numbers of members, which say nothing of each other.
    """
    counts = sorted({len(each) for each in values} - {1})
    if len(counts) > 1:
        raise ValueError(
            "The members of several critics are put together one by one, so they need the same "
            f"number of members, got {[len(each) for each in values]}."
        )
    count = counts[0] if counts else 1
    return [jnp.broadcast_to(each, (count,)) for each in values]


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
