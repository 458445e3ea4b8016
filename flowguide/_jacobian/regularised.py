from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from .base import AbstractJacobian
from .dropped import DroppedJacobian
from .exact import ExactJacobian


class RegularisedJacobian(AbstractJacobian):
    r"""A convex mix of the Jacobian and the identity: $(1 - \lambda) I + \lambda J$.

    **Arguments:**

    - `mix`: $\lambda$ in [0, 1]; 0 is `DroppedJacobian`, 1 `ExactJacobian`. An array leaf.

    **Raises:**

    `equinox.EquinoxRuntimeError` for a mix outside.
    """

    mix: Array

    def __init__(self, mix: Any = 0.5):
        mix = jnp.asarray(mix, float)
        message = "flowguide: the mix of a RegularisedJacobian must be in [0, 1]."
        self.mix = eqx.error_if(mix, (mix < 0) | (mix > 1), message)

    @property
    def is_derivative(self):
        return True

    def __call__(self, estimate, action):
        clean_action, step, exact = ExactJacobian()(estimate, action)
        identity = DroppedJacobian.pullback

        def pullback(gradient):
            mix = self.mix.astype(gradient.dtype)
            return (1 - mix) * identity(gradient, action) + mix * exact(gradient)

        return clean_action, step, pullback
