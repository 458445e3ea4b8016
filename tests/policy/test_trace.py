"""The path of an action, for guidances of each kind and combinations of them."""

import diffrax
import jax
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg

from ..helpers import (
    affine_policy,
    COMBINATIONS,
    GUIDANCES,
    mlp_critic,
    mlp_policy,
    observation,
    quadratic_critic,
)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_trace_ends_at_the_action(key, name):
    policy, critic = mlp_policy(key, num_steps=5), mlp_critic(key)
    guided = fg.guide(policy, critic, GUIDANCES[name])
    noise, o = jr.normal(key, guided.noise_shape), observation(key)
    trace = guided.trace(noise, o)
    np.testing.assert_allclose(trace.action, guided.from_noise(noise, o), atol=1e-5)
    np.testing.assert_allclose(trace.times, np.arange(6) / 5, atol=1e-6)
    # The path is the Euler path of its own velocities.
    steps = trace.actions[:-1] + trace.velocities[:-1] / 5
    np.testing.assert_allclose(steps, trace.actions[1:], atol=1e-5)
    assert trace.num_nonfinite == 0


def test_trace_splits_velocities_into_policy_and_guidance(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    guided = fg.guide(policy, critic, [fg.ood(0.3), fg.ood(0.2)])
    noise, o = jr.normal(key, (3,)), observation(key)
    trace = guided.trace(noise, o)
    unguided = jax.vmap(policy.velocity, (0, 0, None))(trace.times, trace.actions, o)
    # No step starts at the last point.
    below = trace.velocities - trace.guidance
    np.testing.assert_allclose(below[:-1], unguided[:-1], atol=1e-5)
    values = jax.vmap(critic, (None, 0))(o, trace.actions)
    np.testing.assert_allclose(trace.values[:-1], values[:-1], atol=1e-5)
    unguided_trace = policy.trace(noise, o)
    assert not np.any(np.asarray(unguided_trace.guidance[:-1]))
    assert np.all(np.isnan(np.asarray(unguided_trace.values)))


def test_trace_of_an_adaptive_solver_is_padded_with_nan(key):
    policy = affine_policy(
        key,
        solver=diffrax.Tsit5(),
        stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-3),
        max_steps=64,
    )
    guided = fg.guide(policy, quadratic_critic(key), "qgf", weight=0.3)
    noise, o = jr.normal(key, (3,)), observation(key)
    trace = guided.trace(noise, o)
    used = np.isfinite(np.asarray(trace.times))
    assert 1 < used.sum() < len(used) == 65
    assert trace.times[used.sum() - 1] == 1
    np.testing.assert_allclose(trace.action, guided.from_noise(noise, o), atol=1e-5)
    starts_step = np.flatnonzero(used)[:-1]
    assert np.all(np.isfinite(np.asarray(trace.values)[starts_step]))
    assert np.isnan(np.asarray(trace.values)).sum() == 65 - len(starts_step)
    assert np.all(np.isnan(np.asarray(trace.actions)[~used]))
