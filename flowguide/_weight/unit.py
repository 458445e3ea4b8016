from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._checks import batch_size
from .._critic import Critic, value_of
from .._policy import raw_observation
from .._pytree import PyTree
from .._random import seed_key

NUM_ACTIONS = 16


def weight_unit(
    policy: Any,
    critic: Critic,
    observations: PyTree,
    *,
    key: PRNGKeyArray | None = None,
    num_actions: int = NUM_ACTIONS,
) -> Float[Array, ""]:
    r"""The unit in which guidance weights carry over from task to task.

    $$u = \frac{\mathbb{E}_o \, \mathrm{mean}_i \mathrm{Var}(a_i)}{\mathbb{E}_o \, \mathrm{sd}(Q)}$$

    over the policy's own actions at each observation, and over the entries of the action that the
    critic reads: padding and the rest of a chunk, where its gradient is 0, do not count. A Gaussian
    of standard deviation $s$ that is tilted by $\exp(Q / \beta)$, with a linear $Q$, moves by
    $(s^2 / \beta) \nabla Q$. With $\beta = \mathrm{sd}(Q) / \kappa$ that is
    $\kappa\, u\, \nabla Q$, of length $\kappa s$. So `weight = kappa * unit` asks for a shift of
    about kappa standard deviations of the action, whatever the scale of rewards and actions.

    **Arguments:**

    - `policy`: the policy that is to be guided.
    - `critic`: the critic that guides it.
    - `observations`: some that the policy meets, each leaf with a leading axis; a training run
        keeps 256 (`flowguide.load_observations`).
    - `key`: of the actions' noise, by default `jax.random.key(0)`: a unit is a constant.
    - `num_actions`: sampled at each observation, at least 2.

    **Returns:**

    The unit, above 0.

    **Raises:**

    `ValueError` for observations without a common leading axis, and if the unit is not a number
    above 0: the policy has one action for each observation, or the critic one value. Inside
    `jax.jit`, where that is known only when it runs, `equinox.EquinoxRuntimeError`.
    """
    if num_actions < 2:
        raise ValueError(f"num_actions must be at least 2, got {num_actions}.")
    key = seed_key(0) if key is None else key
    variance, spread = _spreads(policy, critic, observations, key, num_actions)
    unit = variance / jnp.where(spread > 0, spread, 1)
    is_unit = jnp.isfinite(unit) & (unit > 0) & (spread > 0)
    what = "The unit of guidance weights is E[var(a)] / E[sd(Q)] over the policy's own actions"
    if isinstance(unit, Tracer):
        return eqx.error_if(unit, ~is_unit, f"{what}, and both must be above 0 and finite.")
    if not is_unit:
        raise ValueError(
            f"{what}, but those are {float(variance):.3g} and {float(spread):.3g}: both must be "
            "above 0 and finite."
        )
    return unit


@eqx.filter_jit
def _spreads(
    policy: Any, critic: Critic, observations: PyTree, key: PRNGKeyArray, num_actions: int
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The variance of the actions and the standard deviation of their values."""

    def at(observation, key):
        prepared = policy.prepare(observation)
        keys = jr.split(key, num_actions)
        actions = jax.vmap(lambda k: policy(prepared, key=k))(keys)
        return look_at(critic, actions, raw_observation(prepared))

    keys = jr.split(key, batch_size("The unit of weights", observations))
    variances, spreads, reads = jax.vmap(at)(observations, keys)
    return mean_where(variances, jnp.any(reads, axis=0)), jnp.mean(spreads)


def look_at(
    critic: Critic, actions: Float[Array, "n *action"], observation: PyTree
) -> tuple[Float[Array, "*action"], Float[Array, ""], Bool[Array, "*action"]]:
    """What a critic makes of some actions: the variance of each entry, the standard deviation of
    the values, and which entries it reads."""

    def one(action):
        return jax.value_and_grad(lambda a: value_of(critic, observation, a))(action)

    values, gradients = jax.vmap(one)(actions)
    reads = jnp.any(gradients != 0, axis=0)
    return jnp.var(actions, axis=0, ddof=1), jnp.std(values, ddof=1), reads


def unit_of(
    variances: Float[Array, "*action"], spread: Float[Array, ""], reads: Bool[Array, "*action"]
) -> Float[Array, ""]:
    """The unit at one observation; 0 where all values are equal, and nothing can be said.

    Where a value is not finite it is NaN: the steps that it would weigh are left unguided, and are
    counted as such.
    """
    is_equal = spread == 0
    return jnp.where(is_equal, 0, mean_where(variances, reads) / jnp.where(is_equal, 1, spread))


def mean_where(variances: Float[Array, "..."], reads: Bool[Array, "..."]) -> Array:
    """The mean over the entries that are read, and over what comes before them."""
    reads = jnp.broadcast_to(reads, variances.shape)
    total = jnp.sum(jnp.where(reads, variances, 0))
    return total / jnp.maximum(jnp.sum(reads), 1).astype(total.dtype)
