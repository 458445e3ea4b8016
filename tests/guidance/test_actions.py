"""Guidance of finished actions, and sequences of guidances."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from hypothesis import given, strategies as st

import flowguide as fg

from ..helpers import (
    GUIDANCES,
    mlp_critic,
    mlp_policy,
    observation,
    OBSERVATION_SIZE,
    quadratic_critic,
)

seeds = st.integers(0, 2**31 - 1)


@eqx.filter_jit
def act(policy, noise, observation):
    return policy.from_noise(noise, observation)


@given(seed=seeds, n=st.integers(1, 3))
def test_best_of_n(seed, n):
    key = jr.key(seed)
    policy, critic = mlp_policy(key), mlp_critic(key)
    best = fg.guide(policy, critic, fg.best_of_n(n))
    noise, o = jr.normal(key, best.noise_shape), observation(key)
    chosen = act(best, noise, o)
    candidates = jax.vmap(lambda n: act(policy, n, o))(noise)
    values = jax.vmap(lambda a: critic(o, a))(candidates)
    # Never below the first candidate, and the best of all of them.
    np.testing.assert_allclose(critic(o, chosen), values.max(), atol=1e-5)
    shuffled = act(best, jr.permutation(jr.fold_in(key, 1), noise, axis=0), o)
    np.testing.assert_allclose(shuffled, chosen, atol=1e-6)


def test_best_of_n_never_chooses_nan(key):
    policy = fg.FlowPolicy(lambda t, a, o: jnp.zeros_like(a), (1,), low=-9.0, high=9.0)

    def critic(observation, action):
        return jnp.where(action[0] > 0, action[0], jnp.nan)

    best = fg.guide(policy, critic, fg.best_of_n(3))
    assert best.from_noise(jnp.array([[-1.0], [0.5], [-2.0]]), jnp.zeros(2)) == 0.5


def test_grad_step_climbs_within_the_bounds(key):
    policy, critic = mlp_policy(key), quadratic_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    action = policy.from_noise(noise, o)
    for sign in (False, True):
        expected = action
        for _ in range(3):
            gradient = jax.grad(lambda a: critic(o, a))(expected)
            expected = jnp.clip(expected + 0.2 * (jnp.sign(gradient) if sign else gradient), -1, 1)
        guided = fg.guide(policy, critic, fg.grad_step(0.2, steps=3, sign=sign))
        np.testing.assert_allclose(guided.from_noise(noise, o), expected, atol=1e-6)


@given(seed=seeds)
def test_guidances_compose_associatively(seed):
    key = jr.key(seed)
    policy, critic = mlp_policy(key), mlp_critic(key)
    a, b, c = fg.qgf(0.3), fg.best_of_n(2), fg.grad_step(0.1)
    at_once = fg.guide(policy, critic, [a, b, c])
    one_by_one = fg.guide(fg.guide(fg.guide(policy, critic, a), critic, b), critic, c)
    ends_together = fg.guide(fg.guide(policy, critic, [a]), critic, [b, c])
    noise, o = jr.normal(key, at_once.noise_shape), observation(key)
    for other in (one_by_one, ends_together):
        assert jnp.array_equal(act(other, noise, o), act(at_once, noise, o))


def test_call_forms_are_the_same(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    forms = [
        fg.guide(policy, critic, method="qgf", weight=0.1),
        fg.guide(policy, critic, fg.qgf(weight=0.1)),
        fg.guide(policy, critic, [fg.qgf(weight=0.1)]),
        fg.qgf(weight=0.1)(policy, critic),
    ]
    for form in forms:
        assert jnp.array_equal(form.from_noise(noise, o), forms[0].from_noise(noise, o))
        assert isinstance(form, fg.FlowPolicy)


def test_a_batch_of_observations_guided_at_once(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    observations = jr.normal(key, (6, OBSERVATION_SIZE))
    for name in ("qgf", "bptt", "grad_step", "qgf then best_of_n"):
        actions = fg.sample(fg.guide(policy, critic, GUIDANCES[name]), observations, key=key)
        assert actions.shape == (6, 3), name
        assert np.all(np.abs(actions) <= 1), name
