"""In which precision things are computed: the flow in the action's, networks in their own."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def own_dtype(module: Any, default: Any) -> Any:
    """The dtype of a module's parameters, if they have one; else the default.

    A network in float32 can be asked under x64, and one in bfloat16 computes in bfloat16, though
    the flow that it is asked about is in another precision.
    """
    leaves = jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array))
    dtypes = {leaf.dtype for leaf in leaves}
    return dtypes.pop() if len(dtypes) == 1 else default


def in_own_dtype(module: Any, array: Array) -> Array:
    """The array as the module is to be given it."""
    return array.astype(own_dtype(module, array.dtype))


def solve_dtype(dtype: Any) -> Any:
    """The precision in which a flow is solved: at least float32."""
    # Not by `jnp.promote_types`, which strict promotion forbids.
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)


def as_float(x: Any) -> np.ndarray:
    """Networks are in float32, and many environments observe in float64."""
    x = np.asarray(x)
    return x.astype(np.float32) if np.issubdtype(x.dtype, np.floating) else x
