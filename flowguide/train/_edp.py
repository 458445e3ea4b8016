from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from .._critic import Critic, value_of
from .._velocity import VelocityField
from ..data import Batch
from ._critic import valued_loss
from ._flow_matching import noisy_action, sample_noise
from ._learner import AbstractLearner, apply_gradient, init_state, LearnerState


class EDP(AbstractLearner):
    r"""A flow policy trained to be valued by a frozen critic, one step ahead (EDP).

    $$-\frac{Q(s, \hat a)}{\overline{|Q|}} + w\, \lVert v(t, a_t, s) - (a - \epsilon) \rVert^2,
      \qquad \hat a = \mathrm{clip}(a_t + (1 - t)\, v(t, a_t, s))$$

    The critic's gradient goes through one step of the flow and not through all of them. It is what
    `flowguide.qgf_jacobian` does at test time, learnt instead.

    **Arguments:**

    - `make_velocity`: a callable from a key to a velocity field, an `equinox.Module`.
    - `critic`: the frozen critic.
    - `weight`: $w$, of cloning against the critic; at infinity cloning alone counts. Values count
        in units of their mean size in a batch, so the weight does not depend on the critic's scale.
    - `optimiser`: an optax optimiser.
    - `num_steps`: the times, as in `FlowMatching`.
    - `low`, `high`: the bounds of actions, as in `flowguide.FlowPolicy`.

    **Raises:**

    `ValueError` for a weight that is not above 0.

    Source: efficient diffusion policies, Kang et al. (arXiv 2305.20081), for flows as in the QGF
    paper (arXiv 2606.11087), whose weights are 30 to 300.
    """

    make_velocity: Callable[[PRNGKeyArray], VelocityField]
    critic: Critic
    weight: float = 100.0
    optimiser: optax.GradientTransformation = optax.adam(3e-4)
    num_steps: int | None = None
    low: ArrayLike = -1.0
    high: ArrayLike = 1.0

    def __check_init__(self):
        if not self.weight > 0:
            raise ValueError(f"weight must be above 0, got {self.weight}.")

    def init(self, key: PRNGKeyArray) -> LearnerState:
        return init_state(self.make_velocity(key), self.optimiser)

    def update(
        self, state: LearnerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[LearnerState, dict[str, Array]]:
        noise, t = sample_noise(key, batch.action, self.num_steps)

        @eqx.filter_value_and_grad(has_aux=True)
        def loss(velocity):
            def of_sample(observation, action, noise, t):
                noisy = noisy_action(action, noise, t)
                predicted = velocity(t, noisy, observation)
                clean = jnp.clip(noisy + (1 - t) * predicted, self.low, self.high)
                error = jnp.mean((predicted - (action - noise)) ** 2)
                return value_of(self.critic, observation, clean), error

            samples = batch.observation, batch.action, noise, t
            return valued_loss(of_sample, self.weight, batch.weight, *samples)

        (_, losses), gradient = loss(state.model)
        return apply_gradient(state, gradient, self.optimiser), losses

    def result(self, state: LearnerState) -> VelocityField:
        return state.model
