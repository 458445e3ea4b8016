import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg

from ..helpers import mlp_critic, mlp_policy, observation


def counted(calls):
    def critic(observation, action):
        # With an argument: under vmap it is then called for each sample.
        jax.debug.callback(lambda _: calls.append(1), action)
        return jnp.sum(action) + jnp.sum(observation)

    return critic


def at_time(rule):
    """A rule that only looks at the time, as a function of it."""
    return lambda t: rule(fg.WeightPoint(t, jnp.ones(3), jnp.ones(3)))


@pytest.mark.parametrize(
    ("t0", "t1", "guided_steps"), [(0, 1, 10), (0.3, 0.6, 4), (0.31, 0.59, 2), (0.7, 0.7, 1)]
)
def test_outside_the_interval_nothing_is_guided_and_nothing_paid(key, t0, t1, guided_steps):
    calls = []
    policy = fg.FlowPolicy(lambda t, a, o: jnp.zeros(3), (3,), low=-9.0, high=9.0)
    guided = fg.guide(policy, counted(calls), "qgf", weight=fg.WeightInterval(0.5, t0, t1))
    action = guided.from_noise(jnp.zeros(3), jnp.zeros(2))
    # The gradient is 1, and each step takes a tenth of the time.
    np.testing.assert_allclose(action, jnp.full(3, 0.05 * guided_steps), atol=1e-6)
    jax.effects_barrier()
    assert len(calls) == guided_steps


def test_a_batch_does_not_pay_either(key):
    """Under vmap a condition on batched times would evaluate both branches for all."""
    calls = []
    policy = fg.FlowPolicy(lambda t, a, o: jnp.zeros(3), (3,))
    guided = fg.guide(policy, counted(calls), "qgf", weight=fg.WeightInterval(0.5, 0.3, 0.6))
    fg.sample(guided, jnp.zeros((7, 2)), key=key).block_until_ready()
    jax.effects_barrier()
    assert len(calls) == 4 * 7


