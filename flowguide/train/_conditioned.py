from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, PRNGKeyArray

from .._velocity import BAD, ClassifierFreeVelocity, GOOD, UNKNOWN, VelocityField
from ..data import Batch
from ._flow_matching import flow_matching_loss, sample_noise
from ._iql import IQL, IQLState
from ._learner import AbstractLearner, apply_gradient, init_state, LearnerState, mean_loss


class ConditionedState(eqx.Module):
    """What `Conditioned` learns.

    **Attributes:**

    - `velocity`: the field and its optimiser's state.
    - `critic`: the critic and the value that label actions.
    """

    velocity: LearnerState
    critic: IQLState


class Conditioned(AbstractLearner):
    r"""A policy whose condition is whether an action is good, for `flowguide.cfg` (CFGRL).

    Each action of a batch is labelled good if its advantage $Q(o, a) - V(o)$ is at least 0, by a
    critic and a value that IQL learns on the same batches, and the velocity field is cloned from
    observation and label, which is hidden from it every tenth time.

    **Arguments:**

    - `make_velocity`: a callable from a key to a field `velocity(t, action, (observation, label))`,
        such as `nn.VelocityMLP(..., num_labels=2)`. Labels are 1 (good), 0 (not) and -1 (unknown).
    - `critic`: the learner of critic and value. An `expectile` of 0.5 makes the advantage that of
        the data's own policy, as in CFGRL; a higher one asks for better actions.
    - `optimiser`: an optax optimiser, of the velocity field.
    - `dropout`: how often the label is hidden, in (0, 1).
    - `num_steps`: the times, as in `FlowMatching`.

    **Returns:**

    Of `result`: a dictionary with the `policy`'s `flowguide.ClassifierFreeVelocity`, unconditional
    until `flowguide.cfg` guides it, and the `critic`.

    **Raises:**

    `ValueError` for a dropout outside (0, 1).

    Source: CFGRL, Frans et al. (arXiv 2505.23458); see `flowguide.ClassifierFreeVelocity`.
    """

    make_velocity: Callable[[PRNGKeyArray], VelocityField]
    critic: IQL
    optimiser: optax.GradientTransformation = optax.adam(3e-4)
    dropout: float = 0.1
    num_steps: int | None = None

    def __check_init__(self):
        if not 0 < self.dropout < 1:
            raise ValueError(f"dropout must be in (0, 1), got {self.dropout}.")

    def init(self, key: PRNGKeyArray) -> ConditionedState:
        velocity_key, critic_key = jr.split(key)
        velocity = init_state(self.make_velocity(velocity_key), self.optimiser)
        return ConditionedState(velocity, self.critic.init(critic_key))

    def update(
        self, state: ConditionedState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[ConditionedState, dict[str, Array]]:
        noise_key, label_key, critic_key = jr.split(key, 3)
        noise, t = sample_noise(noise_key, batch.action, self.num_steps)
        is_good = self.is_good(state, batch)
        is_hidden = jr.bernoulli(label_key, self.dropout, is_good.shape)
        labels = jnp.where(is_hidden, UNKNOWN, jnp.where(is_good, GOOD, BAD))

        @eqx.filter_value_and_grad
        def loss(velocity):
            return mean_loss(
                lambda *sample: flow_matching_loss(velocity, *sample),
                batch.weight,
                *((batch.observation, labels), batch.action, noise, t),
            )

        value, gradient = loss(state.velocity.model)
        velocity = apply_gradient(state.velocity, gradient, self.optimiser)
        critic, losses = self.critic.update(state.critic, batch, critic_key)
        share = jnp.sum(is_good * batch.weight) / jnp.sum(batch.weight)
        return ConditionedState(velocity, critic), {"loss": value, "good": share, **losses}

    def is_good(self, state: ConditionedState, batch: Batch) -> Array:
        """Which actions of a batch are at least as good as the value of their observation."""
        values = jax.vmap(state.critic.value.model)(batch.observation)
        return jax.vmap(state.critic.target_critic)(batch.observation, batch.action) >= values

    def result(self, state: ConditionedState) -> dict[str, Any]:
        velocity = ClassifierFreeVelocity(state.velocity.model)
        return {"policy": velocity, "critic": self.critic.result(state.critic)}
