from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, PRNGKeyArray

from .._critic import Critic, value_of
from .._policy import FlowPolicy
from .._velocity import VelocityField
from ..data import Batch
from ._critic import valued_loss
from ._learner import AbstractLearner, apply_gradient, init_state, LearnerState


class FQL(AbstractLearner):
    r"""A policy of one step, distilled from a frozen flow policy and valued by a frozen critic.

    $$\alpha\, \lVert \mu(s, \epsilon) - \pi(s, \epsilon) \rVert^2 -
      \frac{Q(s, \mu(s, \epsilon))}{\overline{|Q|}}$$

    with $\pi(s, \epsilon)$ the flow policy's action from the noise. The student is a flow policy
    with one Euler step, $\mu(s, \epsilon) = \mathrm{clip}(\epsilon + v(0, \epsilon, s))$, so that
    whatever takes a policy takes it, guidance included.

    **Arguments:**

    - `make_velocity`: a callable from a key to the student's velocity field, an `equinox.Module`.
    - `policy`: the frozen flow policy.
    - `critic`: the frozen critic.
    - `alpha`: $\alpha$ above 0, of the teacher against the critic; at infinity the teacher alone
        counts. The squared distance is averaged over the action's entries, and values count in
        units of their mean size in a batch, so alpha does not depend on the critic's scale.
    - `optimiser`: an optax optimiser.

    **Returns:**

    Of `result`: a `flowguide.FlowPolicy` of one step.

    **Raises:**

    `ValueError` for an alpha that is not above 0.

    Source: flow Q-learning, Park, Li and Levine (arXiv 2502.02538), with its normalised values. Of
    a teacher that `QAM` tuned, it is QAM's variant of one step, QAM-F (arXiv 2601.14234).
    """

    make_velocity: Callable[[PRNGKeyArray], VelocityField]
    policy: FlowPolicy
    critic: Critic
    alpha: float = 100.0
    optimiser: optax.GradientTransformation = optax.adam(3e-4)

    def __check_init__(self):
        if not self.alpha > 0:
            raise ValueError(f"alpha must be above 0, got {self.alpha}.")

    def init(self, key: PRNGKeyArray) -> LearnerState:
        return init_state(self.make_velocity(key), self.optimiser)

    def update(
        self, state: LearnerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[LearnerState, dict[str, Array]]:
        teacher: Any = self.policy
        noise = jr.normal(key, (len(batch.weight), *teacher.noise_shape))
        targets = jax.vmap(teacher.from_noise)(noise, batch.observation)

        @eqx.filter_value_and_grad(has_aux=True)
        def loss(velocity):
            def of_sample(observation, noise, target):
                # Not clipped where it is compared: what is outside would never come back.
                action = noise + velocity(jnp.zeros(()), noise, observation)
                distance = jnp.mean((action - target) ** 2)
                return value_of(self.critic, observation, teacher.clip(action)), distance

            samples = batch.observation, noise, targets
            return valued_loss(of_sample, self.alpha, batch.weight, *samples)

        (_, losses), gradient = loss(state.model)
        return apply_gradient(state, gradient, self.optimiser), losses

    def result(self, state: LearnerState) -> FlowPolicy:
        teacher = self.policy
        return FlowPolicy(
            state.model, teacher.action_shape, num_steps=1, low=teacher.low, high=teacher.high
        )
