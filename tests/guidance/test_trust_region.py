import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg

from ..helpers import mlp_critic, mlp_policy, observation


@given(st.integers(0, 2**31 - 1), st.floats(0, 2, width=32))
def test_actions_stay_near_and_within_the_bounds(seed, radius):
    key = jr.key(seed)
    policy, critic, o = mlp_policy(key), mlp_critic(key), observation(key)
    noise = jr.normal(key, (3,))
    guided = fg.guide(policy, critic, fg.trust_region(fg.qgf(20.0), radius))
    free = fg.guide(policy, critic, fg.qgf(20.0)).from_noise(noise, o)
    unguided, action = policy.from_noise(noise, o), guided.from_noise(noise, o)
    distance = float(jnp.linalg.norm(free - unguided))
    np.testing.assert_allclose(
        jnp.linalg.norm(action - unguided), min(distance, radius), atol=1e-5, rtol=1e-5
    )
    assert jnp.all(jnp.abs(action) <= 1)


def test_with_room_enough_it_is_the_guidance_itself(key):
    policy, critic, o = mlp_policy(key), mlp_critic(key), observation(key)
    noise = jr.normal(key, (3,))
    guided = fg.guide(policy, critic, "trust_region", guidance=fg.qgf(0.3), radius=100.0)
    expected = fg.guide(policy, critic, fg.qgf(0.3)).from_noise(noise, o)
    np.testing.assert_allclose(guided.from_noise(noise, o), expected, atol=1e-6)


def test_gradients_are_finite_where_guidance_does_nothing(key):
    policy, critic, o = mlp_policy(key), mlp_critic(key), observation(key)
    guided = fg.guide(policy, critic, fg.trust_region(fg.qgf(0.0), 0.1))
    gradient = jax.grad(lambda n: guided.from_noise(n, o).sum())(jr.normal(key, (3,)))
    assert jnp.all(jnp.isfinite(gradient))


def test_what_changes_the_noise_is_refused(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    with pytest.raises(ValueError, match=r"noise_shape is \(4, 3\) and the unguided one's \(3,\)"):
        fg.guide(policy, critic, fg.trust_region(fg.best_of_n(4)))
    fg.guide(policy, critic, [fg.trust_region(fg.qgf()), fg.best_of_n(4)])


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="guidance must be a guidance"):
        fg.trust_region(0.3)
    with pytest.raises(eqx.EquinoxRuntimeError, match="radius must be at least 0"):
        fg.trust_region(fg.qgf(), -0.1)
    with pytest.raises(ValueError, match="radius must be one number"):
        fg.trust_region(fg.qgf(), jnp.ones(3))
