from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg

from ..helpers import mlp_critic, mlp_policy, observation

numbers = st.floats(-3, 3, width=32)


def effort(observation, action):
    return jnp.sum(action**2)


@given(st.integers(0, 2**31 - 1), numbers, numbers)
def test_arithmetic_is_that_of_the_values(seed, w, v):
    key = jr.key(seed)
    q, r, o = mlp_critic(key), mlp_critic(jr.fold_in(key, 1)), observation(key)
    a = jr.normal(key, (3,))
    e = fg.as_critic(effort)
    x, y, z = float(q(o, a)), float(r(o, a)), float(effort(o, a))
    for critic, expected in [
        (q + r, x + y),
        (q - r, x - y),
        (w * q, w * x),
        (q * np.float32(w), w * x),
        (np.float32(w) * q, w * x),
        (jnp.float32(w) * q, w * x),
        (q / 4, x / 4),
        (-q, -x),
        (q - w * e, x - w * z),
        (effort + q, z + x),
        (effort - q, z - x),
        (w * (q - v * (r + e)), w * (x - v * (y + z))),
        (fg.WeightedSum([q, r], [w, v]), w * x + v * y),
        (fg.Ensemble([q, e]), min(x, z)),
    ]:
        np.testing.assert_allclose(critic(o, a), expected, atol=1e-4, rtol=1e-4)
        assert jnp.all(jnp.isfinite(jax.grad(critic, argnums=1)(o, a)))


def test_a_sum_of_sums_is_one_sum(key):
    q = mlp_critic(key)
    total = 2.0 * (q + fg.as_critic(effort)) - 0.5 * q
    assert len(total.critics) == 3
    np.testing.assert_allclose(total.weights, [2.0, 2.0, -0.5])


def test_one_policy_serves_several_objectives_without_recompiling(key):
    policy, q = mlp_policy(key), mlp_critic(key)
    o, noise = observation(key), jr.normal(key, (3,))
    traced = []

    @jax.jit
    def act(price):
        traced.append(1)
        critic = q - price * fg.as_critic(effort)
        return fg.guide(policy, critic, "qgf", weight=1.0).from_noise(noise, o)

    lengths = [float(jnp.linalg.norm(act(price))) for price in (0.0, 0.3, 1.0)]
    assert lengths[0] > lengths[1] > lengths[2]
    assert len(traced) == 1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_switch_asks_the_critic_that_counts(key, sign):
    def broken(observation, action):
        return jnp.sum(jnp.sqrt(-jnp.abs(action)))

    o, a = sign * jnp.ones(7), jnp.array([0.1, 0.2, 0.3])
    fine: Any = fg.as_critic(effort)
    critics = (fine, broken) if sign > 0 else (broken, fine)
    switch = fg.Switch(lambda o: o[0] > 0, *critics)
    np.testing.assert_allclose(switch(o, a), effort(o, a), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(switch, argnums=1)(o, a), 2 * a, rtol=1e-6)
    # A batch with both conditions evaluates both critics: the broken one must not spoil the other.
    gradients = jax.vmap(jax.grad(switch, argnums=1), (0, None))(jnp.stack([o, -o]), a)
    np.testing.assert_allclose(gradients[0], 2 * a, rtol=1e-6)
    assert jnp.all(jnp.isnan(gradients[1]))


def test_bad_terms_are_refused(key):
    q: Any = mlp_critic(key)
    with pytest.raises(TypeError):
        _ = q + 1.0
    with pytest.raises(TypeError):
        _ = q * q
    with pytest.raises(ValueError, match=r"2 critics and weights of shape \(3,\)"):
        fg.WeightedSum([q, q], [1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="critic must be a callable"):
        fg.as_critic(3.0)
    switch = fg.Switch(lambda o: o, q, q)
    with pytest.raises(ValueError, match=r"one boolean, got an array of shape \(7,\)"):
        switch(observation(key), jnp.zeros(3))
    with pytest.raises(ValueError, match="returned .* but a critic returns one number"):
        (q + (lambda o, a: a))(observation(key), jnp.zeros(3))
