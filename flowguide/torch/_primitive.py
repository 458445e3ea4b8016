"""`jax.pure_callback`, but that the function is handed arrays of NumPy.

JAX's own makes JAX arrays of the arguments first, which copies large ones by a task for XLA's
threads. If all of these wait in callbacks, on a machine of one core or with many callers, nothing
ever runs it: JAX 0.7 to 0.10 hang. Here no array of JAX exists while the function runs.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from .._pytree import PyTree


def callback(function: Callable[..., Any], result: PyTree, *arguments: PyTree) -> PyTree:
    """Calls `function(lead, *arguments)` on the host, from compiled programs too.

    **Arguments:**

    - `function`: a callable that can be hashed. `lead` is how many axes the `vmap`s around have put
        in front of each argument; those outside of a `vmap` have an axis of size 1 there. What it
        returns has them all, in the structure of `result`.
    - `result`: the shapes and dtypes of what it returns without a `vmap`.
    - `arguments`: pytrees of arrays.
    """
    leaves, structure = jax.tree.flatten(arguments)
    shapes, result_structure = jax.tree.flatten(result)
    found = _callback.bind(
        *leaves, function=function, structure=structure, result=tuple(shapes), lead=()
    )
    return result_structure.unflatten(found)


_callback = Primitive("flowguide_torch")
_callback.multiple_results = True


@_callback.def_abstract_eval
def _shapes(*_: Any, result: Any, lead: tuple[int, ...], **__: Any) -> list[ShapedArray]:
    return [ShapedArray((*lead, *each.shape), each.dtype) for each in result]


@_callback.def_impl
def _eagerly(*leaves: Any, **options: Any) -> list[jax.Array]:
    return _compiled(**options)(*leaves)


@functools.lru_cache(maxsize=64)
def _compiled(**options: Any) -> Callable[..., list[jax.Array]]:
    return jax.jit(functools.partial(_callback.bind, **options))


def _batched(
    leaves: Sequence[Any], axes: Sequence[int | None], *, lead: tuple[int, ...], **options: Any
) -> tuple[list[jax.Array], list[int]]:
    pairs = list(zip(leaves, axes, strict=True))
    (size,) = {leaf.shape[axis] for leaf, axis in pairs if axis is not None}
    moved = [x[None] if axis is None else jax.numpy.moveaxis(x, axis, 0) for x, axis in pairs]
    found = _callback.bind(*moved, lead=(size, *lead), **options)
    return found, [0] * len(found)


def _lowered(
    context: Any, *leaves: Any, function: Any, structure: Any, result: Any, lead: Any
) -> Any:
    def call(*given: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(jax.tree.leaves(function(len(lead), *structure.unflatten(given))))

    values, _, _ = mlir.emit_python_callback(
        context,
        call,
        None,
        list(leaves),
        context.avals_in,
        context.avals_out,
        has_side_effect=False,
    )
    return values


batching.primitive_batchers[_callback] = _batched
mlir.register_lowering(_callback, _lowered, cacheable=False)
