import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._cost import Cost
from .._flops import count_flops
from .._notebook import policy_html
from .._pytree import PyTree
from .._random import seed_key


class Trace(eqx.Module):
    """The path of one action from noise, as `policy.trace(noise, observation)` returns it.

    The first axis runs over the solver's accepted points, `t = 0` first and `t = 1` last; an
    adaptive solver leaves unused points at the end, filled with NaN. No step starts at the last
    point, so velocities and what belongs to them are NaN there.

    **Attributes:**

    - `action`: the finished action, shape `(*action)`: what `from_noise` returns.
    - `times`: shape `(T,)`.
    - `actions`: the noisy actions, shape `(T, *action)`.
    - `velocities`: guided velocities there, shape `(T, *action)`.
    - `guidance`: the part of them that guidance added, shape `(T, *action)`.
    - `clean_actions`: where the critic was differentiated, shape `(T, *action)`; NaN if unguided.
    - `values`: the critic's values there, shape `(T,)`; NaN if unguided, or not known.
    - `num_nonfinite`: the number of steps left unguided because a gradient was not finite.
    """

    action: Float[Array, "*action"]
    times: Float[Array, " T"]
    actions: Float[Array, "T *action"]
    velocities: Float[Array, "T *action"]
    guidance: Float[Array, "T *action"]
    clean_actions: Float[Array, "T *action"]
    values: Float[Array, " T"]
    num_nonfinite: Int[Array, ""]


class Acted(eqx.Module):
    """An action, and how it came about; what `policy.act` returns.

    **Attributes:**

    - `action`: shape `(*action)`: what `from_noise` returns.
    - `dropped`: the share, in [0, 1], of the flow's steps that were left unguided because a
        gradient was not finite, shape `()`. NaN where it is not known.
    """

    action: Float[Array, "*action"]
    dropped: Float[Array, ""]


class Prepared(eqx.Module):
    """An observation with what is computed from it once an action; made by `policy.prepare`.

    **Attributes:**

    - `observation`: what critics are asked about: as it was given, or what the policy's `observe`
        made of it.
    - `encoded`: what the policy's `encode` made of it; what the velocity field is asked about.
    - `weights`: the weight of each guidance at this observation.
    - `steering`: what the policy's `steer` made of it: a callable from noise to noise, or None.
    """

    observation: PyTree
    encoded: PyTree
    weights: tuple[Any, ...]
    steering: Any = None


def raw_observation(observation: PyTree) -> PyTree:
    """What critics are asked about, of an observation that is prepared or not."""
    return observation.observation if isinstance(observation, Prepared) else observation


class AbstractPolicy(eqx.Module):
    """A deterministic map from Gaussian noise to an action.

    `policy(observation, key=key)` equals
    `policy.from_noise(jax.random.normal(key, policy.noise_shape), observation)`, so that two
    policies can be compared on the same noise. Unbatched: use `flowguide.sample` or `jax.vmap`.

    A policy of your own has `bounds`, `noise_shape`, `from_noise` and `trace`; the other methods
    have defaults.
    """

    @property
    @abc.abstractmethod
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest action, each of shape `()` or of the action's."""

    @property
    @abc.abstractmethod
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of the noise that `from_noise` takes."""

    @abc.abstractmethod
    def from_noise(
        self, noise: Float[Array, "*noise"], observation: PyTree
    ) -> Float[Array, "*action"]:
        """The action that this noise becomes."""

    @abc.abstractmethod
    def trace(self, noise: Float[Array, "*noise"], observation: PyTree) -> Trace:
        """The path from this noise to its action."""

    def act(self, noise: Float[Array, "*noise"], observation: PyTree) -> Acted:
        """The action that this noise becomes, and the share of its steps that were not guided.

        The share is NaN where it is not known, so that `jax_debug_nans` is off in here and in
        `trace`: what is not finite it finds in `from_noise`.
        """
        with jax.debug_nans(False):
            unknown = jnp.array(jnp.nan)
        return Acted(self.from_noise(noise, observation), unknown)

    def prepare(self, observation: PyTree) -> PyTree:
        """What is computed from an observation once, however many actions are sampled there.

        `from_noise`, `act` and `trace` take what this returns in place of the observation: encoders
        run here, and weights are measured.
        """
        return observation

    def costs(self) -> tuple[Cost, Cost] | None:
        """What `prepare` costs, once an observation, and then each action; None if not known."""
        return None

    def cost(self) -> Cost | None:
        """What one action costs, by itself; None if that is not known."""
        costs = self.costs()
        return None if costs is None else costs[0] + costs[1]

    def flops(self, observation: PyTree, *, key: PRNGKeyArray | None = None) -> int:
        """The floating-point operations of one action at an observation, counted while it is made.

        Those of matrix products and convolutions, a multiplication and an addition each; what acts
        on each entry alone is not counted. Loops count as often as they turn, so also adaptive
        solvers have a count, of this action. `cost` says it in calls of networks, and runs nothing.

        **Arguments:**

        - `observation`: a pytree of arrays, as `from_noise` takes it. What `prepare` made of one is
            not paid for again.
        - `key`: of the noise; by default that of seed 0.

        **Returns:**

        An integer. (XLA's `cost_analysis` counts the body of a loop once.)

        **Raises:**

        `ValueError` for what cannot be counted: callbacks, such as PyTorch networks, kernels and
        matrix decompositions (the singular values of `qgf_orthogonal` excepted).
        """
        noise = jr.normal(seed_key(0) if key is None else key, self.noise_shape)
        return count_flops(self.from_noise, noise, observation)

    def __call__(self, observation: PyTree, *, key: PRNGKeyArray) -> Float[Array, "*action"]:
        return self.from_noise(jr.normal(key, self.noise_shape), observation)

    def _repr_html_(self) -> str:
        return policy_html(self)
