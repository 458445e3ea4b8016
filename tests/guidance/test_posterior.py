import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg

from ..helpers import mlp_critic, mlp_policy, observation


@given(st.integers(0, 2**31 - 1), st.integers(1, 5))
def test_samples_coincide_where_the_action_is_clean(seed, num_samples):
    """At t = 1 there is no noise left, so every look sees the same: the estimate of `qgf`."""
    key = jr.key(seed)
    policy, critic, o = mlp_policy(key), mlp_critic(key), observation(key)
    action = jr.uniform(key, (3,), minval=-1, maxval=1)
    steps = [
        fg.guide(policy, critic, method).step(jnp.array(1.0), action, o)
        for method in (fg.posterior(num_samples=num_samples), fg.qgf())
    ]
    np.testing.assert_allclose(steps[0].velocity, steps[1].velocity, atol=1e-5)
    np.testing.assert_allclose(steps[0].value, steps[1].value, atol=1e-5)


def test_at_the_start_the_estimates_are_those_of_fresh_noise(key):
    policy, o = mlp_policy(key), observation(key)
    estimate = fg.PosteriorEstimate(3, jr.key(7))
    flow = fg.Flow(policy, policy.prepare(o), 0)
    found, _ = estimate(flow, jnp.array(0.0), jr.normal(key, (3,)))
    noises = jr.normal(jr.key(7), (3, 3))
    expected = jax.vmap(lambda n: policy.clip(n + policy.velocity(jnp.array(0.0), n, o)))(noises)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_same_noise_gives_the_same_action_and_another_key_another(key):
    policy, critic, o = mlp_policy(key, low=-9.0, high=9.0), mlp_critic(key), observation(key)
    noise = jr.normal(key, (3,))

    def act(key=None):
        return fg.guide(policy, critic, "posterior", weight=2.0, key=key).from_noise(noise, o)

    np.testing.assert_array_equal(act(), act())
    assert not np.array_equal(act(), act(jr.key(1)))


def test_one_velocity_and_one_gradient_for_each_sample(key):
    calls = {"velocity": 0, "critic": 0}

    def velocity(t, action, observation):
        # With an argument: under vmap it is then called for each sample.
        jax.debug.callback(lambda _: calls.update(velocity=calls["velocity"] + 1), action)
        return -action

    def critic(observation, action):
        jax.debug.callback(lambda _: calls.update(critic=calls["critic"] + 1), action)
        return jnp.sum(action)

    policy = fg.FlowPolicy(velocity, (3,), num_steps=2)
    guided = fg.guide(policy, critic, "posterior", weight=0.1, num_samples=5)
    guided.from_noise(jnp.zeros(3), jnp.zeros(2)).block_until_ready()
    jax.effects_barrier()
    assert calls == {"velocity": 2 * (1 + 5), "critic": 2 * 5}


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="num_samples must be an integer of at least 1, got 0"):
        fg.posterior(num_samples=0)
