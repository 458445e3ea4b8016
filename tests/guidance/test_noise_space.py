"""Best of n with a beam, and gradient ascent on the noise."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import flowguide as fg

from ..helpers import affine_policy, mlp_critic, mlp_policy, observation, quadratic_critic

seeds = st.integers(0, 2**31 - 1)


@given(seeds, st.integers(1, 5))
def test_a_beam_without_further_rounds_is_best_of_n(seed, n):
    key = jr.key(seed)
    policy, critic, o = mlp_policy(key), mlp_critic(key), observation(key)
    noise = jr.normal(key, (n, 3))
    expected = fg.guide(policy, critic, fg.best_of_n(n)).from_noise(noise, o)
    found = fg.guide(policy, critic, fg.beam(n, levels=())).from_noise(noise[None], o)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=3)
@given(seeds, st.integers(1, 4), st.lists(st.floats(0, 1, width=32), min_size=1, max_size=2))
def test_the_value_never_falls_from_round_to_round(seed, keep, levels):
    key = jr.key(seed)
    policy, critic, o = mlp_policy(key), mlp_critic(key), observation(key)
    noise = jr.normal(key, (1 + len(levels), 4, 3))
    values = [
        critic(
            o, fg.guide(policy, critic, fg.beam(4, keep, levels[:i])).from_noise(noise[: i + 1], o)
        )
        for i in range(len(levels) + 1)
    ]
    assert np.all(np.diff(values) >= -1e-6)


def test_a_beam_by_a_python_loop(key):
    policy = affine_policy(key, num_steps=4)
    critic = quadratic_critic(jr.fold_in(key, 1))
    o, noise = observation(key), jr.normal(key, (3, 4, 3))
    pool = [policy.from_noise(n, o) for n in noise[0]]
    for fresh, level in zip(noise[1:], (0.25, 0.5), strict=True):
        pool.sort(key=lambda a: -float(critic(o, a)))
        pool = pool[:2]
        for i in range(4):
            action = (1 - level) * fresh[i] + level * pool[i % 2]
            for t in np.arange(level, 1, 0.25):
                action = action + policy.velocity(t, action, o) / 4
            pool.append(policy.clip(action))
    expected = max(pool, key=lambda a: float(critic(o, a)))
    beam = fg.guide(policy, critic, "beam", n=4, keep=2, levels=(0.25, 0.5))
    np.testing.assert_allclose(beam.from_noise(noise, o), expected, atol=1e-5)
    np.testing.assert_allclose(beam.trace(noise, o).action, expected, atol=1e-5)


def test_a_beam_refuses_what_makes_no_sense(key):
    policy, critic, o = mlp_policy(key), mlp_critic(key), observation(key)
    with pytest.raises(ValueError, match="keep must be at most n, got keep=3 and n=2"):
        fg.beam(2, keep=3)
    with pytest.raises(ValueError, match=r"levels are times in \[0, 1\], got \(1.5,\)"):
        fg.beam(levels=(1.5,))
    with pytest.raises(ValueError, match="needs a flowguide.FlowPolicy, got a BestOfNPolicy"):
        fg.guide(policy, critic, [fg.best_of_n(2), fg.beam()])
    with pytest.raises(ValueError, match=r"noise_shape is \(2, 4, 3\)"):
        fg.guide(policy, critic, fg.beam()).from_noise(jnp.zeros((4, 3)), o)


def test_noise_ascent_by_a_python_loop(key):
    policy = affine_policy(key, num_steps=4)
    critic = quadratic_critic(jr.fold_in(key, 1))
    o, noise = observation(key), jr.normal(key, (3,))
    expected = noise
    for _ in range(3):
        expected = expected + 0.2 * jax.grad(lambda z: critic(o, policy.from_noise(z, o)))(expected)
    climbed = fg.guide(policy, critic, "noise_ascent", step_size=0.2, steps=3, keep_length=False)
    np.testing.assert_allclose(
        climbed.from_noise(noise, o), policy.from_noise(expected, o), atol=1e-5
    )


@given(seeds)
def test_small_steps_on_the_noise_raise_the_value(seed):
    key = jr.key(seed)
    policy, critic, o = mlp_policy(key), mlp_critic(key), observation(key)
    noise = jr.normal(key, (3,))
    climbed = fg.guide(policy, critic, "noise_ascent", step_size=0.01, steps=3, keep_length=False)
    before, after = (critic(o, each.from_noise(noise, o)) for each in (policy, climbed))
    assert after >= before - 1e-6


def test_the_length_of_the_noise_is_kept(key):
    """A policy that returns its noise shows what it was given."""
    policy = fg.FlowPolicy(lambda t, a, o: jnp.zeros(3), (3,), low=-99.0, high=99.0)
    noise = jr.normal(key, (3,))

    def critic(observation, action):
        return 5 * action[0]

    kept = fg.guide(policy, critic, "noise_ascent", step_size=1.0).from_noise(noise, None)
    np.testing.assert_allclose(jnp.linalg.norm(kept), jnp.linalg.norm(noise), rtol=1e-5)
    free = fg.guide(policy, critic, "noise_ascent", step_size=1.0, keep_length=False)
    np.testing.assert_allclose(
        free.from_noise(noise, None), noise + jnp.array([20.0, 0, 0]), rtol=1e-5
    )


def test_a_gradient_that_is_not_finite_leaves_the_noise(key):
    policy, o = mlp_policy(key), observation(key)
    noise = jr.normal(key, (3,))
    guided = fg.guide(policy, lambda o, a: jnp.nan * jnp.sum(a), "noise_ascent")
    np.testing.assert_allclose(guided.from_noise(noise, o), policy.from_noise(noise, o), atol=1e-6)
