from .base import AbstractJacobian


class DroppedJacobian(AbstractJacobian):
    """The identity in place of the Jacobian: nothing is differentiated through the policy."""

    @property
    def is_derivative(self):
        return False

    def __call__(self, estimate, action):
        clean_action, velocity = estimate(action)
        return clean_action, velocity, lambda gradient: gradient
