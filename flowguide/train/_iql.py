from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from .._critic import Ensemble
from ..data import Batch
from ._learner import AbstractLearner, apply_gradient, init_state, LearnerState, weighted_mean


def value_loss(
    value: Float[Array, ""], target: Float[Array, ""], expectile: float
) -> Float[Array, ""]:
    r"""The asymmetric square $\lvert \tau - \mathbb 1(u < 0) \rvert\, u^2$, $u$ = target - value.

    Its minimiser is the target's `expectile`: 0.5 is the mean, towards 1 the maximum.

    Source: IQL, Kostrikov et al. (arXiv 2110.06169), equation 5; see `IQL`.
    """
    difference = target - value
    return jnp.where(difference < 0, 1 - expectile, expectile) * difference**2


def critic_loss(values: Float[Array, " K"], target: Float[Array, ""]) -> Float[Array, ""]:
    """The squared error of an ensemble's members against one target, summed over the members.

    Summed, so that each member's gradient does not depend on how many there are.
    """
    return jnp.sum((values - target) ** 2)


class IQLState(eqx.Module):
    """What IQL learns: the critic, its slow copy, and the state value."""

    critic: LearnerState
    target_critic: Ensemble
    value: LearnerState


class IQL(AbstractLearner):
    """Implicit Q-learning: a critic of the best actions in the data, learnt from the data alone.

    The value is regressed on the target critic of the dataset's actions by an expectile; the
    critic on `reward + discount * value(next_observation)`.

    **Arguments:**

    - `make_critic`: a callable from a key to a `flowguide.Ensemble`.
    - `make_value`: a callable from a key to a module `value(observation) -> scalar`.
    - `expectile`: in (0.5, 1): how far above the mean the value aims.
    - `target_rate`: how fast the target critic follows: `target += rate * (critic - target)`,
        after each critic step. (The published QGF code does it before, one step late.)
    - `optimiser`: an optax optimiser, used for critic and value alike.

    ??? cite "Reference"

        ```bibtex
        @inproceedings{kostrikov2022offline,
            title={Offline Reinforcement Learning with Implicit {Q}-Learning},
            author={Kostrikov, Ilya and Nair, Ashvin and Levine, Sergey},
            booktitle={International Conference on Learning Representations},
            year={2022},
        }
        ```
    """

    make_critic: Callable[[PRNGKeyArray], Ensemble]
    make_value: Callable[[PRNGKeyArray], Any]
    expectile: float = 0.9
    target_rate: float = 0.005
    optimiser: optax.GradientTransformation = optax.adam(3e-4)

    def __check_init__(self):
        if not 0 < self.expectile < 1:
            raise ValueError(f"expectile must be in (0, 1), got {self.expectile}.")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate must be in (0, 1], got {self.target_rate}.")

    def init(self, key: PRNGKeyArray) -> IQLState:
        critic_key, value_key = jr.split(key)
        critic = self.make_critic(critic_key)
        return IQLState(
            critic=init_state(critic, self.optimiser),
            target_critic=critic,
            value=init_state(self.make_value(value_key), self.optimiser),
        )

    def update(
        self, state: IQLState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[IQLState, dict[str, Array]]:
        del key  # Nothing in IQL is random but the batch.

        @eqx.filter_value_and_grad
        def loss_of_value(value):
            target = jax.vmap(state.target_critic)(batch.observation, batch.action)
            losses = jax.vmap(lambda v, q: value_loss(v, q, self.expectile))(
                jax.vmap(value)(batch.observation), target
            )
            return weighted_mean(losses, batch.weight)

        next_value = jax.vmap(state.value.model)(batch.next_observation)
        target = batch.reward + batch.discount * next_value

        @eqx.filter_value_and_grad
        def loss_of_critic(critic):
            values = jax.vmap(critic.values)(batch.observation, batch.action)
            return weighted_mean(jax.vmap(critic_loss)(values, target), batch.weight)

        value_loss_, value_gradient = loss_of_value(state.value.model)
        critic_loss_, critic_gradient = loss_of_critic(state.critic.model)
        critic = apply_gradient(state.critic, critic_gradient, self.optimiser)
        new_state = IQLState(
            critic=critic,
            target_critic=follow(state.target_critic, critic.model, self.target_rate),
            value=apply_gradient(state.value, value_gradient, self.optimiser),
        )
        return new_state, {"value_loss": value_loss_, "critic_loss": critic_loss_}


def follow(target: Any, model: Any, rate: float) -> Any:
    """The target, moved a step of `rate` towards the model."""
    new, static = eqx.partition(model, eqx.is_inexact_array)
    old = eqx.filter(target, eqx.is_inexact_array)
    return eqx.combine(optax.incremental_update(new, old, rate), static)
