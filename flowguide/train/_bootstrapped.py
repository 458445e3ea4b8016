from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import optax
from jaxtyping import Array, PRNGKeyArray

from .._critic import Ensemble
from .._guidance import AbstractGuidance
from .._guide import guide
from .._policy import AbstractPolicy
from ..data import Batch
from ._critic import regress
from ._learner import AbstractLearner, check_rate, follow, init_state, LearnerState


class BootstrappedState(eqx.Module):
    """What `Bootstrapped` learns.

    **Attributes:**

    - `critic`: the ensemble and its optimiser's state.
    - `target_critic`: a slow copy of it, which its targets come from.
    """

    critic: LearnerState
    target_critic: Ensemble


class Bootstrapped(AbstractLearner):
    r"""A critic of a frozen policy, bootstrapped from the actions that the policy would take next.

    $$Q(s, a) \leftarrow r + \gamma^h\, \bar Q(s', a'), \qquad a' \sim \pi(\cdot \mid s')$$

    Unguided, this is the policy's own value (fitted Q evaluation); with the guidance that will be
    used at test time, it is the value of the guided policy, and the critic improves on itself.

    **Arguments:**

    - `make_critic`: a callable from a key to a `flowguide.Ensemble`. Its reduction is the pessimism
        of the targets: `flowguide.Pessimism(rho)` for `mean - rho * std`, or `"min"`.
    - `policy`: the frozen policy, not learnt here.
    - `guidance`: a guidance, or a sequence of them, that the next actions are sampled with; it
        reads the target critic. None for the policy as it is.
    - `target_rate`: as in `IQL`.
    - `optimiser`: an optax optimiser.

    Source: the target of Q-learning with a frozen behaviour policy, as in EMaQ (Ghasemipour et al.,
    arXiv 2007.11091) with `best_of_n` as guidance; the ensemble's lower confidence bound as in
    Q-learning with adjoint matching (github.com/ColinQiyangLi/qam).
    """

    make_critic: Callable[[PRNGKeyArray], Ensemble]
    policy: AbstractPolicy
    guidance: AbstractGuidance | Sequence[AbstractGuidance] | None = None
    target_rate: float = 0.005
    optimiser: optax.GradientTransformation = optax.adam(3e-4)

    def __check_init__(self):
        check_rate("target_rate", self.target_rate)

    def init(self, key: PRNGKeyArray) -> BootstrappedState:
        critic = self.make_critic(key)
        return BootstrappedState(init_state(critic, self.optimiser), critic)

    def update(
        self, state: BootstrappedState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[BootstrappedState, dict[str, Array]]:
        policy: Any = self.policy
        if self.guidance is not None:
            policy = guide(policy, state.target_critic, self.guidance)

        def next_value(observation, key):
            return state.target_critic(observation, policy(observation, key=key))

        keys = jr.split(key, len(batch.weight))
        next_values = jax.vmap(next_value)(batch.next_observation, keys)
        targets = batch.reward + batch.discount * next_values

        samples = batch.observation, batch.action, targets, batch.weight
        critic, loss = regress(state.critic, self.optimiser, *samples)
        target_critic = follow(state.target_critic, critic.model, self.target_rate)
        return BootstrappedState(critic, target_critic), {"loss": loss}

    def result(self, state: BootstrappedState) -> Ensemble:
        return state.target_critic
