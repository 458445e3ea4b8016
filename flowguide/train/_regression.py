from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from ..data import Batch
from ._critic import regress
from ._learner import AbstractLearner, init_state, LearnerState


class ReturnRegression(AbstractLearner):
    """A critic regressed on the returns that episodes had: nothing is bootstrapped.

    Of `Windows(..., returns="monte_carlo")` it learns the behaviour policy's value, of
    `returns="success_to_go"` Guided Action Flow's critic, `gamma ** (steps until success)`. It
    overfits: hold episodes back as validation data and keep the best (`train(keep_best=...)`).

    **Arguments:**

    - `make_critic`: a callable from a key to a `flowguide.Ensemble`, or another critic that has
        `members`, such as a `flowguide.EncodedCritic` of one.
    - `optimiser`: an optax optimiser.

    Source: Guided Action Flow (arXiv 2607.02092).
    """

    make_critic: Callable[[PRNGKeyArray], Any]
    optimiser: optax.GradientTransformation = optax.adam(3e-4)

    def init(self, key: PRNGKeyArray) -> LearnerState:
        return init_state(self.make_critic(key), self.optimiser)

    def update(
        self, state: LearnerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[LearnerState, dict[str, Array]]:
        del key  # Nothing is random but the batch.
        # Returns to the end leave nothing to bootstrap. For any others this loss would be wrong
        # without a word, so it is NaN, which stops the training.
        target = jnp.where(batch.discount == 0, batch.reward, jnp.nan)
        samples = batch.observation, batch.action, target, batch.weight
        state, loss = regress(state, self.optimiser, *samples)
        return state, {"loss": loss}

    def result(self, state: LearnerState) -> Any:
        return state.model
