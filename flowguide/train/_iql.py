from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._critic import Ensemble
from ..data import Batch
from ._critic import regress
from ._learner import (
    AbstractLearner,
    apply_gradient,
    check_rate,
    follow,
    init_state,
    LearnerState,
    mean_loss,
)


def value_loss(
    value: Float[Array, "*K"], target: Float[Array, ""], expectile: float
) -> Float[Array, "*K"]:
    r"""The asymmetric square $\lvert \tau - \mathbb 1(u < 0) \rvert\, u^2$, $u$ = target - value.

    **Arguments:**

    - `value`: $V(o)$, shape `()`, or the values of K critics, shape `(K,)`.
    - `target`: what it is regressed on, the target critic's value of an action, shape `()`.
    - `expectile`: $\tau$ in (0, 1), of the target's distribution, which is what the loss is least
        at: 0.5 is the mean, towards 1 the maximum.

    **Returns:**

    The loss, shaped like `value`, in its squared units.

    Source: IQL, Kostrikov et al. (arXiv 2110.06169), equation 5; see `IQL`.
    """
    difference = target - value
    return jnp.where(difference < 0, 1 - expectile, expectile) * difference**2


class IQLState(eqx.Module):
    """What IQL learns.

    **Attributes:**

    - `critic`: the ensemble and its optimiser's state.
    - `target_critic`: a slow copy of it.
    - `value`: the state value and its optimiser's state.
    """

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
        check_rate("target_rate", self.target_rate)

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
        value, value_loss_ = self.update_value(state, batch.observation, batch.action, batch.weight)
        samples = batch.observation, batch.action, bootstrap(state, batch), batch.weight
        critic, critic_loss_ = regress(state.critic, self.optimiser, *samples)
        target_critic = follow(state.target_critic, critic.model, self.target_rate)
        losses = {"value_loss": value_loss_, "critic_loss": critic_loss_}
        return IQLState(critic, target_critic, value), losses

    def update_value(
        self, state: IQLState, observation: PyTree, action: Array, weight: Array
    ) -> tuple[LearnerState, Float[Array, ""]]:
        """One step of the value towards the target critic's expectile, and its loss."""
        targets = jax.vmap(state.target_critic)(observation, action)

        @eqx.filter_value_and_grad
        def loss(value):
            def of_sample(observation, target):
                return value_loss(value(observation), target, self.expectile)

            return mean_loss(of_sample, weight, observation, targets)

        found, gradient = loss(state.value.model)
        return apply_gradient(state.value, gradient, self.optimiser), found

    def result(self, state: IQLState) -> Ensemble:
        return state.target_critic


def bootstrap(state: IQLState, batch: Batch) -> Float[Array, " batch"]:
    """What the critic is regressed on: the reward, and the value of what comes after it."""
    return batch.reward + batch.discount * jax.vmap(state.value.model)(batch.next_observation)
