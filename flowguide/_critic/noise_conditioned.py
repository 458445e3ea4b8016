from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._dtypes import solve_dtype
from .._pytree import PyTree
from .arithmetic import CriticArithmetic
from .value import Critic, members_of, value_of


class NoiseConditionedCritic(CriticArithmetic):
    r"""A critic that knows how noisy an action is: $Q(o, a_t, t)$, with $t = 1$ for a clean one.

    It is a critic like any other, of clean actions. Gradient guidance that asks about the noisy
    action itself (`flowguide.robust_q`, `flowguide.ood`) asks it with the time at hand, also inside
    sums, switches and ensembles.

    **Arguments:**

    - `critic`: a critic `critic((observation, t), action)`, an `Ensemble` or not.
    - `time`: the `t` that it is asked with.
    """

    critic: Critic
    time: Any = 1.0

    def at(self, t: float | Float[Array, ""]) -> "NoiseConditionedCritic":
        """The critic of actions of cleanness `t`."""
        return NoiseConditionedCritic(self.critic, t)

    def members(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, " K"]:
        """The values of the members of `critic`, shape `(K,)`."""
        return members_of(self.critic, self._timed(observation, action), action)

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        return value_of(self.critic, self._timed(observation, action), action)

    def _timed(self, observation: PyTree, action: Array) -> tuple[PyTree, Array]:
        return observation, jnp.asarray(self.time).astype(solve_dtype(action.dtype))
