"""Checks of arguments that more than one place needs. Each names what was given and expected."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._pytree import PyTree


def is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def as_bool(name: str, value: Any) -> bool:
    """A boolean, a number that is 0 or 1, or an array of one of them.

    **Raises:**

    `ValueError` for anything else: whether a text or a dictionary is true is not clear.
    """
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf" or array.item() not in (0, 1):
        raise ValueError(f"{name} must be True or False, got {value!r}.")
    return bool(array.item())


def as_flags(name: str, values: Any) -> np.ndarray:
    """An array of booleans, of which every entry is one, or is 0 or 1.

    **Raises:**

    `ValueError` that names an entry which is neither.
    """
    array = np.asarray(values)
    if array.dtype.kind == "b":
        return array
    is_flag = np.isin(array, (0, 1)) if array.dtype.kind in "iuf" else np.zeros(array.shape, bool)
    if not np.all(is_flag):
        wrong = array[~is_flag].ravel()
        raise ValueError(
            f"{name} must have True or False, or 0 or 1, for each row, got {wrong[0]!r} "
            f"({wrong.size:,} such of {array.size:,})."
        )
    return array.astype(bool)


def as_positive_int(name: str, value: Any) -> int:
    if not is_int(value) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    return int(value)


def as_shape(name: str, shape: Any) -> tuple[int, ...]:
    is_shape = isinstance(shape, (tuple, list)) and all(is_int(n) and n >= 1 for n in shape)
    if not is_shape:
        raise ValueError(
            f"{name} must be a tuple of positive integers, such as (5,) or (horizon, 5), "
            f"got {shape!r}."
        )
    return tuple(int(n) for n in shape)


def batch_size(what: str, observations: PyTree) -> int:
    """The length of the leading axis that all arrays of a batch have."""
    shapes = {np.shape(leaf) for leaf in jax.tree.leaves(observations)}
    sizes = {shape[:1] for shape in shapes}
    if len(sizes) != 1 or sizes == {()}:
        raise ValueError(
            f"{what} takes a batch: every array of `observations` needs the same leading "
            f"axis, got shapes {sorted(shapes)}. One observation is a batch of one: o[None]."
        )
    ((size,),) = sizes
    return size


def as_float_dtype(name: str, dtype: Any) -> str:
    try:
        parsed = jnp.dtype(dtype)
    except TypeError:
        parsed = None
    if parsed is None or not jnp.issubdtype(parsed, jnp.floating):
        raise ValueError(
            f"{name} must be a floating-point type, such as 'float32' or 'bfloat16', got {dtype!r}."
        )
    return parsed.name


def as_bounds(low: Any, high: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Each bound as a float, or as nested tuples of the shape: hashable, and no array."""
    bounds = []
    for name, given in (("low", low), ("high", high)):
        bound = np.asarray(given, dtype=np.float32)
        if not broadcasts_to(bound.shape, shape):
            raise ValueError(
                f"{name} has shape {bound.shape}, which does not broadcast to the action shape "
                f"{shape}."
            )
        bounds.append(np.broadcast_to(bound, shape) if bound.ndim else bound)
    low, high = bounds
    # A dimension may be fixed; an action of which all are is a mistake.
    if not (np.all(np.less_equal(low, high)) and np.any(np.less(low, high))):
        raise ValueError(
            f"low must be below high, and nowhere above it, got low={low} and high={high}."
        )
    return _as_tuples(low.tolist()), _as_tuples(high.tolist())


def _as_tuples(nested: Any) -> Any:
    return tuple(map(_as_tuples, nested)) if isinstance(nested, list) else nested


def broadcasts_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def called_with(name: str, **arguments: PyTree) -> str:
    given = ", ".join(f"{key}={described(value)}" for key, value in arguments.items())
    return (
        f"flowguide called {name}({given}). Policies act on ONE observation: for a batch use "
        "`flowguide.sample(policy, observations, key=key)` or `jax.vmap`."
    )


def described(tree: PyTree) -> str:
    return eqx.tree_pformat(tree, short_arrays=True, struct_as_array=True, indent=1, width=10**6)
