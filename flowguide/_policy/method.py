"""Methods of a policy that are compiled even when they are called alone."""

import functools
from collections.abc import Callable
from typing import Any, Concatenate, Generic, overload, ParamSpec, TypeVar

import equinox as eqx
import jax

Self = TypeVar("Self")
P = ParamSpec("P")
R = TypeVar("R")


class compiled(Generic[Self, P, R]):
    """A method under `equinox.filter_jit`: traced anew at each call, ten steps take a second.

    Bound, it is hashed by identity, as functions are, and not by the arrays of its module, which
    have no hash: `jax.jit(policy.from_noise)` works.
    """

    def __init__(self, method: Callable[Concatenate[Self, P], R]):
        self._call: Any = eqx.filter_jit(method)
        functools.update_wrapper(self, method)

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Callable[Concatenate[Self, P], R]: ...

    @overload
    def __get__(self, instance: Self, owner: Any = None) -> Callable[P, R]: ...

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self._call if instance is None else functools.partial(self._call, instance)


class compiled_with_nans(compiled[Self, P, R]):
    """The same for what returns NaN for numbers that there are not, under `jax_debug_nans` too."""

    def __init__(self, method: Callable[Concatenate[Self, P], R]):
        super().__init__(method)
        jitted = self._call

        def call(*args: Any, **kwargs: Any) -> Any:
            with jax.debug_nans(False):
                return jitted(*args, **kwargs)

        self._call = call
