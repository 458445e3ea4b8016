from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import as_positive_int
from .._cost import Cost
from .._critic import Critic, ranked, share_unknown, values_of
from .._policy import AbstractPolicy, AbstractWrapper, Acted, raw_observation, Trace
from .._pytree import PyTree
from .base import AbstractGuidance, valued


class BestOfNPolicy(AbstractWrapper):
    """The best of `n` actions of another policy, by a critic. Made by `flowguide.best_of_n`."""

    policy: AbstractPolicy
    critic: Critic
    guidance: "BestOfN"

    @property
    def n(self) -> int:
        """How many candidates there are."""
        return self.guidance.n

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.n, *self.policy.noise_shape)

    def _act(self, noise: Float[Array, "n *noise"], observation: PyTree) -> Acted:
        best, dropped = self._best(self.policy.act, noise, observation)
        return Acted(best.action, jnp.maximum(best.dropped, dropped))

    def _trace(self, noise: Float[Array, "n *noise"], observation: PyTree) -> Trace:
        """The path of the winning candidate."""
        return self._best(self.policy.trace, noise, observation)[0]

    def _best(
        self, call: Callable[..., Any], noise: Array, observation: PyTree
    ) -> tuple[Any, Float[Array, ""]]:
        """What became of the winner, and the share of candidates without a value."""
        if np.shape(noise) != self.noise_shape:
            raise ValueError(
                f"noise has shape {np.shape(noise)}, but best_of_n({self.n}) takes one noise for "
                f"each candidate: noise_shape is {self.noise_shape}."
            )
        candidates = jax.vmap(call, in_axes=(0, None))(noise, observation)
        values = values_of(self.critic, candidates.action, raw_observation(observation))
        winner: Int[Array, ""] = jnp.argmax(ranked(values))
        best = jax.tree.map(lambda x: x[winner], candidates)
        return best, share_unknown(values)

    def costs(self) -> tuple[Cost, Cost] | None:
        costs = self.policy.costs()
        if costs is None:
            return None
        return costs[0], self.n * (costs[1] + Cost(critic_values=1))


class BestOfN(AbstractGuidance):
    """The guidance that `flowguide.best_of_n` makes."""

    n: int = eqx.field(static=True)

    def __call__(self, policy: AbstractPolicy, critic: Critic | None) -> BestOfNPolicy:
        return BestOfNPolicy(policy, valued(critic, "best_of_n"), self)


def best_of_n(n: int = 4) -> BestOfN:
    """Samples `n` actions and keeps the one that the critic values most.

    The noise of the guided policy has shape `(n, *noise_shape)`. A candidate with value NaN never
    wins against another.

    **Arguments:**

    - `n`: how many candidates, at least 1.

    **Returns:**

    A guidance for any policy. Costs `n` actions and `n` critic values.

    **Raises:**

    `ValueError` if `n` is not an integer of at least 1.

    Source: the policy extraction of IDQL, Hansen-Estruch et al. (arXiv 2304.10573, algorithm 2,
    with the greedy choice).
    """
    return BestOfN(as_positive_int("n", n))
