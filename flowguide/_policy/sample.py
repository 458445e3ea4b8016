from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray

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
    return _sample(policy, observations, key, _batch_size(observations))


@eqx.filter_jit
def _sample(policy: Any, observations: PyTree, key: PRNGKeyArray, batch_size: int) -> Array:
    keys = jr.split(key, batch_size)
    return jax.vmap(lambda o, k: policy(o, key=k))(observations, keys)


def _batch_size(observations: PyTree) -> int:
    shapes = {np.shape(leaf) for leaf in jax.tree.leaves(observations)}
    sizes = {shape[:1] for shape in shapes}
    if len(sizes) != 1 or sizes == {()}:
        raise ValueError(
            "flowguide.sample takes a batch: every array of `observations` needs the same leading "
            f"axis, got shapes {sorted(shapes)}. For one observation call policy(o, key=key)."
        )
    ((size,),) = sizes
    return size
