from typing import Any

import jax.random as jr
from jaxtyping import Array

from ._checks import is_int

# Environments with signed 32-bit seeds take half of what has 32 bits.
MAX_SEED = 2**31 - 1


def as_seed(name: str, value: Any, count: int = 1) -> int:
    """An integer from which randomness follows.

    **Arguments:**

    - `name`: of the argument, for the error.
    - `value`: the seed.
    - `count`: how many seeds follow one another from this one on.

    **Raises:**

    `ValueError` for what is no integer, or outside [0, 2**31): `jax.random.key` would wrap it.
    """
    if not is_int(value) or not 0 <= value <= MAX_SEED - max(count - 1, 0):
        last = "" if count < 2 else f", with {count - 1} more after it"
        raise ValueError(f"{name} must be an integer from 0 to 2**31 - 1{last}, got {value!r}.")
    return int(value)


def seed_key(seed: "int | Array") -> Array:
    """The key of a seed, of a named generator: whatever JAX's default is, results are the same.

    With `rbg`, what a row draws would depend on its batch.
    """
    return jr.key(seed, impl="threefry2x32")
