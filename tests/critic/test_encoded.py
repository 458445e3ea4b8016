"""Critics of observations in parts, standardised by the data's."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowguide as fg
from flowguide import nn

ROWS = {
    "state": np.random.default_rng(0).normal(3.0, 5.0, (200, 3)).astype(np.float32),
    "inner": {"image": np.random.default_rng(1).integers(0, 255, (200, 2, 2), np.uint8)},
}


def one(rows, i=0):
    return jax.tree.map(lambda x: jnp.asarray(x[i]), rows)


def test_each_entry_has_mean_0_and_deviation_1():
    encode = nn.Standardise(ROWS)
    encoded = jax.vmap(encode)(jax.tree.map(jnp.asarray, ROWS))
    assert encoded.shape == (200, encode.size) and encode.size == 7
    np.testing.assert_allclose(encoded.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(encoded.std(0), 1, atol=1e-5)


def test_entries_that_do_not_change_stay_small():
    encode = nn.Standardise({"still": np.full((5, 1), 2.0), "moves": ROWS["state"][:5]})
    moved = encode({"still": jnp.array([2.005]), "moves": jnp.asarray(ROWS["state"][0])})
    assert abs(moved[-1]) <= 0.5 + 1e-4


def test_more_entries_are_not_read_and_fewer_are_an_error():
    encode = nn.Standardise(ROWS)
    more = {**one(ROWS), "other": jnp.ones(4)}
    np.testing.assert_array_equal(encode(more), encode(one(ROWS)))
    with pytest.raises(ValueError, match="Expected an observation of shapes .*state.*got"):
        encode({"state": more["state"]})
    with pytest.raises(ValueError, match="Expected an observation of shapes"):
        encode({**more, "state": jnp.ones(4)})
    with pytest.raises(ValueError, match="leading axis of at least one row"):
        nn.Standardise({})


def encoded_critic(key, encode):
    return fg.EncodedCritic(nn.critic_ensemble(3, encode.size, (2,), (8,), key=key), encode)


def test_it_is_the_critic_of_the_encoded_observation(key):
    encode = nn.Standardise(ROWS)
    critic: Any = encoded_critic(key, encode)
    action, seen = jnp.array([0.3, -0.2]), one(ROWS)
    assert critic(seen, action) == critic.critic(encode(seen), action)
    np.testing.assert_array_equal(
        critic.members(seen, action), critic.critic.members(encode(seen), action)
    )
    # Arithmetic, and a critic that depends on how clean an action is.
    assert jnp.allclose((2 * critic)(seen, action), 2 * critic(seen, action))
    timed = fg.EncodedCritic(
        fg.NoiseConditionedCritic(lambda seen, action: seen[1] * jnp.sum(seen[0])), encode
    )
    early, late = timed.at(0.25)(seen, action), timed.at(0.75)(seen, action)
    assert jnp.allclose(3 * early, late) and early != 0


def test_moments_are_not_learnt(key):
    encode = nn.Standardise(ROWS)
    critic = encoded_critic(key, encode)
    gradient = eqx.filter_grad(lambda c: c(one(ROWS), jnp.ones(2)))(critic).encode
    assert all(not jnp.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("rows", [ROWS, ROWS["state"]])
def test_what_is_saved_is_loaded(tmp_path, key, rows):
    critic = encoded_critic(key, nn.Standardise(rows))
    fg.save(tmp_path, None, critic)
    _, loaded = fg.load(tmp_path)
    seen, action = one(rows), jnp.array([0.3, -0.2])
    assert loaded(seen, action) == critic(seen, action)
    with pytest.raises(ValueError, match="critic.encode is a function, which cannot be saved"):
        fg.save(tmp_path, None, fg.EncodedCritic(critic.critic, lambda o: o))
