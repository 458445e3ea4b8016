from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg

from ..helpers import (
    ACTION_SHAPES,
    affine_policy,
    COMBINATIONS,
    GUIDANCES,
    mlp_critic,
    mlp_policy,
    observation,
    OBSERVATION_SIZE,
    python_loop,
    SOLVERS,
)


@pytest.mark.parametrize("action_shape", ACTION_SHAPES)
def test_call_is_from_noise_of_its_key(key, action_shape):
    policy = mlp_policy(key, action_shape)
    o = observation(key)
    noise = jr.normal(key, policy.noise_shape)
    assert policy(o, key=key).shape == action_shape
    assert jnp.array_equal(policy(o, key=key), policy.from_noise(noise, o))


@pytest.mark.parametrize("action_shape", ACTION_SHAPES)
def test_equals_a_python_loop(key, action_shape):
    policy = mlp_policy(key, action_shape, num_steps=7)
    noise, o = jr.normal(key, action_shape), observation(key)
    expected = python_loop(policy, noise, o, lambda *_: 0.0)
    # Times reach 1e4 radians in the embedding: one rounding of t is 1e-3 radians there.
    np.testing.assert_allclose(policy.from_noise(noise, o), expected, atol=2e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("adaptive", [False, True])
def test_any_solver_and_controller_reaches_the_closed_form(key, solver, adaptive):
    controller = diffrax.ConstantStepSize()
    if adaptive:
        if solver == "Euler":
            pytest.skip("Euler estimates no error, so diffrax cannot adapt its steps.")
        controller = diffrax.PIDController(rtol=1e-5, atol=1e-5)
    steps = 10 if adaptive else 400
    policy = affine_policy(
        key, solver=SOLVERS[solver], stepsize_controller=controller, num_steps=steps
    )
    noise, o = jr.normal(key, (3,)), observation(key)
    field = policy.velocity
    # a' = M a + c  is solved by  a(1) = e^M a(0) + (e^M - 1) M^-1 c.
    flow = jax.scipy.linalg.expm(field.matrix)
    shift = (flow - jnp.eye(3)) @ jnp.linalg.solve(field.matrix, field.drift @ o)
    tolerance = 2e-2 if solver == "Euler" else 2e-4
    np.testing.assert_allclose(policy.from_noise(noise, o), flow @ noise + shift, atol=tolerance)


def test_bounds_may_differ_by_dimension(key):
    low = np.array([-0.1, -1.0, 0.2], np.float32)
    high = np.array([0.1, 0.0, 0.3], np.float32)
    policy = mlp_policy(key, low=low, high=high)
    actions = fg.sample(policy, jr.normal(key, (50, OBSERVATION_SIZE)), key=key)
    assert np.all((np.asarray(actions) >= low) & (np.asarray(actions) <= high))
    # Bounds are no parameters.
    parameters = jax.tree.leaves(eqx.filter(policy, eqx.is_inexact_array))
    assert len(parameters) == len(
        jax.tree.leaves(eqx.filter(policy.velocity, eqx.is_inexact_array))
    )


def test_observations_may_be_pytrees(key):
    def velocity(t, action, observation):
        return t * observation["image"].mean() - action * observation["state"][0]

    policy = fg.FlowPolicy(velocity, (3,))
    observations = {"image": jnp.ones((5, 2, 2)), "state": jnp.ones((5, 4))}
    assert fg.sample(policy, observations, key=key).shape == (5, 3)


def test_action_may_be_a_scalar(key):
    policy = fg.FlowPolicy(lambda t, a, o: o - a, ())
    guided = fg.guide(policy, lambda o, a: -((a - o) ** 2), "qgf", weight=1.0)
    assert guided(jnp.array(0.5), key=key).shape == ()


def test_sample_is_the_policy_on_split_keys(key):
    policy = mlp_policy(key)
    observations = jr.normal(key, (4, OBSERVATION_SIZE))
    actions = fg.sample(policy, observations, key=key)
    for o, k, action in zip(observations, jr.split(key, 4), actions, strict=True):
        np.testing.assert_allclose(policy(o, key=k), action, atol=1e-5)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_batched_equals_unbatched(key, name):
    policy, critic = mlp_policy(key), mlp_critic(key)
    guided = fg.guide(policy, critic, GUIDANCES[name])
    noise = jr.normal(key, (4, *guided.noise_shape))
    observations = jr.normal(key, (4, OBSERVATION_SIZE))
    batched = jax.jit(jax.vmap(guided.from_noise))(noise, observations)
    for n, o, action in zip(noise, observations, batched, strict=True):
        np.testing.assert_allclose(guided.from_noise(n, o), action, atol=1e-5)


# One of each kind of derivative; where it is piecewise, a finite difference can cross a jump.
SMOOTH = (
    "qgf",
    "bptt",
    "ode",
    "qgf_jacobian",
    "qgf clipped",
    "qgf gated",
    "qgf of the score",
    "qgf in an interval",
    "guided_action_flow",
    "trust_region",
    "noise_ascent",
    "grad_step",
)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_those_of_finite_differences(key, name):
    # Noise ascent has a derivative inside, and diffrax's default can be differentiated once only.
    options = {"adjoint": diffrax.DirectAdjoint()} if name == "noise_ascent" else {}
    policy = mlp_policy(key, low=-10.0, high=10.0, num_steps=4, **options)
    guided = fg.guide(policy, mlp_critic(key), GUIDANCES[name])
    noise, o = jr.normal(key, guided.noise_shape), observation(key)

    def f(o):
        return jnp.sum(guided.from_noise(noise, o))

    direction = jr.normal(jr.key(1), o.shape)
    step = 1e-2
    difference = (f(o + step * direction) - f(o - step * direction)) / (2 * step)
    np.testing.assert_allclose(
        jax.jit(jax.grad(f))(o) @ direction, difference, rtol=2e-2, atol=2e-3
    )


def test_stacked_policies_and_critics(key):
    keys = jr.split(key, 3)
    policies = eqx.filter_vmap(mlp_policy)(keys)
    critics = eqx.filter_vmap(mlp_critic)(keys)
    noise, o = jr.normal(key, (3,)), observation(key)

    @eqx.filter_vmap(in_axes=(eqx.if_array(0), eqx.if_array(0)))
    def act(policy, critic):
        return fg.guide(policy, critic, "qgf", weight=0.3).from_noise(noise, o)

    actions = act(policies, critics)
    for k, action in zip(keys, actions, strict=True):
        alone = fg.guide(mlp_policy(k), mlp_critic(k), "qgf", weight=0.3)
        np.testing.assert_allclose(alone.from_noise(noise, o), action, atol=1e-5)


def test_nothing_is_traced_twice_for_new_numbers(key):
    traces = []

    def velocity(t, action, observation):
        traces.append(1)
        return t * action - observation[:3]

    def critic(observation, action):
        return -jnp.sum((action - observation[:3]) ** 2)

    policy = fg.FlowPolicy(velocity, (3,))
    observations = jr.normal(key, (4, OBSERVATION_SIZE))
    fg.sample(fg.guide(policy, critic, "qgf", weight=0.1), observations, key=key)
    before = len(traces)
    assert before > 0
    for weight in (0.2, 1, np.float64(3.0), jnp.array(0.5)):
        guided = fg.guide(policy, critic, "qgf", weight=weight)
        fg.sample(guided, observations + 1, key=jr.fold_in(key, 1))
    assert len(traces) == before
    fg.sample(fg.guide(policy, critic, "ood", weight=0.1), observations, key=key)
    assert len(traces) > before


def test_term_is_the_diffrax_term(key):
    policy = mlp_policy(key, num_steps=4)
    noise, o = jr.normal(key, (3,)), observation(key)
    ys: Any = diffrax.diffeqsolve(policy.term, diffrax.Euler(), 0.0, 1.0, 0.25, noise, args=o).ys
    assert jnp.array_equal(policy.clip(ys[-1]), policy.from_noise(noise, o))


def test_a_velocity_field_of_another_library(key):
    weights = np.random.default_rng(0).normal(size=(3, OBSERVATION_SIZE)).astype(np.float32)

    def numpy_velocity(t, action, observation):
        # A black box: no JAX inside, and nothing to differentiate.
        return np.tanh(weights @ observation) - action * t

    def velocity(t, action, observation):
        out = jax.ShapeDtypeStruct(action.shape, action.dtype)
        return jax.pure_callback(
            lambda *x: np.asarray(numpy_velocity(*map(np.asarray, x)), np.float32),
            out,
            t,
            action,
            observation,
            vmap_method="sequential",
        )

    policy = fg.FlowPolicy(velocity, (3,))
    o = observation(key)
    critic = mlp_critic(key)
    for method in ("qgf", "ood", "ode", "best_of_n", "grad_step"):
        action = fg.guide(policy, critic, method)(o, key=key)
        assert jnp.all(jnp.isfinite(action))
