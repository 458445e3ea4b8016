"""Several critics as one."""

import equinox as eqx
import jax.random as jr
import numpy as np
from hypothesis import given, strategies as st

import flowguide as fg

from ..helpers import mlp_critic, mlp_policy, observation, quadratic_critic

seeds = st.integers(0, 2**31 - 1)


@eqx.filter_jit
def act(policy, noise, observation):
    return policy.from_noise(noise, observation)


@given(seed=seeds)
def test_ensemble_min_and_mean_bound_each_other(seed):
    key = jr.key(seed)
    members = mlp_critic(key).critics
    o, a = observation(key), jr.normal(key, (3,))
    low, mean = fg.Ensemble(members, "min")(o, a), fg.Ensemble(members, "mean")(o, a)
    values = fg.Ensemble(members).members(o, a)
    pessimist = fg.Ensemble(members, lambda q: q.mean() - 0.5 * q.std())(o, a)
    assert values.shape == (3,)
    assert low == values.min() <= mean <= values.max()
    assert pessimist <= mean


def test_an_ensemble_of_separate_members_equals_the_stacked_one(key):
    stacked = mlp_critic(key)
    separate = mlp_critic(key, stacked=False)
    mixed = fg.Ensemble([lambda o, a: a.sum(), quadratic_critic(key)])
    o, a = observation(key), jr.normal(key, (3,))
    np.testing.assert_allclose(stacked.members(o, a), separate.members(o, a), atol=1e-5)
    assert mixed.members(o, a).shape == (2,)
    noise = jr.normal(key, (3,))
    np.testing.assert_allclose(
        act(fg.guide(mlp_policy(key), stacked, "qgf"), noise, o),
        act(fg.guide(mlp_policy(key), separate, "qgf"), noise, o),
        atol=1e-5,
    )
