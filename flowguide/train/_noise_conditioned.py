from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import as_positive_int
from .._critic import Critic, Ensemble, NoiseConditionedCritic
from ..data import Batch
from ._critic import critic_loss, regress
from ._flow_matching import noisy_action, sample_noise
from ._learner import AbstractLearner, init_state, LearnerState


class NoiseConditioned(AbstractLearner):
    r"""A critic of noisy actions, regressed on a frozen critic of the clean ones (RobustQ, CGQL).

    $$Q(s, a_t, t) \leftarrow Q(s, a), \qquad a_t = (1 - t)\,\epsilon + t\,a$$

    so that $Q(s, a_t, t)$ is what the clean action's value will be on average, given the noisy one;
    with a temperature $\tau$ above 0 it is the soft average,

    $$Q(s, a_t, t) = \frac1\tau \log \mathbb E\big[e^{\tau Q(s, a)} \mid a_t\big]$$

    `flowguide.robust_q` guides with its gradient. With a weight of $\tau (1 - t) / t$, which is
    `flowguide.ScoreWeight(tau)`, that of the soft average makes the policy
    $\pi(a \mid s)\, e^{\tau Q(s, a)}$: classifier guidance.

    **Arguments:**

    - `critic`: the frozen critic of clean actions.
    - `make_critic`: a callable from a key to a `flowguide.Ensemble` of
        `critic((observation, t), action)`, such as `nn.critic_ensemble(..., noisy=True)`.
    - `optimiser`: an optax optimiser.
    - `num_steps`: the times, as in `FlowMatching`.
    - `temperature`: $\tau$ at least 0, an inverse temperature, per unit of the critic. Above 0 the
        loss is no square but $\frac{2}{\tau^2} (e^\delta - \delta - 1)$, $\delta = \tau$ (target -
        value), which goes on as a straight line from `max_exponent` on.
    - `max_exponent`: the largest $\delta$ of which the exponential is taken, above 0.

    **Raises:**

    `ValueError` for a number of steps, a temperature or an exponent that makes no sense.

    Source: at temperature 0 the noise-conditioned baseline RobustQ in the QGF paper (arXiv
    2606.11087); above it CGQL-Linex in the QAM paper (arXiv 2601.14234), whose other variants are
    `flowguide.ood` and RobustQ. There policy, critic and this one are trained together.
    """

    critic: Critic
    make_critic: Callable[[PRNGKeyArray], Ensemble]
    optimiser: optax.GradientTransformation = optax.adam(3e-4)
    num_steps: int | None = None
    temperature: float = 0.0
    max_exponent: float = 5.0

    def __check_init__(self):
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be finite and at least 0, got {self.temperature}.")
        if not self.max_exponent > 0:
            raise ValueError(f"max_exponent must be above 0, got {self.max_exponent}.")
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
        state, loss = regress(state, self.optimiser, *samples, self.member_loss)
        return state, {"loss": loss}

    def member_loss(self, values: Float[Array, " K"], target: Float[Array, ""]) -> Array:
        """The loss of an ensemble's members, which is least at the soft average of the target."""
        if self.temperature == 0:
            return critic_loss(values, target)
        exponent = self.temperature * (target - values)
        inside = jnp.minimum(exponent, self.max_exponent)
        # The exponential, and beyond the largest exponent its tangent.
        grown = jnp.exp(inside) * (1 + exponent - inside)
        return 2 * (grown - exponent - 1).sum() / self.temperature**2

    def result(self, state: LearnerState) -> NoiseConditionedCritic:
        return NoiseConditionedCritic(state.model)
