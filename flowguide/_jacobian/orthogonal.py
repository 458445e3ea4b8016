import jax
import jax.numpy as jnp

from .base import AbstractJacobian
from .exact import ExactJacobian
from .polar import polar_factor

# See the comment below. Smaller than what matters, and large enough for float32.
_TOWARDS_IDENTITY = 1e-3


class OrthogonalJacobian(AbstractJacobian):
    r"""The orthogonal map nearest to the Jacobian: it turns a gradient and keeps its length.

    With $J = U S V^\top$ that is the polar factor $U V^\top$. The Jacobian is built in full, by one
    vector-Jacobian product for each entry of the action.
    """

    @property
    def is_derivative(self):
        return True

    def __call__(self, estimate, action):
        clean_action, step, exact = ExactJacobian()(estimate, action)
        size = action.size
        # One unit gradient for each entry of a clean action, of which there can be several.
        units = jnp.eye(clean_action.size, dtype=action.dtype).reshape(-1, *clean_action.shape)
        jacobians = jax.vmap(exact)(units).reshape(-1, size, size)
        # A clipped entry has a row of zeros, and the polar factor of a singular matrix is not
        # unique: a trace of the identity selects the factor that changes least there.
        nudge = _TOWARDS_IDENTITY * jnp.eye(size, dtype=action.dtype)
        factors = jax.vmap(lambda jacobian: polar_factor(jacobian + nudge))(jacobians)

        def pullback(gradient):
            rows = gradient.reshape(-1, size)
            return jnp.einsum("ki,kij->j", rows, factors).reshape(action.shape)

        return clean_action, step, pullback

    def cost(self, estimate, flow, t):
        return flow.size * estimate.count * estimate.pullback_cost(flow, t)
