"""The unit of guidance weights, where it has a closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg

OBSERVATIONS = jnp.zeros((64, 5))


class Spreading(eqx.Module):
    """Arrays, and no numbers in a closure: every example runs the same program."""

    rate: jax.Array

    def __call__(self, t, action, observation):
        return self.rate * action


class Linear(eqx.Module):
    slope: jax.Array

    def __call__(self, observation, action):
        return jnp.dot(self.slope, action) + jnp.sum(observation)


def gaussian(scale=1.0):
    """A policy whose actions are Gaussian with this standard deviation, everywhere."""
    velocity = Spreading(jnp.log(jnp.float32(scale)))
    return fg.FlowPolicy(velocity, (3,), low=-jnp.inf, high=jnp.inf, num_steps=50)


def linear(slope):
    return Linear(jnp.asarray(slope, jnp.float32))


@given(st.floats(0.2, 3.0), st.floats(0.1, 100.0))
def test_the_unit_of_a_gaussian_and_a_linear_critic(scale, slope):
    """var / sd(Q) is s^2 / (|g| s)."""
    unit = fg.weight_unit(gaussian(scale), linear([slope, 0.0, 0.0]), OBSERVATIONS, num_actions=64)
    np.testing.assert_allclose(unit, scale / slope, rtol=0.08)


def test_kappa_is_a_shift_in_standard_deviations():
    """Of a standard Gaussian, whose flow is still: the guided flow adds weight * g in all."""
    critic = linear([3.0, 4.0, 0.0])
    guided = fg.guide(gaussian(), critic, "qgf", kappa=2.0, observations=OBSERVATIONS)
    shift = guided.from_noise(jnp.zeros(3), OBSERVATIONS[0])
    np.testing.assert_allclose(shift, 2.0 * np.array([0.6, 0.8, 0.0]), rtol=0.08)


def test_the_unit_follows_the_scale_of_the_critic(key):
    policy_key, critic_key = jr.split(key)
    velocity = fg.nn.VelocityMLP(5, (3,), (16, 16), key=policy_key)
    policy = fg.FlowPolicy(velocity, (3,))
    critic = fg.nn.CriticMLP(5, (3,), (16, 16), key=critic_key)
    unit = fg.weight_unit(policy, critic, OBSERVATIONS)
    same = fg.weight_unit(policy, lambda o, a: 7.0 * critic(o, a) - 3.0, OBSERVATIONS)
    np.testing.assert_allclose(7.0 * same, unit, rtol=1e-3)
    # A constant of the task: no key, no chance.
    assert unit == fg.weight_unit(policy, critic, OBSERVATIONS)
    assert unit != fg.weight_unit(policy, critic, OBSERVATIONS, key=key)
    noise = jr.normal(key, (3,))
    auto = fg.guide(policy, critic, "qgf", weight="auto", observations=OBSERVATIONS)
    by_hand = fg.guide(policy, critic, "qgf", weight=fg.DEFAULT_KAPPA * unit)
    o = jnp.ones(5)
    assert jnp.array_equal(auto.from_noise(noise, o), by_hand.from_noise(noise, o))


def test_what_has_no_unit():
    still = fg.FlowPolicy(lambda t, a, o: -a / (1 - t + 1e-6), (3,), num_steps=10)
    with pytest.raises(ValueError, match=r"both must be above 0"):
        fg.weight_unit(gaussian(), lambda o, a: jnp.sum(o), OBSERVATIONS)
    with pytest.raises(ValueError, match=r"both must be above 0"):
        fg.weight_unit(still, lambda o, a: 0.0 * jnp.sum(a), OBSERVATIONS)
    with pytest.raises(ValueError, match="num_actions must be at least 2, got 1"):
        fg.weight_unit(gaussian(), linear([1.0, 0.0, 0.0]), OBSERVATIONS, num_actions=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observations": OBSERVATIONS}, "expected kappa="),
        ({"weight": 0.1, "observations": OBSERVATIONS}, "expected kappa="),
        ({"kappa": 3.0, "weight": 0.1, "observations": OBSERVATIONS}, "expected no other"),
        ({"kappa": 3.0, "weight": "auto", "observations": OBSERVATIONS}, "without kappa"),
        ({"weight": "much"}, "got 'much'"),
    ],
)
def test_weights_that_contradict_themselves(options, message):
    with pytest.raises(ValueError, match=message):
        fg.guide(gaussian(), linear([1.0, 0.0, 0.0]), "qgf", **options)


def test_kappa_needs_a_named_method():
    with pytest.raises(TypeError, match="kappa is for a method given by name"):
        fg.guide(
            gaussian(),
            linear([1.0, 0.0, 0.0]),
            fg.qgf(1.0),
            kappa=2.0,
            observations=jax.numpy.zeros((4, 5)),
        )
