from jaxtyping import Array, Float

from .base import AbstractJacobian


class DroppedJacobian(AbstractJacobian):
    """The identity in place of the Jacobian: nothing is differentiated through the policy."""

    @property
    def is_derivative(self):
        return False

    def __call__(self, estimate, action):
        clean_action, step = estimate(action)
        return clean_action, step, lambda gradient: self.pullback(gradient, action)

    @staticmethod
    def pullback(gradient: Array, action: Float[Array, "*action"]) -> Float[Array, "*action"]:
        """The gradient itself; the sum of them where there are several clean actions."""
        return gradient.reshape(-1, *action.shape).sum(0)
