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
    r"""A critic bootstrapped from the actions that a frozen policy, or the data, would take next.

    $$Q(s, a) \leftarrow r + \gamma^h\, \bar Q(s', a'), \qquad a' \sim \pi(\cdot \mid s')$$

    Unguided, this is the policy's own value (fitted Q evaluation); with the guidance that will be
    used at test time, it is the value of the guided policy, and the critic improves on itself.
    Without a policy it is the value of whoever made the data (SARSA).

    **Arguments:**

    - `make_critic`: a callable from a key to a `flowguide.Ensemble`. Its reduction is the pessimism
        of the targets: `flowguide.Pessimism(rho)` for `mean - rho * std`, or `"min"`.
    - `policy`: the frozen policy, not learnt here. None for the data's own next actions, which
        `flowguide.data.Windows(..., next_actions=True)` gives.
    - `guidance`: a guidance, or a sequence of them, that the next actions are sampled with; it
        reads the target critic. None for the policy as it is.
    - `target_rate`: as in `IQL`.
    - `optimiser`: an optax optimiser.

    **Raises:**

    `ValueError` for guidance without a policy, and for batches without next actions where they are
    needed.

    Source: the target of Q-learning with a frozen behaviour policy, as in EMaQ (Ghasemipour et al.,
    arXiv 2007.11091) with `best_of_n` as guidance; the ensemble's lower confidence bound as in
    Q-learning with adjoint matching (github.com/ColinQiyangLi/qam).
    """

    make_critic: Callable[[PRNGKeyArray], Ensemble]
    policy: AbstractPolicy | None
    guidance: AbstractGuidance | Sequence[AbstractGuidance] | None = None
    target_rate: float = 0.005
    optimiser: optax.GradientTransformation = optax.adam(3e-4)

    def __check_init__(self):
        check_rate("target_rate", self.target_rate)
        if self.policy is None and self.guidance is not None:
            raise ValueError("guidance guides a policy, and policy is None.")

    def init(self, key: PRNGKeyArray) -> BootstrappedState:
        critic = self.make_critic(key)
        return BootstrappedState(init_state(critic, self.optimiser), critic)

    def update(
        self, state: BootstrappedState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[BootstrappedState, dict[str, Array]]:
        next_actions = self._next_actions(state, batch, key)
        next_values = jax.vmap(state.target_critic)(batch.next_observation, next_actions)
        targets = batch.reward + batch.discount * next_values

        samples = batch.observation, batch.action, targets, batch.weight
        critic, loss = regress(state.critic, self.optimiser, *samples)
        target_critic = follow(state.target_critic, critic.model, self.target_rate)
        return BootstrappedState(critic, target_critic), {"loss": loss}

    def _next_actions(self, state: BootstrappedState, batch: Batch, key: PRNGKeyArray) -> Array:
        policy: Any = self.policy
        if policy is None:
            if batch.next_action is None:
                raise ValueError(
                    "Without a policy the critic learns from the data's next actions, and this "
                    "batch has none: expected one of Windows(..., next_actions=True)."
                )
            return batch.next_action
        if self.guidance is not None:
            policy = guide(policy, state.target_critic, self.guidance)
        keys = jr.split(key, len(batch.weight))
        return jax.vmap(lambda o, k: policy(o, key=k))(batch.next_observation, keys)

    def result(self, state: BootstrappedState) -> Ensemble:
        return state.target_critic
