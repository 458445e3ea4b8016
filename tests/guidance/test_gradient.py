"""Parts and options of gradient guidance."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

import flowguide as fg

from ..helpers import (
    ACTION_SHAPES,
    Affine,
    affine_policy,
    mlp_critic,
    mlp_policy,
    observation,
    quadratic_critic,
    SOLVERS,
)

seeds = st.integers(0, 2**31 - 1)


@eqx.filter_jit
def act(policy, noise, observation):
    return policy.from_noise(noise, observation)


def act_on_a_quadratic(method, solver, num_steps, controller):
    key = jr.key(5678)
    policy = affine_policy(key, solver=solver, num_steps=num_steps, stepsize_controller=controller)
    guided = fg.guide(policy, quadratic_critic(jr.fold_in(key, 1)), method, weight=0.3)
    return act(guided, jr.normal(key, (3,)), observation(key))


@functools.cache
def act_finely(method):
    return act_on_a_quadratic(method, diffrax.Heun(), 60, diffrax.ConstantStepSize())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("method", ["qgf", "bptt"])
@pytest.mark.parametrize("adaptive", [False, True])
def test_guided_policies_take_any_solver_and_controller(solver, method, adaptive):
    if adaptive and solver == "Euler":
        pytest.skip("Euler estimates no error, so diffrax cannot adapt its steps.")
    controller = diffrax.ConstantStepSize()
    if adaptive:
        controller = diffrax.PIDController(rtol=1e-3, atol=1e-3)
    found = act_on_a_quadratic(method, SOLVERS[solver], 10, controller)
    # At 10 steps a first-order solver, and an inner solve on few steps, are that far off.
    tolerance = 0.5 if solver == "Euler" else 0.1
    np.testing.assert_allclose(found, act_finely(method), atol=tolerance)


def test_bptt_takes_any_adjoint(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    actions = [
        act(fg.guide(policy, critic, fg.bptt(0.3, adjoint=adjoint)), noise, o)
        for adjoint in (None, diffrax.RecursiveCheckpointAdjoint(), diffrax.DirectAdjoint())
    ]
    np.testing.assert_allclose(actions[1], actions[0], atol=1e-5)
    np.testing.assert_allclose(actions[2], actions[0], atol=1e-5)


def test_optax_shapes_the_gradient(key):
    policy, critic = affine_policy(key), quadratic_critic(key)
    action, o = jr.normal(key, (3,)), observation(key)
    gradient = jax.grad(lambda a: critic(o, a))(action)
    t = jnp.array(0.5)
    for shaping, expected in [
        (optax.clip_by_global_norm(0.1), 0.1 * gradient / jnp.linalg.norm(gradient)),
        (optax.normalize_by_update_norm(), gradient / jnp.linalg.norm(gradient)),
        (optax.scale_by_sign(), jnp.sign(gradient)),
    ]:
        guided = fg.guide(policy, critic, fg.ood(2.0, shaping=shaping))
        added = guided.vector_field(t, action, o) - policy.velocity(t, action, o)
        np.testing.assert_allclose(added, 2.0 * expected, atol=1e-5)


@given(seed=seeds, scale=st.floats(0, 5, width=32), floor=st.floats(0, 1, width=32))
def test_disagreement_gate(seed, scale, floor):
    key = jr.key(seed)
    policy, critic = (
        affine_policy(key),
        fg.Ensemble([quadratic_critic(k) for k in jr.split(key, 3)], "mean"),
    )
    action, o, t = jr.normal(key, (3,)), observation(key), jnp.array(0.5)

    def added(**options):
        guided = fg.guide(policy, critic, fg.ood(1.0, **options))
        return guided.step(t, action, o).guidance

    factor = max(floor, np.exp(-scale * np.std(critic.members(o, action))))
    gate = fg.DisagreementGate(scale, floor)
    np.testing.assert_allclose(added(gate=gate), factor * added(), rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_not_finite_leaves_the_step_unguided(key):
    policy = affine_policy(key, num_steps=5)

    def critic(observation, action):
        # NaN gradients below zero: some steps are guided, others are not.
        return jnp.sum(jnp.sqrt(action))

    noise, o = jr.normal(key, (3,)), observation(key)
    guided = fg.guide(policy, critic, "ood", weight=0.1)
    trace = guided.trace(noise, o)
    is_bad = (np.asarray(trace.actions[:-1]) <= 0).any(axis=1)
    assert trace.num_nonfinite == is_bad.sum() > 0
    assert not np.any(np.asarray(trace.guidance[:-1])[is_bad])
    assert np.all(np.isfinite(np.asarray(guided.from_noise(noise, o))))


@pytest.mark.parametrize("action_shape", ACTION_SHAPES)
def test_a_critic_that_reads_part_of_the_action_guides_that_part(key, action_shape):
    policy = fg.FlowPolicy(lambda t, a, o: jnp.ones_like(a), action_shape)
    guided = fg.guide(policy, lambda o, a: jnp.sum(a[..., :2]), "qgf", weight=0.3)
    noise, o = jr.normal(key, action_shape), observation(key)
    added = guided.trace(noise, o).guidance[:-1]
    assert np.all(np.asarray(added[..., :2]) == np.float32(0.3))
    assert not np.any(np.asarray(added[..., 2:]))


class Backwards(eqx.Module):
    """The same flow as a model with noise at t = 1 would have learnt it."""

    velocity: Affine

    def __call__(self, t, action, observation):
        return -self.velocity(1 - t, action, observation)


@given(seed=seeds)
def test_a_reversed_field_gives_the_same_actions(seed):
    key = jr.key(seed)
    policy, critic = affine_policy(key, num_steps=8), quadratic_critic(key)
    backwards = fg.reverse_time(Backwards(policy.velocity))
    adapted = eqx.tree_at(lambda p: p.velocity, policy, backwards)
    noise, o = jr.normal(key, (3,)), observation(key)
    for method in ("qgf", "bptt"):
        np.testing.assert_allclose(
            act(fg.guide(adapted, critic, method, weight=0.3), noise, o),
            act(fg.guide(policy, critic, method, weight=0.3), noise, o),
            atol=1e-5,
        )
