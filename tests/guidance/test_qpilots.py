import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg

from ..helpers import mlp_critic, mlp_policy, observation


@given(st.integers(0, 2**31 - 1))
def test_qpilots_equals_the_written_out_loop(seed):
    key = jr.key(seed)
    # Bounds that stop many estimates.
    policy, critic = mlp_policy(key, low=-0.5, high=0.5, num_steps=4), mlp_critic(key)
    o, noise = observation(key), jr.normal(key, (3,))

    def unclipped(t, action):
        return action + (1 - t) * policy.velocity(t, action, o)

    action = noise
    for i in range(4):
        t = jnp.float32(i / 4)
        velocity, term = policy.velocity(t, action, o), 0.0
        if i:
            ahead, pullback = jax.vjp(lambda a, t=t: unclipped(t, a), action)
            (gradient,) = pullback(jax.grad(lambda a: critic(o, a))(jnp.clip(ahead, -0.5, 0.5)))
            length = jnp.linalg.norm(gradient)
            term = 0.2 * jnp.linalg.norm(velocity) * gradient / jnp.where(length > 0, length, 1)
        action = action + (velocity + term) / 4
    found = fg.guide(policy, critic, "qpilots").from_noise(noise, o)
    np.testing.assert_allclose(found, jnp.clip(action, -0.5, 0.5), atol=2e-5)


def test_straight_through_guides_an_entry_back_from_its_bound():
    """An estimate beyond its bound has no derivative, and no guidance, unless it is asked for."""
    policy = fg.FlowPolicy(lambda t, a, o: jnp.zeros_like(a), (1,), num_steps=2)
    noise = jnp.array([1.5])

    def critic(observation, action):
        return -jnp.sum(action)

    for straight_through, expected in ((False, 1.0), (True, 0.5)):
        estimate = fg.OneStepEstimate(straight_through)
        guidance = fg.GradientGuidance(estimate, fg.ExactJacobian(), 1.0)
        found = fg.guide(policy, critic, guidance).from_noise(noise, None)
        np.testing.assert_allclose(found, [expected])
        clean, _ = estimate(fg.Flow(policy, policy.prepare(None), 0), 0.5, noise)
        np.testing.assert_array_equal(clean, [1.0])


def softened(values, temperature):
    return temperature * np.log(np.mean(np.exp(np.asarray(values, np.float64) / temperature)))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 30.0])
def test_of_several_clean_actions_the_better_count_more(key, temperature):
    policy, critic, o = mlp_policy(key), mlp_critic(key), observation(key)
    noise, t = jr.normal(key, (3,)), jnp.array(0.3)
    guided = fg.guide(policy, critic, "posterior", weight=1.0, temperature=temperature)
    flow = fg.Flow(policy, policy.prepare(o), 0)
    cleans, _ = fg.PosteriorEstimate(4)(flow, t, noise)
    values = np.array([critic(o, clean) for clean in cleans])
    gradients = np.stack([jax.grad(lambda a: critic(o, a))(clean) for clean in cleans])
    weights = np.exp((values - values.max()) / temperature)
    step = guided.step(t, noise, o)
    np.testing.assert_allclose(step.value, softened(values, temperature), rtol=1e-4, atol=1e-5)
    expected = (weights / weights.sum()) @ gradients
    np.testing.assert_allclose(step.guidance, expected, rtol=1e-3, atol=1e-5)


def test_a_high_temperature_is_the_mean_and_is_a_leaf(key):
    policy, critic = mlp_policy(key, low=-99.0, high=99.0), mlp_critic(key)
    o, noise, traced = observation(key), jr.normal(key, (3,)), []

    @eqx.filter_jit
    def act(guidance):
        traced.append(None)
        return fg.guide(policy, critic, guidance).from_noise(noise, o)

    hot, cold = (act(fg.posterior(2.0, temperature=t)) for t in (1e4, 0.01))
    np.testing.assert_allclose(hot, act(fg.posterior(2.0)), atol=1e-5)
    assert not np.allclose(hot, cold, atol=1e-3)
    assert len(traced) == 2


def test_temperatures_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="temperature weighs several clean actions"):
        fg.GradientGuidance(fg.OneStepEstimate(), fg.DroppedJacobian(), 1.0, temperature=1.0)
    with pytest.raises(Exception, match="temperature must be above 0"):
        fg.posterior(1.0, temperature=0.0)
