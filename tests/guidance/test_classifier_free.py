from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg
from flowguide import nn

from ..helpers import HIDDEN, mlp_critic, mlp_policy, observation, OBSERVATION_SIZE


def conditioned_policy(key) -> Any:
    velocity = nn.VelocityMLP(OBSERVATION_SIZE, (3,), HIDDEN, num_labels=2, key=key)
    return fg.FlowPolicy(fg.ClassifierFreeVelocity(velocity), (3,), low=-9.0, high=9.0)


@given(st.integers(0, 2**31 - 1), st.floats(-2, 4, width=32))
def test_the_velocity_is_extrapolated(seed, weight):
    key = jr.key(seed)
    policy, o, a = conditioned_policy(key), observation(key), jr.normal(key, (3,))
    guided: Any = fg.guide(policy, mlp_critic(key), "cfg", weight=weight)
    field, t = policy.velocity.velocity, jnp.array(0.3)
    unknown, good = (field(t, a, (o, label)) for label in (-1, 1))
    np.testing.assert_allclose(policy.velocity(t, a, o), unknown, atol=1e-6)
    np.testing.assert_allclose(
        guided.vector_field(t, a, o), (1 - weight) * unknown + weight * good, atol=1e-4
    )


def test_tilts_a_mixture_exactly():
    r"""Two equal Gaussians at -1 and 1; "good" is the right one. Mixing velocities is exact.

    For `p(a) ~ N(-1, s) + N(1, s)` and `p(a | good) = N(1, s)` the fields are those of the paths
    `(1 - t) noise + t a`, and with weight 1 the guided flow is the good one's.
    """
    s = 0.1

    def posterior(t, a, mean):
        variance = t**2 * s**2 + (1 - t) ** 2
        expected = mean + t * s**2 / variance * (a - t * mean)
        return expected, jnp.exp(-((a - t * mean) ** 2) / (2 * variance))

    def velocity(t, a, conditioned):
        _, label = conditioned
        t = jnp.minimum(t, 1 - 1e-3)
        (right, p), (left, q) = posterior(t, a, 1.0), posterior(t, a, -1.0)
        mixed = (p * right + q * left) / (p + q)
        return (jnp.where(label == 1, right, mixed) - a) / (1 - t)

    field = fg.ClassifierFreeVelocity(velocity)
    policy = fg.FlowPolicy(field, (1,), num_steps=50, low=-3.0, high=3.0)
    guided = fg.guide(policy, lambda o, a: jnp.sum(a), "cfg", weight=1.0)
    observations = jnp.zeros((400, 2))
    free, good = (fg.sample(p, observations, key=jr.key(0))[:, 0] for p in (policy, guided))
    assert 0.42 < np.mean(free > 0) < 0.58
    np.testing.assert_allclose([good.mean(), good.std()], [1.0, s], atol=0.03)


def test_the_unguided_policy_pays_for_one_velocity(key):
    calls = []

    def velocity(t, action, conditioned):
        jax.debug.callback(lambda _: calls.append(1), action)
        return -action

    policy = fg.FlowPolicy(fg.ClassifierFreeVelocity(velocity), (3,), num_steps=5)
    guided = fg.guide(policy, lambda o, a: jnp.sum(a), "cfg")
    for each, expected in ((policy, 5), (guided, 10)):
        calls.clear()
        each.from_noise(jnp.zeros(3), jnp.zeros(2)).block_until_ready()
        jax.effects_barrier()
        assert len(calls) == expected


def test_critic_gradients_come_on_top(key):
    policy, critic, o = conditioned_policy(key), mlp_critic(key), observation(key)
    both: Any = fg.guide(policy, critic, [fg.cfg(2.0), fg.qgf(0.5)])
    a, t = jr.normal(key, (3,)), jnp.array(0.4)
    first: Any = fg.guide(policy, critic, fg.cfg(2.0))
    expected = fg.guide(first, critic, fg.qgf(0.5)).vector_field(t, a, o)
    np.testing.assert_allclose(both.vector_field(t, a, o), expected, atol=1e-6)


def test_saved_and_loaded(key, tmp_path):
    policy, critic, o = conditioned_policy(key), mlp_critic(key), observation(key)
    fg.save(tmp_path, policy, critic)
    with pytest.raises(ValueError, match="policy has guidance, which is not saved"):
        guided: Any = fg.guide(policy, critic, "cfg")
        fg.save(tmp_path / "guided", guided, critic)
    loaded, _ = fg.load(tmp_path)
    noise = jr.normal(key, (3,))
    for weight in (0.0, 3.0):
        actions = [
            fg.guide(p, critic, "cfg", weight=weight).from_noise(noise, o) for p in (policy, loaded)
        ]
        np.testing.assert_array_equal(actions[0], actions[1])


def test_refuses_a_policy_that_knows_no_conditions(key):
    with pytest.raises(ValueError, match="cfg needs a policy whose .* got a VelocityMLP"):
        fg.guide(mlp_policy(key), mlp_critic(key), "cfg")
    with pytest.raises(ValueError, match="cfg needs a policy whose .* got a BestOfNPolicy"):
        fg.guide(conditioned_policy(key), mlp_critic(key), [fg.best_of_n(2), fg.cfg()])
    with pytest.raises(ValueError, match=r"asked about \(observation, label\)"):
        conditioned_policy(key).velocity.velocity(jnp.array(0.0), jnp.zeros(3), observation(key))
