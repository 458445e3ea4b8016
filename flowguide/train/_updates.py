"""Many updates in one compiled program, for one training seed or several."""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, Key, UInt32

from .._random import seed_key
from ..data import AbstractSampler
from ._learner import AbstractLearner

VALIDATION_BATCHES = 8

Seeds: TypeAlias = Key[Array, "*seeds"] | UInt32[Array, "*seeds words"]
"""One key, or an array of keys, one for each seed."""


@eqx.filter_jit(donate="all-except-first")
def advance(
    fixed: tuple[AbstractLearner, AbstractSampler, Seeds],
    state: Any,
    first: Int[Array, ""],
    last: Int[Array, ""],
    batch_size: int,
) -> tuple[Any, dict[str, Array], dict[str, Array]]:
    """The updates from `first` to `last`, their mean losses, and for each loss the first update at
    which it was not finite (-1 for none)."""
    learner, sampler, key = fixed
    arrays, static = eqx.partition(state, eqx.is_array)

    def update(state, key, number):
        # From the number, not from how updates are grouped into calls.
        batch_key, update_key = jr.split(jr.fold_in(key, number))
        batch = sampler.sample(batch_key, batch_size)
        return learner.update(state, batch, update_key)

    def step(number, arrays):
        def one(state, key):
            return update(state, key, number)

        state, losses = over_seeds(one, key)(eqx.combine(arrays, static), key)
        return eqx.filter(state, eqx.is_array), losses

    def body(number, carry):
        arrays, sums, bad = carry
        arrays, losses = step(number, arrays)
        sums = jax.tree.map(jnp.add, sums, losses)

        def note(bad, loss):
            return jnp.where((bad < 0) & ~jnp.isfinite(loss), number, bad)

        return arrays, sums, jax.tree.map(note, bad, losses)

    # Not a scan: its length is part of the compiled program, and every length compiles anew.
    shapes = jax.eval_shape(step, first, arrays)[1]
    sums = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    bad = jax.tree.map(lambda x: jnp.full(x.shape, -1, first.dtype), shapes)
    arrays, sums, bad = jax.lax.fori_loop(first, last, body, (arrays, sums, bad))
    count = jnp.maximum(last - first, 1).astype(jnp.float32)
    return eqx.combine(arrays, static), jax.tree.map(lambda x: x / count, sums), bad


@eqx.filter_jit
def validate(
    fixed: tuple[AbstractLearner, AbstractSampler],
    state: Any,
    batch_size: int,
    seeds: tuple[int, ...],
) -> dict[str, Float[Array, "*seeds"]]:
    """The mean losses on validation batches, the same ones at every call and for every seed."""
    learner, sampler = fixed

    def of_batch(state, key):
        batch_key, loss_key = jr.split(key)
        batch = sampler.sample(batch_key, batch_size)

        def of_state(state):
            return learner.losses(state, batch, loss_key)

        return (_vmap(of_state) if seeds else of_state)(state)

    keys = jr.split(seed_key(0), VALIDATION_BATCHES)
    losses = jax.lax.map(lambda key: of_batch(state, key), keys)
    return jax.tree.map(lambda x: x.mean(axis=0), losses)


def typed(key: Seeds) -> Key[Array, "*seeds"]:
    """Keys as `jax.random.key` makes them: of raw ones, a pair of numbers could be two seeds."""
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jr.wrap_key_data(key)


def split_keys(key: Seeds) -> tuple[Seeds, Seeds]:
    """Keys for the first state and for the updates, of each seed."""
    both = jr.split(key) if key.ndim == 0 else jax.vmap(jr.split)(key)
    return both[..., 0], both[..., 1]


def over_seeds(function: Callable, key: Seeds) -> Callable:
    return _vmap(function) if key.ndim else function


def _vmap(function: Callable) -> Callable:
    return eqx.filter_vmap(function, in_axes=eqx.if_array(0))
