import equinox as eqx
import jax
from jaxtyping import Array, Float

from .._pytree import PyTree
from .value import Critic, critic_at, value_of


class CriticGradient(eqx.Module):
    """A critic's value and action-gradient at one action.

    **Attributes:**

    - `value`: shape `()`.
    - `gradient`: of `value` in the action, shape `(*action)`.
    """

    value: Float[Array, ""]
    gradient: Float[Array, "*action"]


def critic_gradient(
    critic: Critic,
    observation: PyTree,
    action: Float[Array, "*action"],
    t: float | Float[Array, ""] = 1.0,
) -> CriticGradient:
    """A critic's value at an action of cleanness `t` and its gradient, in one backward pass."""
    at_t = critic_at(critic, t)
    value, gradient = jax.value_and_grad(lambda a: value_of(at_t, observation, a))(action)
    return CriticGradient(value, gradient)
