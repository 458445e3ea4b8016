"""Weights that need nothing but the step at hand."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

import flowguide as fg

from ..helpers import (
    affine_policy,
    Calls,
    mlp_critic,
    mlp_policy,
    observation,
    python_loop,
    quadratic_critic,
)


def pair(key):
    return affine_policy(key, num_steps=4), quadratic_critic(jr.fold_in(key, 1))


@pytest.mark.parametrize("skip_first", [False, True])
@given(seed=st.integers(0, 2**31 - 1), alpha=st.floats(-1, 1, width=32))
def test_a_term_is_a_share_of_the_velocity(skip_first, seed, alpha):
    key = jr.key(seed)
    policy, critic = pair(key)
    noise, o = jr.normal(key, (3,)), observation(key)

    def term(i, action, velocity):
        gradient = jax.grad(lambda a: critic(o, a))(policy.clip(action + (1 - i / 4) * velocity))
        share = alpha * jnp.linalg.norm(velocity) / jnp.linalg.norm(gradient) * gradient
        return 0.0 * share if skip_first and i == 0 else share

    expected = python_loop(policy, noise, o, term)
    guided = fg.guide(policy, critic, fg.qgf(fg.Relative(alpha, skip_first=skip_first)))
    np.testing.assert_allclose(guided.from_noise(noise, o), expected, rtol=1e-4, atol=1e-4)


def test_of_the_velocity_below(key):
    """A second guidance has a share of what the first has made of the velocity."""
    policy, critic = pair(key)
    action, o, t = jr.normal(key, (3,)), observation(key), jnp.array(0.25)
    first: Any = fg.guide(policy, critic, fg.ood(2.0))
    both: Any = fg.guide(policy, critic, [fg.ood(2.0), fg.ood(fg.Relative(0.1))])
    below = first.vector_field(t, action, o)
    added = both.vector_field(t, action, o) - below
    np.testing.assert_allclose(jnp.linalg.norm(added), 0.1 * jnp.linalg.norm(below), rtol=1e-4)


@given(seed=st.integers(0, 2**31 - 1), length=st.floats(0.0, 2, width=32))
def test_a_term_of_one_length_is_what_a_normalised_gradient_adds(seed, length):
    key = jr.key(seed)
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    found = fg.guide(policy, critic, fg.qgf(fg.Normalised(length)))
    shaping = optax.normalize_by_update_norm()
    expected = fg.guide(policy, critic, fg.qgf(length, shaping=shaping))
    np.testing.assert_allclose(found.from_noise(noise, o), expected.from_noise(noise, o), atol=1e-5)


@pytest.mark.parametrize("weight", [fg.Relative(0.3), fg.Normalised(0.3)])
def test_a_gradient_of_zero_moves_nothing(key, weight):
    policy, noise, o = mlp_policy(key), jr.normal(key, (3,)), observation(key)
    guided = fg.guide(policy, lambda o, a: o.sum(), fg.qgf(weight))
    assert jnp.array_equal(guided.from_noise(noise, o), policy.from_noise(noise, o))
    slope = jax.grad(lambda n: guided.from_noise(n, o).sum())(noise)
    assert jnp.all(jnp.isfinite(slope))


@pytest.mark.parametrize("weight", [fg.Relative(0.3), fg.Normalised(0.3)])
@pytest.mark.parametrize("size", [1e-25, 1e-10, 1e10, 1e25])
def test_gradients_whose_squares_are_no_numbers(key, weight, size):
    """In float32 the square of 1e-25 is 0, and that of 1e25 infinite."""
    policy, noise, o = mlp_policy(key), jr.normal(key, (3,)), observation(key)
    expected = fg.guide(policy, lambda o, a: a.sum(), fg.qgf(weight)).from_noise(noise, o)
    found = fg.guide(policy, lambda o, a: jnp.sum(size * a), fg.qgf(weight))
    np.testing.assert_allclose(found.from_noise(noise, o), expected, atol=1e-5)


@pytest.mark.parametrize(
    "weight",
    [
        fg.Relative(0.3, skip_first=True),
        fg.ScoreWeight(fg.Relative(0.3, skip_first=True)),
        fg.WeightInterval(fg.Relative(0.3, skip_first=True), 0.0, 1.0),
    ],
)
def test_the_first_step_is_skipped_and_not_paid(key, weight):
    calls = Calls()
    policy = mlp_policy(key, num_steps=5)
    guided = fg.guide(policy, calls.critic(mlp_critic(key)), fg.qgf(weight))
    noise, o = jr.normal(key, (3,)), observation(key)
    assert calls.of(guided.from_noise, noise, o) == {"critic_gradients": 4}
    assert guided.cost() == fg.Cost(velocities=5, critic_gradients=4)
    trace = guided.trace(noise, o)
    is_guided = np.any(np.asarray(trace.guidance[:-1]) != 0, axis=1)
    np.testing.assert_array_equal(is_guided, [False, True, True, True, True])


def test_shares_are_leaves_and_refused_unless_finite(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)

    def act(alpha):
        return fg.guide(policy, critic, fg.qgf(fg.Relative(alpha))).from_noise(noise, o)

    many = jnp.array([0.0, 0.1, 0.4])
    np.testing.assert_allclose(jax.jit(jax.vmap(act))(many)[2], act(0.4), atol=1e-5)
    for rule in (fg.Relative, fg.Normalised):
        with pytest.raises(ValueError, match="(alpha|length) must be finite"):
            rule(float("inf"))
