"""A weight that nobody asked for suits any critic: the critic's scale changes no action."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg

from ..helpers import mlp_critic, mlp_policy, OBSERVATION_SIZE

FACTORS = [(1e-3, 0.0), (1e3, 0.0), (1.0, 10.0), (1.0, -30.0), (1e-3, 1e-2), (1e3, -2e4)]


class Scaled(eqx.Module):
    critic: Any
    factor: jax.Array
    constant: jax.Array

    def __call__(self, observation, action):
        return self.factor * self.critic(observation, action) + self.constant


WEIGHTS = {
    "the default": None,
    "Kappa": fg.Kappa(2.0),
    "Kappa of observations": fg.Kappa(
        2.0, jnp.linspace(-1, 1, 8 * OBSERVATION_SIZE).reshape(8, OBSERVATION_SIZE)
    ),
    "Relative": fg.Relative(0.2),
    "Relative, not at first": fg.Relative(0.2, skip_first=True),
    "Normalised": fg.Normalised(0.5),
}


@pytest.mark.parametrize("weight", WEIGHTS)
@given(seed=st.integers(0, 2**31 - 1))
def test_actions_do_not_depend_on_the_scale_of_the_critic(weight, seed):
    key = jr.key(seed)
    policy, critic = mlp_policy(key, (2, 3)), mlp_critic(jr.fold_in(key, 1), (2, 3))
    observations = jr.normal(key, (4, OBSERVATION_SIZE))

    def sampled(factor, constant):
        scaled = Scaled(critic, jnp.array(factor), jnp.array(constant))
        options = {} if WEIGHTS[weight] is None else {"weight": WEIGHTS[weight]}
        guided = fg.guide(policy, scaled, method="qgf", **options)
        return np.asarray(fg.sample(guided, observations, key=key))

    expected = sampled(1.0, 0.0)
    unguided = np.asarray(fg.sample(policy, observations, key=key))
    assert np.abs(expected - unguided).max() > 1e-2
    for factor, constant in FACTORS:
        np.testing.assert_allclose(sampled(factor, constant), expected, atol=1e-4, rtol=0)
