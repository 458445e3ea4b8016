from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._pytree import PyTree
from .arithmetic import CriticArithmetic, like_each_other
from .value import Critic, critic_at, members_of, value_of


class Switch(CriticArithmetic):
    """One critic where a condition holds, another where it does not.

    ```python
    flowguide.Switch(lambda o: o[0] > 0, carry, reach)
    ```

    **Arguments:**

    - `condition`: a callable from the observation to a boolean scalar.
    - `if_true`, `if_false`: critics.
    """

    condition: Callable[[PyTree], Any]
    if_true: Critic
    if_false: Critic

    def at(self, t: float | Float[Array, ""]) -> "Switch":
        """The switch between those that both critics ask about an action of cleanness `t`."""
        return Switch(self.condition, critic_at(self.if_true, t), critic_at(self.if_false, t))

    def members(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, " K"]:
        """The values of the members of the critic that counts, shape `(K,)`."""
        values = like_each_other(
            [members_of(critic, observation, action) for critic in (self.if_true, self.if_false)]
        )
        return jax.lax.select(self._holds(observation), *values)

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        # Not `where`, whose gradient is NaN if that of the branch that does not count is.
        return jax.lax.cond(
            self._holds(observation),
            lambda: value_of(self.if_true, observation, action),
            lambda: value_of(self.if_false, observation, action),
        )

    def _holds(self, observation: PyTree) -> Bool[Array, ""]:
        holds = jnp.asarray(self.condition(observation))
        if holds.shape != () or holds.dtype != bool:
            raise ValueError(
                "The condition of a Switch is one boolean, got an array of shape "
                f"{holds.shape} and dtype {holds.dtype}."
            )
        return holds
