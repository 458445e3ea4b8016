from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import as_positive_int
from .._critic import Critic, value_of
from .._policy import AbstractPolicy
from .._velocity import VelocityField
from ..data import Batch
from ._flow_matching import flow_matching_loss, sample_noise
from ._learner import AbstractLearner, apply_gradient, init_state, LearnerState, mean_loss


class FAWAC(AbstractLearner):
    r"""Behaviour cloning by flow matching, of which each action counts by its advantage.

    $$\min\!\big(e^{\tau A(s, a)}, c\big)\, \lVert v(t, a_t, s) - (a - \epsilon) \rVert^2, \qquad
      A(s, a) = Q(s, a) - \frac1K \sum_k Q(s, a_k), \quad a_k \sim \pi(\cdot \mid s)$$

    Nothing is differentiated through the critic, and only actions of the data are learnt.

    **Arguments:**

    - `make_velocity`: a callable from a key to a velocity field, an `equinox.Module`.
    - `policy`: the frozen, cloned policy, whose value is what an action is compared with.
    - `critic`: the frozen critic.
    - `temperature`: $\tau$ at least 0, an inverse temperature, per unit of the critic. At 0 it is
        `FlowMatching`.
    - `max_weight`: $c$, the most that an action counts.
    - `num_actions`: $K$, of the policy at each observation.
    - `optimiser`: an optax optimiser.
    - `num_steps`: the times, as in `FlowMatching`.

    **Raises:**

    `ValueError` for a temperature below 0, a `max_weight` that is not above 0, or fewer than 1
    action.

    Source: advantage-weighted actor-critic (AWAC), Nair et al. (arXiv 2006.09359), for flows as the
    FQL paper has it (arXiv 2502.02538), whose weights are capped at 100.
    """

    make_velocity: Callable[[PRNGKeyArray], VelocityField]
    policy: AbstractPolicy
    critic: Critic
    temperature: float = 1.0
    max_weight: float = 100.0
    num_actions: int = 4
    optimiser: optax.GradientTransformation = optax.adam(3e-4)
    num_steps: int | None = None

    def __check_init__(self):
        as_positive_int("num_actions", self.num_actions)
        if not self.temperature >= 0:
            raise ValueError(f"temperature must be at least 0, got {self.temperature}.")
        if not self.max_weight > 0:
            raise ValueError(f"max_weight must be above 0, got {self.max_weight}.")

    def init(self, key: PRNGKeyArray) -> LearnerState:
        return init_state(self.make_velocity(key), self.optimiser)

    def update(
        self, state: LearnerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[LearnerState, dict[str, Array]]:
        # As `FlowMatching` draws them, whatever is drawn besides.
        noise, t = sample_noise(key, batch.action, self.num_steps)
        keys = jr.split(jr.fold_in(key, 1), len(batch.weight))
        advantages = jax.vmap(self.advantage)(batch.observation, batch.action, keys)
        weights = jnp.minimum(jnp.exp(self.temperature * advantages), self.max_weight)

        @eqx.filter_value_and_grad
        def loss(velocity):
            def of_sample(weight, *sample):
                return weight * flow_matching_loss(velocity, *sample)

            return mean_loss(
                of_sample, batch.weight, weights, batch.observation, batch.action, noise, t
            )

        value, gradient = loss(state.model)
        return apply_gradient(state, gradient, self.optimiser), {"loss": value}

    def advantage(
        self, observation: Array, action: Float[Array, "*action"], key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """How much better an action is than those that the policy makes, in the critic's units."""

        def value(action):
            return value_of(self.critic, observation, action)

        prepared = self.policy.prepare(observation)
        keys = jr.split(key, self.num_actions)
        others = jax.vmap(lambda k: value(self.policy(prepared, key=k)))(keys)
        return value(action) - jnp.mean(others)

    def result(self, state: LearnerState) -> VelocityField:
        return state.model
