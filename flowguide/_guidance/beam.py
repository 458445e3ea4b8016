from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import as_positive_int
from .._cost import Cost
from .._critic import Critic, ranked, share_unknown, values_of
from .._dtypes import solve_dtype
from .._estimate import refuse_step_to
from .._policy import AbstractWrapper, Acted, FlowPolicy, raw_observation, Trace
from .._pytree import PyTree
from .base import AbstractGuidance, valued


class BeamPolicy(AbstractWrapper):
    """A beam search over the actions of a flow policy. Made by `flowguide.beam`."""

    policy: FlowPolicy
    critic: Critic
    guidance: "Beam"

    @property
    def noise_shape(self) -> tuple[int, ...]:
        rounds = 1 + len(self.guidance.levels)
        return (rounds, self.guidance.n, *self.policy.noise_shape)

    def _act(self, noise: Float[Array, "rounds n *noise"], observation: PyTree) -> Acted:
        self._check(noise)
        first = jax.vmap(self.policy.act, in_axes=(0, None))(noise[0], observation)
        # Of the first round: the further ones go on from there.
        values = self._values(first.action, observation)
        action = self._best(first.action, values, noise, observation)
        return Acted(action, jnp.maximum(jnp.mean(first.dropped), share_unknown(values)))

    def _trace(self, noise: Float[Array, "rounds n *noise"], observation: PyTree) -> Trace:
        """The path of the first candidate; only its finished `action` is the winner."""
        self._check(noise)
        traces = jax.vmap(self.policy.trace, in_axes=(0, None))(noise[0], observation)
        first = jax.tree.map(lambda x: x[0], traces)
        values = self._values(traces.action, observation)
        best = self._best(traces.action, values, noise, observation)
        return eqx.tree_at(lambda t: t.action, first, best)

    def _best(
        self,
        first: Float[Array, "n *action"],
        values: Float[Array, " n"],
        noise: Array,
        observation: PyTree,
    ) -> Float[Array, "*action"]:
        """The winner, once the first round is played."""
        kept, values = self._keep(first, values)
        for fresh, level in zip(noise[1:], self.guidance.levels, strict=True):
            candidates = self._go_on(kept, fresh, level, observation)
            fresh_values = self._values(candidates, observation)
            kept, values = self._keep(
                jnp.concatenate([kept, candidates]), jnp.concatenate([values, fresh_values])
            )
        return kept[0]

    def _check(self, noise: Array) -> None:
        if np.shape(noise) != self.noise_shape:
            raise ValueError(
                f"noise has shape {np.shape(noise)}, but a beam takes one noise for each candidate "
                f"of each round: noise_shape is {self.noise_shape}."
            )

    def _keep(
        self, actions: Float[Array, "m *action"], values: Float[Array, " m"]
    ) -> tuple[Float[Array, "keep *action"], Float[Array, " keep"]]:
        """The best, the best one first."""
        values, best = jax.lax.top_k(ranked(values), self.guidance.keep)
        return actions[best], values

    def _go_on(
        self, kept: Float[Array, "keep *action"], fresh: Array, level: float, observation: PyTree
    ) -> Float[Array, "n *action"]:
        """Candidates that are the kept ones with noise, denoised again."""

        dtype = solve_dtype(fresh.dtype)

        def one(noise, parent):
            noisy = (1 - level) * noise.astype(dtype) + level * parent.astype(dtype)
            return self.policy.finish(noisy, observation, t0=level).astype(noise.dtype)

        parents = kept[jnp.arange(self.guidance.n) % self.guidance.keep]
        return jax.vmap(one)(fresh, parents)

    def _values(self, actions: Float[Array, "m *action"], observation: PyTree) -> Array:
        return values_of(self.critic, actions, raw_observation(observation))

    def costs(self) -> tuple[Cost, Cost] | None:
        costs = self.policy.costs()
        if costs is None:
            return None
        flow, n = self.policy.flow_cost(), self.guidance.n
        # Times are known while a program is traced, too.
        with jax.ensure_compile_time_eval():
            each = costs[1] + sum((flow.rest(level) for level in self.guidance.levels), Cost())
        values = Cost(critic_values=n * (1 + len(self.guidance.levels)))
        return costs[0], n * each + values


class Beam(AbstractGuidance):
    """The guidance that `flowguide.beam` makes."""

    n: int = eqx.field(static=True)
    keep: int = eqx.field(static=True)
    levels: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, policy: Any, critic: Critic | None) -> BeamPolicy:
        if not isinstance(policy, FlowPolicy):
            raise ValueError(
                "A beam denoises from the middle of a flow: it needs a flowguide.FlowPolicy, got a "
                f"{type(policy).__name__}."
            )
        refuse_step_to(policy)
        return BeamPolicy(policy, valued(critic, "beam"), self)


def beam(n: int = 4, keep: int = 1, levels: Sequence[float] = (0.5,)) -> Beam:
    r"""Best of n with a beam: keep the best, noise them again, denoise, and choose once more.

    The first round is `flowguide.best_of_n(n)`. In each further one the best `keep` actions so far
    are noised to a level $t$, $a_t = (1 - t)\,\epsilon + t\,a$, in turn until there are `n`, and
    the flow goes on from there. What was kept stays in the running, so the value never falls.

    **Arguments:**

    - `n`: candidates in each round, at least 1.
    - `keep`: how many of them go on, from 1 to `n`.
    - `levels`: of each further round, the time in [0, 1] that it goes back to: near 0 a new
        action, near 1 a small change. Steps of the flow are counted from there.

    **Returns:**

    A guidance for a `flowguide.FlowPolicy`, guided or not. Its noise has the shape
    `(1 + len(levels), n, *noise_shape)`. Costs `n` actions, for each level `n` times the part of
    the flow that is left, and `n` critic values a round.

    **Raises:**

    `ValueError` for numbers or levels that make no sense. When applied: for a policy that is no
    flow policy.

    Source: the beam search with renewed noise of Flow Map Q-guidance (arXiv 2605.12416), here with
    the flow solved where they jump.
    """
    n, keep = as_positive_int("n", n), as_positive_int("keep", keep)
    if keep > n:
        raise ValueError(f"keep must be at most n, got keep={keep} and n={n}.")
    levels = tuple(float(level) for level in levels)
    if not all(0 <= level <= 1 for level in levels):
        raise ValueError(f"levels are times in [0, 1], got {levels}.")
    return Beam(n, keep, levels)
