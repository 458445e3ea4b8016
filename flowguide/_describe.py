"""What a guidance or a policy is, in words that are short, complete and always the same."""

import dataclasses
import functools
import hashlib
import inspect
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

# Arrays of more entries are named by their shape and a hash.
MAX_ENTRIES = 8


def describe(guidance: Any) -> str:
    """What a guidance is, in one line: its name with every option that is not the default.

    ```python
    flowguide.describe(flowguide.qgf(weight=0.1))  # 'qgf(weight=0.1)'
    both = [flowguide.qgf(), flowguide.best_of_n(4)]
    flowguide.describe(both)  # '[qgf(...), best_of_n(n=4)]'
    ```

    Two guidances of one description do the same, as long as a function of one name does: lambdas
    and functions inside of functions have a hash of their code. Results carry the description with
    every episode.

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
    for name in ("encode", "observe", "steer"):
        function = getattr(policy, name)
        if function is not None:
            options.append(f"{name}={_name_of(function)}")
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
        return _number(value)
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        inner = ", ".join(map(_described, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {_described(v)}" for k, v in value.items()) + "}"
    if isinstance(value, optax.GradientTransformation):
        return _shaping(value.update)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name, fields = name_of(value)
        options = [f"{each}={_described(x)}" for each, x in fields.items()]
        return f"{name}({', '.join(options)})"
    return _name_of(value)


def _array(value: Any) -> str:
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        with jax.ensure_compile_time_eval():
            return f"key({jax.random.key_data(value).tolist()})"
    array = np.asarray(value)
    if array.ndim == 0:
        return _number(array[()]) if array.dtype.kind in "fiu" else repr(array.item())
    if array.size <= MAX_ENTRIES and array.dtype.kind == "f":
        return "[" + ", ".join(map(_number, array.ravel())) + "]"
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:8]
    return f"{array.dtype}[{','.join(map(str, array.shape))}]#{digest}"


def _number(value: Any) -> str:
    """The shortest text that is this number and no other of its type."""
    if isinstance(value, np.integer):
        return str(value)
    short = f"{value:g}"
    return short if type(value)(short) == value or value != value else str(value)


def _shaping(update: Any) -> str:
    """An optax transformation is a pair of closures: the maker's name and what it closed over."""
    update = inspect.unwrap(update)
    fields = {}
    for name, value in _closed_over(update).items():
        if isinstance(value, (list, tuple)) and value and all(map(callable, value)):
            # Of a chain.
            fields[name] = f"({', '.join(map(_shaping, value))})"
        elif isinstance(value, (int, float, str, np.ndarray, jax.Array)):
            fields[name] = _described(value)
        elif callable(value):
            fields[name] = _name_of(value)
    name = update.__qualname__.split(".")[0]
    return f"{name}({', '.join(f'{k}={text}' for k, text in sorted(fields.items()))})"


def _closed_over(function: Any) -> dict[str, Any]:
    try:
        return dict(inspect.getclosurevars(function).nonlocals)
    except (TypeError, ValueError):
        return {}


def _digest_of(function: Any) -> str:
    """Distinguishes functions without a name of their own, by what they do."""
    from ._fingerprint import fingerprint

    parts, asked = [], [function]
    # Functions that it closes over, once each: they may call one another.
    for each in asked:
        parts += [_code(each.__code__), _described(each.__defaults__)]
        parts.append(_described(each.__kwdefaults__))
        for name, value in sorted(_closed_over(each).items()):
            if isinstance(value, types.FunctionType):
                parts.append(f"{name}: {value.__qualname__}")
                asked += [value] if all(value is not other for other in asked) else []
            else:
                # All that it holds: of an object that is no dataclass, the description is a name.
                parts.append(f"{name}={fingerprint(value)}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:6]


def _code(code: types.CodeType) -> str:
    return "\n".join([code.co_code.hex(), *map(_constant, code.co_consts), *code.co_names])


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return _code(value)
    # The order of a set is another one in each process.
    return f"{{{sorted(map(repr, value))}}}" if isinstance(value, frozenset) else repr(value)


def _name_of(value: Any) -> str:
    if isinstance(value, functools.partial):
        given = [*map(_described, value.args)]
        given += [f"{k}={_described(v)}" for k, v in sorted(value.keywords.items())]
        return f"partial({', '.join([_name_of(value.func), *given])})"
    if isinstance(value, types.MethodType) and not isinstance(value.__self__, type):
        from ._fingerprint import fingerprint

        return f"{value.__func__.__qualname__}#{fingerprint(value.__self__)[:6]}"
    wrapped = getattr(value, "__wrapped__", None)
    if wrapped is not None and not isinstance(value, types.FunctionType):
        # Compiled by `jax.jit`.
        return _name_of(wrapped)
    named: Any = getattr(value, "__qualname__", None)
    if callable(value) and named is not None:
        name = str(named).replace(".<locals>", "")
        # What is made inside of a function has its name again and again.
        is_function = isinstance(value, types.FunctionType)
        is_made = is_function and ("<" in named or value.__closure__ is not None)
        return f"{name}#{_digest_of(value)}" if is_made else name
    if callable(value) or dataclasses.is_dataclass(value):
        return str(type(value).__name__)
    # An address is another one in each process.
    return type(value).__name__ if " at 0x" in repr(value) else repr(value)
