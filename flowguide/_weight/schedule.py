"""Weights that change while an action is denoised, around any other weight."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from .._cost import Cost
from .base import (
    AbstractWeight,
    as_weight,
    bind_weight,
    is_active,
    prepare_weight,
    resume_weight,
    weight_at,
    weight_cost,
    WeightLike,
    WeightPoint,
)

# Times of steps are sums of floats: 3 x 0.1 is not 0.3.
TOLERANCE = 1e-5


class AbstractSchedule(AbstractWeight):
    """A weight around another one, whose rule it passes on."""

    weight: eqx.AbstractVar[Any]

    def bind(self, policy: Any, critic: Any) -> "AbstractSchedule":
        return self._around(bind_weight(self.weight, policy, critic))

    def prepare(self, flow: Any, critic: Any) -> "AbstractSchedule":
        prepared = prepare_weight(self.weight, flow, critic)
        return self if prepared is None else self._around(prepared)

    def resume(self, prepared: AbstractWeight) -> "AbstractSchedule":
        inner = prepared.weight if isinstance(prepared, AbstractSchedule) else prepared
        return self._around(resume_weight(self.weight, inner))

    def is_active(self, t: Float[ArrayLike, ""]) -> bool | Bool[Array, ""]:
        return is_active(self.weight, t)

    def cost(self, flow: Any) -> Cost:
        return weight_cost(self.weight, flow)

    @property
    def unit(self) -> str:
        return self.weight.unit if isinstance(self.weight, AbstractWeight) else "raw"

    @property
    def number(self) -> Any:
        return self.weight.number if isinstance(self.weight, AbstractWeight) else self.weight

    def _around(self, weight: Any) -> "AbstractSchedule":
        return eqx.tree_at(lambda s: s.weight, self, weight, is_leaf=lambda x: x is None)


class AbstractCapped(AbstractSchedule):
    """The weight times a factor of time that would be infinite somewhere, and has a cap."""

    weight: eqx.AbstractVar[Any]
    cap: eqx.AbstractVar[Array]

    @abc.abstractmethod
    def factor(self, t: Float[Array, ""], cap: Float[Array, ""]) -> Float[Array, ""]:
        """The factor at `t`, at most `cap`, with a gradient that is finite."""

    def __call__(self, point: WeightPoint) -> Float[Array, "..."]:
        factor = self.factor(point.t, self.cap.astype(point.t.dtype))
        return weight_at(self.weight, point) * factor.astype(point.gradient.dtype)


def _cap(cap: ArrayLike, name: str) -> Array:
    cap = jnp.asarray(cap, float)
    return eqx.error_if(cap, cap <= 0, f"flowguide.{name}: cap must be above 0.")


class ScoreWeight(AbstractCapped):
    r"""The weight times $\min((1 - t) / t, c)$: guidance of the score, seen as a velocity.

    On the straight path from noise, velocity and score are related by
    $v = a_t / t + \frac{1 - t}{t} \nabla \log p_t(a_t)$, so a gradient that is added to the score
    is added to the velocity times $(1 - t) / t$, which is infinite at the start.

    **Arguments:**

    - `weight`: as in `flowguide.GradientGuidance`.
    - `cap`: $c$, above 0.

    **Raises:**

    `equinox.EquinoxRuntimeError` for a cap that is not above 0.

    Source: the relation is that of Gaussian paths, Lipman et al. (arXiv 2210.02747).
    """

    weight: Any
    cap: Array

    def __init__(self, weight: WeightLike = 1.0, cap: ArrayLike = 10.0):
        self.weight, self.cap = as_weight(weight), _cap(cap, "ScoreWeight")

    def factor(self, t: Float[Array, ""], cap: Float[Array, ""]) -> Float[Array, ""]:
        # Not (1 - t) / t at 0, whose gradient would be NaN.
        return jnp.minimum((1 - t) / jnp.maximum(t, 1 / (1 + cap)), cap)


class RealTimeWeight(AbstractCapped):
    r"""The weight times $\min\left(\frac{(1 - t)^2 + t^2}{t\,(1 - t)}, c\right)$, that of real-time
    chunking.

    It is the weight with which pseudoinverse guidance completes what is known of a sample: here
    the actions that a `flowguide.coherence` holds on to.

    **Arguments:**

    - `weight`: as in `flowguide.GradientGuidance`.
    - `cap`: $c$, above 0: 5 in the paper, 10 in LeRobot.

    **Raises:**

    `equinox.EquinoxRuntimeError` for a cap that is not above 0.

    Source: Black, Galliker and Levine (arXiv 2506.07339), equations 2 to 4; Pokle et al. (arXiv
    2310.04432) for flows.
    """

    weight: Any
    cap: Array

    def __init__(self, weight: WeightLike = 1.0, cap: ArrayLike = 5.0):
        self.weight, self.cap = as_weight(weight), _cap(cap, "RealTimeWeight")

    def factor(self, t: Float[Array, ""], cap: Float[Array, ""]) -> Float[Array, ""]:
        # The numerator is at least a half: below this denominator the cap counts, and at both ends
        # the gradient would be NaN.
        product = jnp.maximum(t * (1 - t), 0.5 / cap)
        return jnp.minimum(((1 - t) ** 2 + t**2) / product, cap)


class WeightInterval(AbstractSchedule):
    """The weight within an interval of time. Outside nothing is guided, and nothing is paid.

    The critic is not asked where the weight is 0, and the guided velocity costs what the
    policy's own does; also under `jax.vmap`, as long as all samples are at the same time, which is
    so with constant steps.

    **Arguments:**

    - `weight`: as in `flowguide.GradientGuidance`.
    - `t0`, `t1`: steps are guided that start in [t0, t1].

    **Raises:**

    `ValueError` unless 0 <= t0 <= t1 <= 1.

    Source: limited-interval guidance, Kynkaanniemi et al. (arXiv 2404.07724).
    """

    weight: Any
    t0: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)

    def __init__(
        self,
        weight: WeightLike = 1.0,
        t0: float | int = 0.0,
        t1: float | int = 1.0,
    ):
        if not 0 <= t0 <= t1 <= 1:
            raise ValueError(f"An interval has 0 <= t0 <= t1 <= 1, got t0={t0} and t1={t1}.")
        self.weight, self.t0, self.t1 = as_weight(weight), float(t0), float(t1)

    def is_active(self, t: Float[ArrayLike, ""]) -> bool | Bool[Array, ""]:
        time = jnp.asarray(t)
        is_inside = (time >= self.t0 - TOLERANCE) & (time <= self.t1 + TOLERANCE)
        return is_inside & is_active(self.weight, t)

    def __call__(self, point: WeightPoint) -> Float[Array, "..."]:
        weight = weight_at(self.weight, point)
        return jnp.where(self.is_active(point.t), weight, jnp.zeros_like(weight))
