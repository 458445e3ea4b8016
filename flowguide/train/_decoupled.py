from collections.abc import Callable

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from .._critic import Ensemble
from ..data import Batch
from ._critic import regress
from ._iql import bootstrap, IQL, IQLState, value_loss
from ._learner import AbstractLearner, follow, init_state, LearnerState


class DecoupledState(eqx.Module):
    """What `DecoupledIQL` learns.

    **Attributes:**

    - `chunk_critic`: of long chunks; the ensemble and its optimiser's state.
    - `short`: the critic of short chunks, its target and the value.
    """

    chunk_critic: LearnerState
    short: IQLState


class DecoupledIQL(AbstractLearner):
    r"""A critic of short chunks, which learns from one of longer chunks (decoupled Q-chunking).

    A long chunk carries a reward back in few bootstraps, and nobody can play it blindly. So one
    critic values the long chunks of the data, and another values their first actions, which a
    policy plays, by an expectile over what the data did after them:

    $$Q_H(s, a_{0:H}) \leftarrow \textstyle\sum_{i<H} \gamma^i r_i + \gamma^H V(s_H), \qquad
      Q(s, a_{0:h}) \leftarrow_{\tau_d} Q_H(s, a_{0:H}), \qquad
      V(s) \leftarrow_\tau \bar Q(s, a_{0:h})$$

    The last is `IQL`'s value.

    **Arguments:**

    - `make_chunk_critic`: a callable from a key to a `flowguide.Ensemble` of long chunks, as the
        batches have them.
    - `iql`: the learner of the short critic and the value: its parts, expectile $\tau$, rates and
        optimiser, which serves the long critic too.
    - `horizon`: $h$, the actions of a short chunk, which are the first of a long one.
    - `distil_expectile`: $\tau_d$ in (0, 1): 0.5 for the mean over what the data did after the
        short chunk, and more for the better of it.

    **Raises:**

    `ValueError` for an expectile outside (0, 1), and for batches whose chunks are shorter than
    `horizon`.

    Source: decoupled Q-chunking, DQC (arXiv 2512.10926), whose losses are cross-entropies of
    returns in [0, 1]; here returns have any scale, and losses are squares as in `IQL`. Its
    published settings have H = 25, h = 5, `distil_expectile` 0.5 or 0.8, the mean of two critics,
    and a quantile where `IQL` has an expectile.
    """

    make_chunk_critic: Callable[[PRNGKeyArray], Ensemble]
    iql: IQL
    horizon: int = eqx.field(static=True)
    distil_expectile: float = 0.5

    def __check_init__(self):
        if not 0 < self.distil_expectile < 1:
            raise ValueError(f"distil_expectile must be in (0, 1), got {self.distil_expectile}.")

    def init(self, key: PRNGKeyArray) -> DecoupledState:
        chunk_key, key = jr.split(key)
        chunk_critic = init_state(self.make_chunk_critic(chunk_key), self.iql.optimiser)
        return DecoupledState(chunk_critic, self.iql.init(key))

    def update(
        self, state: DecoupledState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[DecoupledState, dict[str, Array]]:
        del key  # Nothing is random but the batch.
        if batch.action.shape[1] < self.horizon:
            raise ValueError(
                f"A short chunk has {self.horizon} actions, and these batches have only "
                f"{batch.action.shape[1]}: expected windows of longer chunks."
            )
        iql, short, observation = self.iql, state.short, batch.observation
        action = batch.action[:, : self.horizon]
        value, value_loss_ = iql.update_value(short, observation, action, batch.weight)
        # Before its own step, as the published code does.
        claimed = jax.vmap(state.chunk_critic.model)(observation, batch.action)

        def distil(values: Array, target: Array) -> Array:
            return value_loss(values, target, self.distil_expectile).sum()

        samples = observation, action, claimed, batch.weight
        critic, critic_loss_ = regress(short.critic, iql.optimiser, *samples, distil)
        target_critic = follow(short.target_critic, critic.model, iql.target_rate)
        samples = observation, batch.action, bootstrap(short, batch), batch.weight
        chunk_critic, chunk_loss = regress(state.chunk_critic, iql.optimiser, *samples)
        losses = {"value_loss": value_loss_, "critic_loss": critic_loss_, "chunk_loss": chunk_loss}
        return DecoupledState(chunk_critic, IQLState(critic, target_critic, value)), losses

    def result(self, state: DecoupledState) -> Ensemble:
        return self.iql.result(state.short)
