"""One identity for what acts: everything that an action follows from is part of it."""

import dataclasses
import functools
import hashlib
import types
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._describe import describe

LENGTH = 12


def fingerprint(*parts: Any) -> str:
    """The beginning of the SHA-256 of policies and critics, the same in every process.

    Arrays, numbers, solvers, bounds and steps are part of it, wherever they are kept: in fields of
    dataclasses, in attributes, in containers, in `functools.partial`, behind a bound method.
    Functions are distinguished as by `flowguide.describe`: those of a module by their name, others
    by their code and what they closed over.
    """
    digest = hashlib.sha256()
    for text in _texts(parts, set()):
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()[:LENGTH]


def _texts(value: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(value, (jax.Array, np.ndarray, np.generic)):
        yield _array(value)
        return
    if hasattr(type(value), "__array__"):
        yield _array(_as_numpy(value))
        return
    if isinstance(value, (str, bytes, bool, int, float, complex, type(None), type)):
        yield f"{type(value).__name__} {getattr(value, '__qualname__', value)!r}"
        return
    if id(value) in seen:
        yield "again"
        return
    seen = seen | {id(value)}
    inner = _inner(value)
    if inner is None:
        yield describe(value)
        return
    yield type(value).__qualname__
    for name, part in inner.items():
        # What a later version adds is None where nobody asks for it.
        if part is not None:
            yield str(name)
            yield from _texts(part, seen)


def _inner(value: Any) -> dict[Any, Any] | None:
    """What a value is made of; None for what is one piece."""
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {repr(k): value[k] for k in sorted(value, key=repr)}
    if isinstance(value, (list, tuple)):
        return dict(enumerate(value))
    if isinstance(value, (set, frozenset)):
        # Of texts they have another order in each process.
        return dict(enumerate(sorted(value, key=repr)))
    if isinstance(value, functools.partial):
        return {"func": value.func, "args": value.args, "keywords": value.keywords}
    if isinstance(value, types.MethodType):
        return {"name": value.__func__.__qualname__, "self": value.__self__}
    if isinstance(value, types.FunctionType):
        return None
    slots = _slots(type(value))
    if not slots and not hasattr(value, "__dict__"):
        return None
    # A compiled function, or one of a library, is what it wraps, which has a name.
    if callable(value) and hasattr(value, "__qualname__"):
        return None
    named = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return dict(sorted({**named, **getattr(value, "__dict__", {})}.items()))


def _slots(kind: type) -> list[str]:
    names = []
    for each in kind.__mro__:
        own = each.__dict__.get("__slots__", ())
        for name in (own,) if isinstance(own, str) else own:
            is_private = name.startswith("__") and not name.endswith("__")
            names.append(f"_{each.__name__.lstrip('_')}{name}" if is_private else name)
    return names


def _as_numpy(value: Any) -> np.ndarray:
    """Of another library's array, such as a PyTorch tensor on whatever device."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        return np.asarray(value)
    except TypeError:
        # NumPy has no bfloat16: float32 holds all of it.
        return np.asarray(value.float())


def _array(value: Any) -> str:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.ascontiguousarray(value)
    digest = hashlib.sha256(array.view(np.uint8).reshape(-1).data).hexdigest()
    return f"{array.dtype} {np.shape(value)} {digest}"
