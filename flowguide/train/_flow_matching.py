from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._velocity import VelocityField
from ..data import Batch
from ._learner import AbstractLearner, apply_gradient, init_state, LearnerState, weighted_mean


def flow_matching_loss(
    velocity: VelocityField,
    observation: PyTree,
    action: Float[Array, "*action"],
    noise: Float[Array, "*action"],
    t: Float[Array, ""],
) -> Float[Array, ""]:
    r"""$\lVert v(t, a_t, o) - (a - \epsilon) \rVert^2$ averaged over the action's entries.

    $a_t = (1 - t)\,\epsilon + t\,a$ is a point on the straight line from noise to action.

    **Arguments:**

    - `velocity`: a velocity field.
    - `observation`, `action`: one pair from the data.
    - `noise`: of the action's shape.
    - `t`: a time in [0, 1].

    **Returns:**

    The loss of this one sample, shape `()`.

    Source: flow matching, Lipman et al. (arXiv 2210.02747); see `flowguide.FlowPolicy`.
    """
    noisy = (1 - t) * noise + t * action
    return jnp.mean((velocity(t, noisy, observation) - (action - noise)) ** 2)


class FlowMatching(AbstractLearner):
    """Behaviour cloning of a velocity field by flow matching.

    **Arguments:**

    - `make_velocity`: a callable from a key to a velocity field, an `equinox.Module`.
    - `optimiser`: an optax optimiser.
    """

    make_velocity: Callable[[PRNGKeyArray], VelocityField]
    optimiser: optax.GradientTransformation = optax.adam(3e-4)

    def init(self, key: PRNGKeyArray) -> LearnerState:
        return init_state(self.make_velocity(key), self.optimiser)

    def update(
        self, state: LearnerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[LearnerState, dict[str, Array]]:
        noise_key, time_key = jr.split(key)
        noise = jr.normal(noise_key, batch.action.shape)
        t = jr.uniform(time_key, batch.weight.shape)

        @eqx.filter_value_and_grad
        def loss(velocity):
            losses = jax.vmap(lambda *sample: flow_matching_loss(velocity, *sample))(
                batch.observation, batch.action, noise, t
            )
            return weighted_mean(losses, batch.weight)

        value, gradient = loss(state.model)
        return apply_gradient(state, gradient, self.optimiser), {"loss": value}
