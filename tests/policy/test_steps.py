"""Step size controllers, and how many steps there may be."""

import diffrax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg

from ..helpers import mlp_critic, mlp_policy, observation, python_loop, without_typechecker

TIMES = jnp.array([0.0, 0.1, 0.45, 0.7, 1.0])


def located(key, **options):
    return mlp_policy(key, stepsize_controller=diffrax.StepTo(ts=TIMES), **options)


@pytest.mark.parametrize("method", ["unguided", "qgf", "ood"])
def test_steps_at_given_times(key, method):
    """B6: the steps are those of the times, and `num_steps` does not count."""
    policy, critic = located(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    guided = policy if method == "unguided" else fg.guide(policy, critic, method, weight=0.3)
    action = noise
    for start, end in zip(TIMES[:-1], TIMES[1:], strict=True):
        action = action + (end - start) * guided.vector_field(start, action, o)
    expected = policy.clip(action)
    # Times of the embedding reach 1e4 radians: a rounding of t is 1e-3 radians there.
    np.testing.assert_allclose(guided.from_noise(noise, o), expected, atol=5e-5)
    trace = guided.trace(noise, o)
    np.testing.assert_allclose(trace.times, TIMES, atol=1e-6)
    np.testing.assert_allclose(trace.action, expected, atol=5e-5)
    np.testing.assert_allclose(guided.act(noise, o).action, expected, atol=5e-5)
    assert guided.act(noise, o).dropped == 0


def test_best_of_n_and_the_default_weight_with_steps_at_given_times(key):
    policy, critic, o = located(key), mlp_critic(key), observation(key)
    guided = fg.guide(policy, critic, [fg.qgf(), fg.best_of_n(2)])
    action = guided(o, key=key)
    assert action.shape == (3,) and jnp.all(jnp.isfinite(action))


@pytest.mark.parametrize(
    "guidance", [fg.ode(0.1), fg.bptt(0.1), fg.beam(2), [fg.qgf(), fg.beam(2)]]
)
def test_what_starts_in_the_middle_is_refused_with_them(key, guidance):
    """B6: it was an opaque error of diffrax, when an action was sampled."""
    with pytest.raises(ValueError, match="ode, bptt and beam .* diffrax.StepTo .* such as qgf"):
        fg.guide(located(key), mlp_critic(key), guidance)


def test_too_few_steps_are_refused(key):
    """B15: `max_steps` was replaced, in silence."""
    for options in ({"num_steps": 10}, {"stepsize_controller": diffrax.StepTo(ts=TIMES)}):
        with pytest.raises(ValueError, match=r"max_steps is 3, fewer than the \d+ steps"):
            mlp_policy(key, max_steps=3, **options)
    for bad in (0, -1, 2.5):
        with (
            without_typechecker(),
            pytest.raises(ValueError, match="max_steps must be an integer of at least 1"),
        ):
            mlp_policy(key, max_steps=bad)
    assert mlp_policy(key, num_steps=10, max_steps=10).max_steps == 10
    assert mlp_policy(key, num_steps=10, max_steps=30).most_steps == 30


def test_an_adaptive_solver_that_needs_more_steps_says_so(key):
    policy = mlp_policy(
        key,
        solver=diffrax.Heun(),
        stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
        max_steps=2,
    )
    with pytest.raises(Exception, match="maximum number of solver steps"):
        policy(observation(key), key=key)


def test_more_steps_than_are_needed_change_nothing(key):
    noise, o = jr.normal(key, (3,)), observation(key)
    found = mlp_policy(key, num_steps=5, max_steps=9)
    expected = python_loop(found, noise, o, lambda *_: 0.0)
    np.testing.assert_allclose(found.from_noise(noise, o), expected, atol=2e-5)
    trace = found.trace(noise, o)
    # The rest of the path is padding.
    assert trace.times.shape == (10,) and np.isfinite(np.asarray(trace.times)).sum() == 6
    np.testing.assert_allclose(trace.action, expected, atol=2e-5)
