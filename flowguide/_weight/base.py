"""What a weight is: a number, an array, a callable of `t`, or a rule."""

import abc
from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Float

from .._checks import broadcasts_to
from .._cost import Cost


class WeightPoint(eqx.Module):
    """What a rule is given at one step of the flow.

    **Attributes:**

    - `t`: the time, shape `()`.
    - `velocity`: of the flow below the guidance, shape `(*action)`.
    - `gradient`: the term that the weight multiplies, shape `(*action)`: carried back by the
        Jacobian, and shaped.
    """

    t: Float[Array, ""]
    velocity: Float[Array, "*action"]
    gradient: Float[Array, "*action"]


class AbstractWeight(eqx.Module):
    """A rule for the weight of gradient guidance; see `flowguide.Kappa` and `flowguide.Relative`.

    A rule of your own says what the weight is at a `WeightPoint`. The other methods have defaults;
    a rule around another rule passes them on.
    """

    @abc.abstractmethod
    def __call__(self, point: WeightPoint) -> Float[Array, "..."]:
        """The weight at one step, which broadcasts to the action."""

    def bind(self, policy: Any, critic: Any) -> "AbstractWeight":
        """The rule for a policy and a critic, where `flowguide.guide` puts them together: once."""
        del policy, critic
        return self

    def prepare(self, flow: Any, critic: Any) -> "AbstractWeight":
        """The rule for one action, before its flow begins. `flow` is what lies below the guidance,
        at one observation: it can be asked for actions by `flow.finish(flow.start(noise))`."""
        del flow, critic
        return self

    def resume(self, prepared: "AbstractWeight") -> "AbstractWeight":
        """The rule with what was measured at an observation that is prepared already: `prepared` is
        what `prepare` returned there, maybe of a rule with other numbers. By default that one."""
        return prepared if isinstance(prepared, type(self)) else self

    def is_active(self, t: Float[ArrayLike, ""]) -> bool | Bool[Array, ""]:
        """Whether a step at `t` is guided at all. Where it is not, the critic is not asked."""
        del t
        return True

    def cost(self, flow: Any) -> Cost:
        """What `prepare` costs; `flow.action` is the cost of one action of the flow below."""
        del flow
        return Cost()

    @property
    def unit(self) -> str:
        """What the number of the rule counts, for results and pictures."""
        return type(self).__name__.lower()

    @property
    def number(self) -> Any:
        """The number along which a curve is drawn; None if there is none."""
        return None


WeightLike: TypeAlias = ArrayLike | AbstractWeight | Callable[[Array], Any]
"""A number, an array that broadcasts to the action, a callable of `t`, or a rule."""


def as_weight(weight: Any) -> Any:
    """A rule, a callable of `t`, or an array of floats."""
    if callable(weight):
        return weight
    return _as_floats(
        "weight", weight, "a real number, an array of them, a callable of t or a rule"
    )


def as_number(name: str, value: Any) -> Array:
    """An array of floats, where a callable would make no sense."""
    expected = "a number or an array"
    if callable(value):
        raise ValueError(f"{name} must be {expected}, got {value!r}.")
    return _as_floats(name, value, expected)


def _as_floats(name: str, value: Any, expected: str) -> Array:
    message = f"{name} must be {expected}, got {value!r}."
    try:
        # Of a number inside `jit` nothing is known yet.
        array = value if isinstance(value, Tracer) else np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(message) from error
    if not jnp.issubdtype(array.dtype, jnp.number) or jnp.issubdtype(
        array.dtype, jnp.complexfloating
    ):
        raise ValueError(message)
    if isinstance(array, np.ndarray) and not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, got {value!r}.")
    return jnp.asarray(value, float)


def weight_at(weight: Any, point: WeightPoint) -> Array:
    """The weight at one step, in the dtype of the action."""
    if isinstance(weight, AbstractWeight):
        number: Any = weight(point)
    else:
        number = weight(point.t) if callable(weight) else weight
    return jnp.asarray(number).astype(point.gradient.dtype)


def times_weight(factor: Array, term: Float[Array, "*action"]) -> Float[Array, "*action"]:
    """The term times a weight that broadcasts to it.

    **Raises:**

    `ValueError` for a weight that does not.
    """
    if not broadcasts_to(factor.shape, term.shape):
        raise ValueError(
            f"The weight has shape {factor.shape}, which does not broadcast to the action shape "
            f"{term.shape}. For a batch of weights use jax.vmap."
        )
    return jnp.broadcast_to(factor, term.shape) * term


def bind_weight(weight: Any, policy: Any, critic: Any) -> Any:
    """The weight for a policy and a critic."""
    return weight.bind(policy, critic) if isinstance(weight, AbstractWeight) else weight


def prepare_weight(weight: Any, flow: Any, critic: Any) -> Any:
    """The weight for one action; None if there is nothing to measure."""
    prepared = weight.prepare(flow, critic) if isinstance(weight, AbstractWeight) else weight
    return None if prepared is weight else prepared


def resume_weight(weight: Any, prepared: Any) -> Any:
    """The weight with what `prepare_weight` returned."""
    if prepared is None or not isinstance(weight, AbstractWeight):
        return weight
    return weight.resume(prepared)


def is_active(weight: Any, t: Float[ArrayLike, ""]) -> bool | Bool[Array, ""]:
    """Whether a step at `t` is guided."""
    return weight.is_active(t) if isinstance(weight, AbstractWeight) else True


def weight_cost(weight: Any, flow: Any) -> Cost:
    """What `prepare_weight` costs."""
    return weight.cost(flow) if isinstance(weight, AbstractWeight) else Cost()


def weight_of(guidance: Any) -> tuple[float, str] | None:
    """The one scalar weight of a guidance, or of a sequence of them, and its unit.

    None if there is none, if there are several, or if it is no number.
    """
    numbers = [
        (weight.number, weight.unit) if isinstance(weight, AbstractWeight) else (weight, "raw")
        for weight in _weights(guidance)
    ]
    if len(numbers) != 1:
        return None
    ((number, unit),) = numbers
    if number is None or callable(number) or jnp.ndim(number) != 0:
        return None
    return float(number), unit


def _weights(guidance: Any) -> list[Any]:
    if isinstance(guidance, (list, tuple)):
        return [weight for each in guidance for weight in _weights(each)]
    if hasattr(guidance, "weight"):
        return [guidance.weight]
    inner = getattr(guidance, "guidance", None)
    return [] if inner is None else _weights(inner)
