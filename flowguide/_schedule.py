"""Weights that change while an action is denoised: callables of the time, for any `weight`."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

# Times of steps are sums of floats: 3 x 0.1 is not 0.3.
_TOLERANCE = 1e-5


def as_weight(weight: Any) -> Any:
    """A callable of `t`, or an array of floats."""
    if callable(weight):
        return weight
    array = jnp.asarray(weight)
    if not jnp.issubdtype(array.dtype, jnp.number) or jnp.iscomplexobj(array):
        raise ValueError(
            f"weight must be a real number, an array of them or a callable of t, got {weight!r}."
        )
    return array.astype(jnp.result_type(float))


def weight_at(weight: Array | Callable[[Array], Array], t: Float[ArrayLike, ""]) -> Array:
    """The weight at a time."""
    return weight(jnp.asarray(t)) if callable(weight) else weight


class ScoreWeight(eqx.Module):
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

    weight: Array | Callable[[Array], Array]
    cap: Array

    def __init__(self, weight: ArrayLike | Callable[[Array], Array] = 1.0, cap: ArrayLike = 10.0):
        cap = jnp.asarray(cap, float)
        message = "flowguide.ScoreWeight: cap must be above 0."
        self.weight, self.cap = as_weight(weight), eqx.error_if(cap, cap <= 0, message)

    def __call__(self, t: Float[ArrayLike, ""]) -> Array:
        # Not (1 - t) / t at 0, whose gradient would be NaN.
        t = jnp.asarray(t)
        factor = jnp.minimum((1 - t) / jnp.maximum(t, 1 / (1 + self.cap)), self.cap)
        return weight_at(self.weight, t) * factor


class WeightInterval(eqx.Module):
    """The weight within an interval of time. Outside nothing is guided, and nothing is paid.

    The critic is not evaluated where the weight is 0, and the guided velocity costs what the
    policy's own does; also under `jax.vmap`, as long as all samples are at the same time, which is
    so with constant steps.

    **Arguments:**

    - `weight`: as in `flowguide.GradientGuidance`.
    - `t0`, `t1`: steps are guided that start in [t0, t1].

    **Raises:**

    `ValueError` unless 0 <= t0 <= t1 <= 1.

    Source: limited-interval guidance, Kynkaanniemi et al. (arXiv 2404.07724).
    """

    weight: Array | Callable[[Array], Array]
    t0: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)

    def __init__(
        self,
        weight: ArrayLike | Callable[[Array], Array] = 1.0,
        t0: float | int = 0.0,
        t1: float | int = 1.0,
    ):
        if not 0 <= t0 <= t1 <= 1:
            raise ValueError(f"An interval has 0 <= t0 <= t1 <= 1, got t0={t0} and t1={t1}.")
        self.weight, self.t0, self.t1 = as_weight(weight), float(t0), float(t1)

    def is_inside(self, t: Float[ArrayLike, ""]) -> Bool[Array, ""]:
        """Whether a step that starts at `t` is guided."""
        t = jnp.asarray(t)
        return (t >= self.t0 - _TOLERANCE) & (t <= self.t1 + _TOLERANCE)

    def __call__(self, t: Float[ArrayLike, ""]) -> Array:
        weight = weight_at(self.weight, t)
        return jnp.where(self.is_inside(t), weight, jnp.zeros_like(weight))
