from typing import Any

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from .._checks import batch_size
from .._pytree import PyTree
from .base import AbstractPolicy


def sample(policy: AbstractPolicy, observations: PyTree, *, key: PRNGKeyArray) -> Array:
    """One action for each observation of a batch; compiled once, for any weights and any values.

    **Arguments:**

    - `policy`: any policy, guided or not.
    - `observations`: a pytree whose arrays share a leading batch axis.
    - `key`: a JAX random key. Row `i` is `policy(observation_i, key=jax.random.split(key, n)[i])`.

    **Returns:**

    Actions of shape `(batch, *action)`.

    **Raises:**

    `ValueError` if the observations have no common leading axis.
    """
    size = batch_size("flowguide.sample", observations)
    return _sample(policy, observations, key, size)


@eqx.filter_jit
def _sample(policy: Any, observations: PyTree, key: PRNGKeyArray, batch_size: int) -> Array:
    keys = jr.split(key, batch_size)
    return jax.vmap(lambda o, k: policy(o, key=k))(observations, keys)
