from collections.abc import Callable

import jax
import optax
from jaxtyping import Array, PRNGKeyArray

from .._checks import as_positive_int
from .._critic import Critic, Ensemble, NoiseConditionedCritic
from ..data import Batch
from ._critic import regress
from ._flow_matching import noisy_action, sample_noise
from ._learner import AbstractLearner, init_state, LearnerState


class NoiseConditioned(AbstractLearner):
    r"""A critic of noisy actions, regressed on a frozen critic of the clean ones (RobustQ).

    $$Q(s, a_t, t) \leftarrow Q(s, a), \qquad a_t = (1 - t)\,\epsilon + t\,a$$

    so that $Q(s, a_t, t)$ is what the clean action's value will be on average, given the noisy one.
    `flowguide.robust_q` guides with its gradient.

    **Arguments:**

    - `critic`: the frozen critic of clean actions.
    - `make_critic`: a callable from a key to a `flowguide.Ensemble` of
        `critic((observation, t), action)`, such as `nn.critic_ensemble(..., noisy=True)`.
    - `optimiser`: an optax optimiser.
    - `num_steps`: the times, as in `FlowMatching`.

    Source: the noise-conditioned baseline RobustQ in the QGF paper (arXiv 2606.11087).
    """

    critic: Critic
    make_critic: Callable[[PRNGKeyArray], Ensemble]
    optimiser: optax.GradientTransformation = optax.adam(3e-4)
    num_steps: int | None = None

    def __check_init__(self):
        if self.num_steps is not None:
            as_positive_int("num_steps", self.num_steps)

    def init(self, key: PRNGKeyArray) -> LearnerState:
        return init_state(self.make_critic(key), self.optimiser)

    def update(
        self, state: LearnerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[LearnerState, dict[str, Array]]:
        noise, t = sample_noise(key, batch.action, self.num_steps)
        target = jax.vmap(self.critic)(batch.observation, batch.action)
        noisy = jax.vmap(noisy_action)(batch.action, noise, t)
        samples = (batch.observation, t), noisy, target, batch.weight
        state, loss = regress(state, self.optimiser, *samples)
        return state, {"loss": loss}

    def result(self, state: LearnerState) -> NoiseConditionedCritic:
        return NoiseConditionedCritic(state.model)
