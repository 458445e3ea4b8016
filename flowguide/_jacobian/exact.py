import jax

from .base import AbstractJacobian


class ExactJacobian(AbstractJacobian):
    """The transposed Jacobian of the estimate, by one vector-Jacobian product."""

    @property
    def is_derivative(self):
        return True

    def __call__(self, estimate, action):
        clean_action, pullback, step = jax.vjp(estimate, action, has_aux=True)
        return clean_action, step, lambda gradient: pullback(gradient)[0]