def test_a_trace_shows_where_it_was_guided(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    guided = fg.guide(policy, critic, "qgf", weight=fg.WeightInterval(1.0, 0.2, 0.4))
    trace = guided.trace(jr.normal(key, (3,)), observation(key))
    is_guided = np.any(np.asarray(trace.guidance[:-1]) != 0, axis=1)
    np.testing.assert_array_equal(np.flatnonzero(is_guided), [2, 3, 4])
    np.testing.assert_array_equal(np.isfinite(trace.values[:-1]), is_guided)


INSIDE = {
    "ScoreWeight of an interval": lambda w: fg.ScoreWeight(fg.WeightInterval(w, 0.3, 0.6)),
    "an interval of ScoreWeight": lambda w: fg.WeightInterval(fg.ScoreWeight(w), 0.3, 0.6),
    "an interval of intervals": lambda w: fg.WeightInterval(
        fg.ScoreWeight(fg.WeightInterval(w, 0.0, 0.6)), 0.3, 1.0
    ),
}
WEIGHTS = {
    "a number": 0.5,
    "Kappa": fg.Kappa(2.0, num_actions=3),
    "Kappa of observations": fg.Kappa(2.0, jnp.zeros((4, 2)), num_actions=3),
    "Relative": fg.Relative(0.2, skip_first=True),
}


@pytest.mark.parametrize("nested", INSIDE)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_nested_rules_do_not_pay_outside(key, nested, weight):
    """B8: `ScoreWeight(WeightInterval(...))` asked the critic at every step."""
    calls = []
    policy = fg.FlowPolicy(lambda t, a, o: o[0] - a, (3,))
    rule = INSIDE[nested](WEIGHTS[weight])
    guided = fg.guide(policy, counted(calls), "qgf", weight=rule)
    # What the unit costs, at the observation at hand, comes before the flow begins.
    unit = 3 if weight == "Kappa" else 0
    assert guided.cost() == fg.Cost(10 * (1 + unit), critic_gradients=4 + unit)
    for act, count in [
        (lambda: guided.from_noise(jnp.ones(3), jnp.ones(2)), 1),
        (lambda: fg.sample(guided, jnp.ones((5, 2)), key=key), 5),
    ]:
        jax.effects_barrier()
        calls.clear()
        act().block_until_ready()
        jax.effects_barrier()
        assert len(calls) == count * (4 + unit)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_order_of_nested_rules_does_not_matter(key, weight):
    policy, critic = mlp_policy(key, low=-9.0, high=9.0), mlp_critic(key)
    inner = WEIGHTS[weight]
    if weight == "Kappa of observations":
        inner = fg.Kappa(2.0, jr.normal(key, (4, 7)))
    noise, o = jr.normal(key, (3,)), observation(key)
    actions = [
        fg.guide(policy, critic, fg.qgf(INSIDE[nested](inner))).from_noise(noise, o)
        for nested in INSIDE
    ]
    np.testing.assert_allclose(actions[1], actions[0], atol=1e-6)
    np.testing.assert_allclose(actions[2], actions[0], atol=1e-6)
    assert not np.allclose(actions[0], policy.from_noise(noise, o), atol=1e-3)


def test_an_interval_equals_the_callable_that_is_zero_outside(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    interval = fg.qgf(fg.WeightInterval(fg.ScoreWeight(0.4, cap=3.0), 0.15, 0.65))
    by_hand = fg.qgf(
        lambda t: jnp.where((t > 0.15) & (t < 0.65), 0.4 * jnp.minimum((1 - t) / t, 3.0), 0.0)
    )
    actions = [fg.guide(policy, critic, each).from_noise(noise, o) for each in (interval, by_hand)]
    np.testing.assert_allclose(actions[0], actions[1], atol=1e-6)


@pytest.mark.parametrize(
    ("t", "factor"), [(0.0, 4.0), (0.1, 4.0), (0.2, 4.0), (0.5, 1.0), (1.0, 0)]
)
def test_the_score_weight_is_capped(t, factor):
    weight = at_time(fg.ScoreWeight(2.0, cap=4.0))
    np.testing.assert_allclose(weight(jnp.array(t)), 2 * factor, rtol=1e-6)
    assert np.isfinite(jax.grad(weight)(jnp.array(t)))


def test_the_score_weight_turns_guidance_of_the_score_into_that_of_the_velocity():
    r"""For a Gaussian everything is known: its tilted flow has the tilted Gaussian's velocity.

    Data `N(0, s^2)`, tilted by `exp(b a)`, are `N(b s^2, s^2)`. The optimal term is the gradient
    of `log E[exp(b a_1) | a_t]`, added to the score, that is times `(1 - t) / t` to the velocity.
    """
    s, b = 0.7, 1.3

    def posterior_slope(t):
        # d E[a_1 | a_t] / d a_t
        return t * s**2 / (t**2 * s**2 + (1 - t) ** 2)

    def velocity(mean):
        def at(t, a):
            expected = mean + posterior_slope(t) * (a - t * mean)
            return (expected - a) / (1 - t)

        return at

    weight = at_time(fg.ScoreWeight(1.0, cap=1e6))
    for t in (0.2, 0.5, 0.8):
        term = weight(jnp.array(t)) * b * posterior_slope(t)
        found = velocity(0.0)(t, 0.4) + term
        np.testing.assert_allclose(found, velocity(b * s**2)(t, 0.4), rtol=1e-4)


def test_impossible_intervals_and_caps_are_refused():
    with pytest.raises(eqx.EquinoxRuntimeError, match="cap must be above 0"):
        fg.ScoreWeight(1.0, cap=0.0)
    with pytest.raises(ValueError, match="0 <= t0 <= t1 <= 1, got t0=0.6 and t1=0.3"):
        fg.WeightInterval(1.0, 0.6, 0.3)
