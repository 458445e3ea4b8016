"""Every method does with networks of PyTorch what it does with the same networks in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")

import flowguide as fg
import flowguide.torch as fgt

from ..helpers import METHODS, observation, OBSERVATION_SIZE, ready, WEIGHTED
from .networks import CriticNetworks, VelocityNetwork


def torch_velocity(field):
    return fgt.velocity(VelocityNetwork(field))


def torch_critic(critic):
    if isinstance(critic, fg.NoiseConditionedCritic):
        return fg.NoiseConditionedCritic(torch_critic(critic.critic))
    if isinstance(critic, fg.Costate):
        # Its network is made as velocities are.
        return critic
    return fgt.critic(CriticNetworks(critic))


def both(name, key, **options):
    """The guided policy in JAX and in PyTorch."""
    policy, critic, guidance = ready(name, key, (2, 3), **options)
    theirs, torch_one, _ = ready(
        name, key, (2, 3), velocity=torch_velocity, critic=torch_critic, **options
    )
    return fg.guide(policy, critic, guidance), fg.guide(theirs, torch_one, guidance)


@pytest.mark.parametrize("name", METHODS)
def test_samples_are_those_of_jax(name, key):
    ours, theirs = both(name, key)
    observations = jax.random.normal(key, (3, OBSERVATION_SIZE))
    expected = fg.sample(ours, observations, key=key)
    np.testing.assert_allclose(fg.sample(theirs, observations, key=key), expected, atol=1e-5)


@pytest.mark.parametrize("name", WEIGHTED)
def test_weight_zero_is_the_unguided_policy(name, key):
    _, theirs = both(name, key, weight=0.0)
    policy, _, _ = ready(name, key, (2, 3), velocity=torch_velocity)
    action = theirs(observation(key), key=key)
    np.testing.assert_allclose(action, policy(observation(key), key=key), atol=1e-6)


@pytest.mark.parametrize("name", ["qgf", "qgf_jacobian"])
def test_traces_are_those_of_jax(name, key):
    ours, theirs = (
        each.trace(jax.random.normal(key, (2, 3)), observation(key)) for each in both(name, key)
    )
    for expected, found in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        # The time embedding makes 1e-3 radians of one rounding of t.
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_weight_of_the_critics_scale(key):
    ours, theirs = both("qgf", key, weight=None)
    expected = ours(observation(key), key=key)
    assert jnp.abs(expected - ours.unguided(observation(key), key=key)).max() > 1e-3
    np.testing.assert_allclose(theirs(observation(key), key=key), expected, atol=1e-5)


@pytest.mark.parametrize("reduction", ["min", "mean", fg.Pessimism(0.5)])
def test_reductions_are_those_of_an_ensemble(reduction, key):
    _, critic, _ = ready("qgf", key, (2, 3))
    ours = fg.Ensemble(critic.critics, reduction)
    theirs = fgt.critic(CriticNetworks(critic), reduction=reduction)
    action = jax.random.normal(key, (2, 3))
    for function in (lambda c: c, lambda c: jax.grad(c, argnums=1), lambda c: c.members):
        expected = function(ours)(observation(key), action)
        np.testing.assert_allclose(function(theirs)(observation(key), action), expected, atol=1e-5)


def test_critics_add_up(key):
    _, critic, _ = ready("qgf", key, (2, 3))
    theirs = fgt.critic(CriticNetworks(critic))
    action = jax.random.normal(key, (2, 3))
    effort = fg.as_critic(lambda o, a: jnp.sum(a**2))
    expected = (critic - 0.3 * effort)(observation(key), action)
    found = (theirs - 0.3 * effort)(observation(key), action)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gates_ask_the_members(key):
    ours, theirs = both("guided_action_flow", key)
    found = theirs(observation(key), key=key)
    np.testing.assert_allclose(found, ours(observation(key), key=key), atol=1e-5)
    assert jnp.abs(found - ours.unguided(observation(key), key=key)).max() > 1e-3
