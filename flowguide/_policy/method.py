"""Methods of a policy that are compiled even when they are called alone."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax

Method = TypeVar("Method", bound=Callable[..., Any])


def compiled(method: Method) -> Method:
    """A method under `equinox.filter_jit`: traced anew at each call, ten steps take a second.

    Bound, it is hashed by identity, as functions are, and not by the arrays of its module, which
    have no hash: `jax.jit(policy.from_noise)` works.
    """
    wrapped: Any = _Compiled(method, eqx.filter_jit(method))
    return wrapped


def compiled_with_nans(method: Method) -> Method:
    """The same for what returns NaN for numbers that there are not, under `jax_debug_nans` too."""
    jitted = eqx.filter_jit(method)

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with jax.debug_nans(False):
            return jitted(*args, **kwargs)

    wrapped: Any = _Compiled(method, call)
    return wrapped


class _Compiled:
    """What a method is to its class, in place of a function."""

    def __init__(self, method: Callable[..., Any], call: Callable[..., Any]):
        self._call = call
        # Of the method are its name, its documentation and its signature.
        functools.update_wrapper(self, method)  # pyright: ignore[reportArgumentType]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self._call if instance is None else functools.partial(self._call, instance)
