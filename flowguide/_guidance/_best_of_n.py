import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from .._checks import as_positive_int
from .._critic import Critic, evaluate
from .._policy import AbstractPolicy, Trace
from ._base import AbstractGuidance, AbstractWrapper


class BestOfNPolicy(AbstractWrapper):
    """The best of `n` actions of another policy, by a critic. Made by `flowguide.best_of_n`."""

    policy: AbstractPolicy
    critic: Critic
    n: int = eqx.field(static=True)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.n, *self.policy.noise_shape)

    @eqx.filter_jit
    def from_noise(
        self, noise: Float[Array, "n *noise"], observation: PyTree
    ) -> Float[Array, "*action"]:
        self._check(noise)
        actions = jax.vmap(self.policy.from_noise, in_axes=(0, None))(noise, observation)
        return actions[self._winner(actions, observation)]

    @eqx.filter_jit
    def trace(self, noise: Float[Array, "n *noise"], observation: PyTree) -> Trace:
        """The path of the winning candidate."""
        self._check(noise)
        traces = jax.vmap(self.policy.trace, in_axes=(0, None))(noise, observation)
        winner = self._winner(traces.action, observation)
        return jax.tree.map(lambda x: x[winner], traces)

    def _winner(self, actions: Float[Array, "n *action"], observation: PyTree) -> Int[Array, ""]:
        return jnp.argmax(values_of(self.critic, actions, observation))

    def _check(self, noise: Array) -> None:
        if np.shape(noise) != self.noise_shape:
            raise ValueError(
                f"noise has shape {np.shape(noise)}, but best_of_n({self.n}) takes one noise for "
                f"each candidate: noise_shape is {self.noise_shape}."
            )


def values_of(
    critic: Critic, actions: Float[Array, "n *action"], observation: PyTree
) -> Float[Array, " n"]:
    """The value of each action; NaN, which argmax would call the largest, is the lowest."""
    values = jax.vmap(evaluate, in_axes=(None, None, 0))(critic, observation, actions)
    return jnp.where(jnp.isnan(values), -jnp.inf, values)


class BestOfN(AbstractGuidance):
    """The guidance that `flowguide.best_of_n` makes."""

    n: int = eqx.field(static=True)

    def __call__(self, policy: AbstractPolicy, critic: Critic) -> BestOfNPolicy:
        return BestOfNPolicy(policy, critic, self.n)


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
