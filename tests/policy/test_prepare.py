"""What was prepared at an observation says what was measured there, and no weight."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg

from ..helpers import mlp_critic, mlp_policy, observation

# Pairs of weights of one kind: what one prepared serves the other.
PAIRS = {
    "numbers": (0.1, 1.0),
    "callables": (lambda t: 0.1 * t, lambda t: t),
    "Relative": (fg.Relative(0.1), fg.Relative(0.5)),
    "Kappa": (fg.Kappa(1.0), fg.Kappa(4.0)),
    "intervals of Kappa": (
        fg.WeightInterval(fg.Kappa(1.0), 0.0, 0.5),
        fg.WeightInterval(fg.Kappa(4.0), 0.0, 1.0),
    ),
    "Kappa, then an interval of it": (fg.Kappa(1.0), fg.WeightInterval(fg.Kappa(4.0), 0.0, 0.5)),
    "Kappa, then a number": (fg.Kappa(1.0), 0.3),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_another_weight_at_a_prepared_observation(key, pair):
    # Wide bounds: a clip would make all weights one.
    policy = mlp_policy(key, num_steps=4, low=-99.0, high=99.0)
    critic, o = mlp_critic(key), observation(key)
    noise = jr.normal(key, (3,))
    first, second = (fg.guide(policy, critic, fg.qgf(weight)) for weight in PAIRS[pair])
    ready = first.prepare(o)
    found = fg.with_weight(first, PAIRS[pair][1]).from_noise(noise, ready)
    np.testing.assert_allclose(found, second.from_noise(noise, o), atol=1e-6)
    assert not np.allclose(found, first.from_noise(noise, ready), atol=1e-4)


def test_many_weights_at_a_prepared_observation(key):
    policy, critic, o = mlp_policy(key, num_steps=4), mlp_critic(key), observation(key)
    guided, noise = fg.guide(policy, critic, fg.qgf(0.3)), jr.normal(key, (3,))
    ready = guided.prepare(o)
    many = jax.vmap(lambda w: fg.with_weight(guided, w).from_noise(noise, ready))
    found = many(jnp.array([0.0, 0.3]))
    np.testing.assert_allclose(found[0], policy.from_noise(noise, o), atol=1e-6)
    np.testing.assert_allclose(found[1], guided.from_noise(noise, o), atol=1e-6)


def test_a_trust_region_around_another_weight(key):
    """Its centre is what it was given, and not what it was made of it."""
    policy, critic, o = mlp_policy(key, num_steps=4), mlp_critic(key), observation(key)
    guided = fg.guide(policy, critic, fg.qgf(0.1))
    near = fg.trust_region(lambda below, critic: fg.with_weight(below, 3.0), 0.05)
    noise = jr.normal(key, (3,))
    found = fg.guide(guided, critic, near).from_noise(noise, o)
    distance = np.linalg.norm(found - guided.from_noise(noise, o))
    np.testing.assert_allclose(distance, 0.05, rtol=1e-3)


def test_a_kappa_that_nobody_measured_is_refused(key):
    policy, critic, o = mlp_policy(key), mlp_critic(key), observation(key)
    guided = fg.guide(policy, critic, fg.qgf(0.1))
    with pytest.raises(ValueError, match="has not been measured"):
        fg.with_weight(guided, fg.Kappa(3.0)).from_noise(jr.normal(key, (3,)), guided.prepare(o))


def test_a_value_that_is_no_number_drops_what_it_would_weigh(key):
    """One of the actions from which the unit is measured has none: guidance is off, and says so."""
    policy, o = mlp_policy(key, low=-9.0, high=9.0), observation(key)
    noises = jr.normal(jr.key(0, impl="threefry2x32"), (4, 3))
    actions = jax.vmap(policy.from_noise, (0, None))(noises, o)
    limit = float(jnp.sort(actions[:, 0])[-2:].mean())

    def critic(observation, action):
        return jnp.where(action[0] > limit, jnp.nan, -jnp.sum(action**2))

    acted = fg.guide(policy, critic, fg.qgf(fg.Kappa(5.0))).act(jr.normal(key, (3,)), o)
    assert acted.dropped == 1
