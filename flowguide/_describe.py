"""What a guidance or a policy is, in words that are short, complete and always the same."""

import dataclasses
import functools
import hashlib
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

# Arrays of more entries are named by their shape and a hash.
MAX_ENTRIES = 8


def describe(guidance: Any) -> str:
    """What a guidance is, in one line: its name with every option that is not the default.

    ```python
    flowguide.describe(flowguide.qgf(weight=0.1))                   # 'qgf(weight=0.1)'
    flowguide.describe([flowguide.qgf(), flowguide.best_of_n(4)])   # '[qgf(...), best_of_n(n=4)]'
    ```

    Two guidances of one description do the same. Results carry it with every episode.

    **Arguments:**

    - `guidance`: any guidance, a sequence of them, or None for no guidance.
    """
    if guidance is None:
        return "unguided"
    if isinstance(guidance, str):
        return guidance
    if isinstance(guidance, (list, tuple)):
        return f"[{', '.join(map(describe, guidance))}]"
    return _described(guidance)


def describe_policy(policy: Any) -> str:
    """What a flow policy is, in a few lines."""
    options = [
        _name_of(policy.velocity),
        f"action_shape={policy.action_shape}",
        f"num_steps={policy.num_steps}",
        f"solver={_name_of(policy.solver)}",
        f"low={_described(np.asarray(policy.low))}",
        f"high={_described(np.asarray(policy.high))}",
    ]
    if type(policy.stepsize_controller).__name__ != "ConstantStepSize":
        options.append(f"stepsize_controller={_name_of(policy.stepsize_controller)}")
    if policy.encode is not None:
        options.append(f"encode={_name_of(policy.encode)}")
    text = f"FlowPolicy({', '.join(options)})"
    for term in policy.guidance:
        by = "" if term.critic is None else f" by {_name_of(term.critic)}"
        text += f"\n  guided: {describe(term.guidance)}{by}"
    return text


def describe_wrapper(policy: Any) -> str:
    """What a policy around another one is."""
    by = "" if policy.critic is None else f" by {_name_of(policy.critic)}"
    return f"{policy.policy!r}\n  guided: {describe(policy.guidance)}{by}"


def _described(value: Any) -> str:
    from ._catalogue import name_of

    if isinstance(value, (Tracer, jax.ShapeDtypeStruct)):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, (jax.Array, np.ndarray)):
        return _array(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        inner = ", ".join(map(_described, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {_described(v)}" for k, v in value.items()) + "}"
    if hasattr(value, "init") and hasattr(value, "update") and isinstance(value, tuple):
        return _shaping(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name, shown = name_of(value)
        options = [f"{each}={_described(x)}" for each, x in shown.items()]
        return f"{name}({', '.join(options)})"
    return _name_of(value)


def _array(value: Any) -> str:
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        with jax.ensure_compile_time_eval():
            return f"key({jax.random.key_data(value).tolist()})"
    found = np.asarray(value)
    if found.ndim == 0:
        return f"{found.item():g}" if found.dtype.kind in "fiu" else repr(found.item())
    if found.size <= MAX_ENTRIES and found.dtype.kind == "f":
        return "[" + ", ".join(f"{x:g}" for x in found.ravel()) + "]"
    digest = hashlib.sha256(np.ascontiguousarray(found).tobytes()).hexdigest()[:8]
    return f"{found.dtype}[{','.join(map(str, found.shape))}]#{digest}"


def _shaping(shaping: Any) -> str:
    """An optax transformation is a pair of closures: the maker's name and what it closed over."""
    update = inspect.unwrap(shaping.update)
    name = update.__qualname__.split(".")[0]
    try:
        closed = inspect.getclosurevars(update).nonlocals
    except (TypeError, ValueError):
        closed = {}
    numbers = {k: v for k, v in closed.items() if isinstance(v, (int, float, str, jax.Array))}
    return f"{name}({', '.join(f'{k}={_described(v)}' for k, v in sorted(numbers.items()))})"


def _name_of(value: Any) -> str:
    if isinstance(value, functools.partial):
        return f"partial({_name_of(value.func)})"
    named = getattr(value, "__qualname__", None)
    if callable(value) and named is not None:
        return named.replace(".<locals>", "")
    if callable(value) or dataclasses.is_dataclass(value):
        return type(value).__name__
    return repr(value)
