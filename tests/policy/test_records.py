"""How an action came about, as `act` and `trace` tell of it, for every method of the catalogue."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg

from ..helpers import METHODS, mlp_critic, mlp_policy, observation, ready


@pytest.mark.parametrize("name", METHODS)
def test_act_drops_nothing_and_a_trace_is_the_path_to_the_action(key, name):
    policy, critic, guidance = ready(name, key)
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, guided.noise_shape), observation(key)
    action, acted, trace = (f(noise, o) for f in (guided.from_noise, guided.act, guided.trace))
    np.testing.assert_allclose(acted.action, action, atol=1e-6)
    assert acted.dropped.dtype == jnp.float32 and acted.dropped == 0
    np.testing.assert_allclose(trace.action, action, atol=1e-5)
    np.testing.assert_allclose(trace.times, np.arange(5) / 4, atol=1e-6)
    # The path is the Euler path of its own velocities; none starts at the last point.
    steps = trace.actions[:-1] + trace.velocities[:-1] / 4
    np.testing.assert_allclose(steps, trace.actions[1:], atol=1e-5)
    assert jnp.all(jnp.isnan(trace.velocities[-1])) and jnp.isnan(trace.values[-1])
    assert trace.num_nonfinite == 0
    adds = fg.CATALOGUE[name].family in ("gradient", "conditioned", "around")
    assert np.any(np.asarray(trace.guidance[:-1]) != 0) == adds


@pytest.mark.parametrize("name", METHODS)
def test_a_critic_without_a_gradient_leaves_the_policy_as_it_is(key, name):
    """And `act` tells the share of steps of the flow for which that was so."""
    if name == "cfg":
        pytest.skip("asks no critic")

    def broken(critic):
        return jnp.nan * fg.as_critic(critic)

    policy, critic, guidance = ready(name, key, critic=broken)
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, guided.noise_shape), observation(key)
    acted = guided.act(noise, o)
    family = fg.CATALOGUE[name].family
    np.testing.assert_allclose(acted.dropped, 1, atol=1e-6)
    assert jnp.all(jnp.isfinite(acted.action))
    if family in ("gradient", "around", "noise") or name == "grad_step":
        np.testing.assert_allclose(acted.action, policy.from_noise(noise, o), atol=1e-6)


def test_the_share_of_dropped_steps_is_that_of_the_trace(key):
    def critic(observation, action):
        # NaN gradients below zero: some steps are guided, others are not.
        return jnp.sum(jnp.sqrt(action))

    policy = mlp_policy(key, num_steps=8)
    for guidance in (fg.ood(0.1), [fg.ood(0.1), fg.ood(0.2)]):
        guided = fg.guide(policy, critic, guidance)
        noise, o = jnp.array([-0.1, 0.1, 0.1]), observation(key)
        dropped = guided.act(noise, o).dropped
        assert 0 < dropped < 1
        np.testing.assert_allclose(dropped, guided.trace(noise, o).num_nonfinite / 8, atol=1e-6)


def test_the_share_of_dropped_steps_of_wrappers(key):
    def critic(observation, action):
        return jnp.nan * jnp.sum(action) * observation[0] ** 0

    policy, o = mlp_policy(key), observation(key)
    for guidance in (fg.best_of_n(2), fg.grad_step(0.1), fg.trust_region(fg.ood(0.1))):
        guided = fg.guide(fg.guide(policy, critic, "qgf", weight=0.1), mlp_critic(key), guidance)
        assert guided.act(jr.normal(key, guided.noise_shape), o).dropped == 1


def test_with_adaptive_steps_the_share_is_not_known(key):
    policy = mlp_policy(
        key,
        solver=diffrax.Heun(),
        stepsize_controller=diffrax.PIDController(rtol=1e-2, atol=1e-2),
        max_steps=256,
    )
    guided = fg.guide(policy, mlp_critic(key), "qgf", weight=0.1)
    noise, o = jr.normal(key, (3,)), observation(key)
    acted = guided.act(noise, o)
    np.testing.assert_allclose(acted.action, guided.from_noise(noise, o), atol=1e-6)
    assert jnp.isnan(acted.dropped)


@pytest.mark.parametrize("adaptive", [False, True])
def test_under_nan_debugging(key, adaptive):
    """F26: what has NaN where there is no number is no error of anybody's."""
    options = {}
    if adaptive:
        controller = diffrax.PIDController(rtol=1e-2, atol=1e-2)
        options = {"solver": diffrax.Heun(), "stepsize_controller": controller, "max_steps": 64}
    policy = mlp_policy(key, **options)
    noise, o = jr.normal(key, (3,)), observation(key)
    one = fg.guide(policy, mlp_critic(key), "qgf", weight=fg.WeightInterval(0.3, 0.4, 0.7))
    best = fg.guide(one, mlp_critic(key), fg.best_of_n(2))
    with jax.debug_nans(True):
        for guided in (policy, one):
            trace = guided.trace(noise, o)
            assert jnp.all(jnp.isfinite(guided.from_noise(noise, o)))
            guided.act(noise, o)
            guided.step(jnp.array(0.1), noise, o)
            guided.vector_field(jnp.array(0.1), noise, o)
        noises = jnp.stack([noise, -noise])
        best.trace(noises, o)
        best.act(noises, o)
    assert np.isnan(np.asarray(trace.values)).any()


def test_nan_debugging_still_finds_what_is_wrong(key):
    policy = fg.FlowPolicy(lambda t, a, o: a * jnp.log(o[0]), (3,))
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        policy.from_noise(jnp.ones(3), -jnp.ones(2))


class Own(fg.AbstractPolicy):
    """A policy that is no flow: with defaults for what it does not say."""

    @property
    def bounds(self):
        return np.asarray(-1.0), np.asarray(1.0)

    @property
    def noise_shape(self):
        return (3,)

    def from_noise(self, noise, observation):
        return jnp.tanh(noise + observation[:3])

    def trace(self, noise, observation):
        raise NotImplementedError


ANY_POLICY = [name for name in METHODS if fg.CATALOGUE[name].any_policy]


@pytest.mark.parametrize("name", METHODS)
def test_policies_that_are_no_flows(key, name):
    _, critic, guidance = ready(name, key)
    if name == "trust_region":
        # Around a guidance that takes such policies.
        guidance = fg.trust_region(fg.grad_step(0.5), 0.2)
    if name not in ANY_POLICY:
        with pytest.raises(ValueError, match=r"flowguide\.FlowPolicy"):
            fg.guide(Own(), critic, guidance)
        return
    guided = fg.guide(Own(), critic, guidance)
    noise, o = jr.normal(key, guided.noise_shape), observation(key)
    acted = guided.act(noise, o)
    np.testing.assert_allclose(acted.action, guided.from_noise(noise, o), atol=1e-6)
    assert jnp.isnan(acted.dropped) and guided.cost() is None
