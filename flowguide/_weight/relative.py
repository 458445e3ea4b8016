from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from .base import AbstractWeight, as_number, WeightPoint
from .schedule import TOLERANCE


class Relative(AbstractWeight):
    r"""A term as long as a share of the velocity: $\alpha\, \lVert v \rVert / \lVert g \rVert$.

    It needs nothing but the step at hand, and does not depend on the critic's scale.

    **Arguments:**

    - `alpha`: the share; an array leaf.
    - `skip_first`: leave the first step unguided, at `t = 0`, where the action is noise.

    Source: the weights of QPILOTS (arXiv 2606.14801).
    """

    alpha: Array
    skip_first: bool = eqx.field(static=True)

    def __init__(self, alpha: ArrayLike = 0.2, skip_first: bool = False):
        self.alpha, self.skip_first = as_number("alpha", alpha), bool(skip_first)

    def __call__(self, point: WeightPoint) -> Float[Array, "..."]:
        alpha = self.alpha.astype(point.gradient.dtype)
        return alpha * _norm(point.velocity) * _inverse(_norm(point.gradient))

    def is_active(self, t: Float[ArrayLike, ""]) -> bool | Bool[Array, ""]:
        return jnp.asarray(t) > TOLERANCE if self.skip_first else True

    @property
    def unit(self) -> str:
        return "relative"

    @property
    def number(self) -> Any:
        return self.alpha


class Normalised(AbstractWeight):
    r"""A term of the same length in every step, whatever the critic says: $\ell / \lVert g \rVert$.

    **Arguments:**

    - `length`: $\ell$, in units of the velocity; an array leaf.

    Source: the normalised gradient among the settings of the QGF code (arXiv 2606.11087).
    """

    length: Array

    def __init__(self, length: ArrayLike = 1.0):
        self.length = as_number("length", length)

    def __call__(self, point: WeightPoint) -> Float[Array, "..."]:
        return self.length.astype(point.gradient.dtype) * _inverse(_norm(point.gradient))

    @property
    def unit(self) -> str:
        return "norm"

    @property
    def number(self) -> Any:
        return self.length


def _norm(vector: Float[Array, "*action"]) -> Float[Array, ""]:
    """The Euclidean length, with gradient 0 and not NaN at 0."""
    # Divided by the largest entry first: the square of a gradient of 1e-20 is 0 in float32.
    largest = jnp.max(jnp.abs(vector), initial=0)
    scale = jnp.where(largest > 0, largest, 1)
    square = jnp.sum((vector / scale) ** 2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0) * scale


def _inverse(length: Float[Array, ""]) -> Float[Array, ""]:
    """0 where the length is 0: a gradient that says nothing moves nothing."""
    return jnp.where(length > 0, 1 / jnp.where(length > 0, length, 1), 0)
