"""A function of PyTorch as one of JAX: under `jit` and `vmap`, with autograd's first derivative."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._pytree import PyTree
from ._callbacks import Pullback, Value, ValueAndGradients
from ._function import TorchFunction
from ._primitive import callback
from ._result import Result


@eqx.filter_custom_vjp
def ask(arguments: tuple[PyTree, ...], function: TorchFunction, result: Result) -> PyTree:
    """The function's result. Differentiated, it is asked again on the way back."""
    return _call(function.name, Value(function, result), result.tree, arguments)


@ask.def_fwd
def _ask_forth(perturbed: Any, arguments: Any, function: TorchFunction, result: Result) -> Any:
    return _call(function.name, Value(function, result), result.tree, arguments), None


@ask.def_bwd
def _ask_back(
    _: None,
    cotangents: Any,
    perturbed: Any,
    arguments: Any,
    function: TorchFunction,
    result: Result,
) -> Any:
    given = result.structure.flatten_up_to(cotangents)
    above = [
        jnp.zeros(leaf.shape, leaf.dtype) if cotangent is None else cotangent
        for leaf, cotangent in zip(result.leaves, given, strict=True)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    wanted, shapes = _wanted(perturbed, arguments)
    found = _call(function.name, Pullback(function, result, wanted), shapes, arguments, above)
    return _in_place(arguments, wanted, found)


@eqx.filter_custom_vjp
def ask_with_gradients(
    arguments: tuple[PyTree, ...], function: TorchFunction, result: Result
) -> jax.Array:
    """The function's one result, of shape `()` or `(K,)`. Differentiated, it is asked once, for
    the value and its gradients together."""
    return _call(function.name, Value(function, result), result.tree, arguments)


@ask_with_gradients.def_fwd
def _both(perturbed: Any, arguments: Any, function: TorchFunction, result: Result) -> Any:
    wanted, shapes = _wanted(perturbed, arguments)
    (value,) = result.leaves
    gradients = [jax.ShapeDtypeStruct((*value.shape, *each.shape), each.dtype) for each in shapes]
    return _call(
        function.name, ValueAndGradients(function, result, wanted), (value, gradients), arguments
    )


@ask_with_gradients.def_bwd
def _multiplied(
    gradients: Any,
    cotangent: Any,
    perturbed: Any,
    arguments: Any,
    function: TorchFunction,
    result: Result,
) -> Any:
    wanted, _ = _wanted(perturbed, arguments)
    if cotangent is None:
        return _in_place(arguments, wanted, [None] * len(gradients))
    products = [
        jnp.tensordot(cotangent.astype(each.dtype), each, axes=cotangent.ndim) for each in gradients
    ]
    return _in_place(arguments, wanted, products)


def _wanted(perturbed: Any, arguments: Any) -> tuple[tuple[bool, ...], list[jax.ShapeDtypeStruct]]:
    """Which leaves a derivative is asked of, and the shapes of those."""
    wanted = tuple(map(bool, jax.tree.leaves(perturbed)))
    leaves = zip(jax.tree.leaves(arguments), wanted, strict=True)
    return wanted, [jax.ShapeDtypeStruct(x.shape, x.dtype) for x, is_wanted in leaves if is_wanted]


def _in_place(arguments: Any, wanted: tuple[bool, ...], found: list[Any]) -> Any:
    """The derivatives where their arguments are, None for the others."""
    each = iter(found)
    leaves = [next(each) if is_wanted else None for is_wanted in wanted]
    return jax.tree.unflatten(jax.tree.structure(arguments), leaves)


def _call(name: str, function: Callable[..., Any], result: Any, *arguments: Any) -> Any:
    return callback(function, result, *_once(name, arguments))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _once(name: str, arguments: Any) -> Any:
    return arguments


@_once.defjvp
def _no_second(name: str, primals: Any, tangents: Any) -> Any:
    raise NotImplementedError(
        f"This asks for a second derivative of the {name}, or for one in forward mode, and "
        "flowguide.torch has first derivatives in reverse mode only. Take a method that "
        "differentiates once, or write the function in JAX."
    )
