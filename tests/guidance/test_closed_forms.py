"""Gradient guidance against brute force and closed forms."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg

from ..helpers import (
    affine_policy,
    GRADIENT_METHODS,
    mlp_critic,
    mlp_policy,
    observation,
    python_loop,
    quadratic_critic,
)

seeds = st.integers(0, 2**31 - 1)


weights = st.floats(-2, 2, width=32)


@eqx.filter_jit
def act(policy, noise, observation):
    return policy.from_noise(noise, observation)


class Linear(eqx.Module):
    slope: jax.Array

    def __call__(self, observation, action):
        return self.slope @ action + observation.sum()


def nearest_rotation(matrix):
    """The polar factor, by NumPy; of the singular value 0 the direction that changes least."""
    u, _, vt = np.linalg.svd(np.asarray(matrix, np.float64) + 1e-3 * np.eye(len(matrix)))
    return u @ vt


def observation_velocity(t, action, observation):
    # Does not depend on the action, so that a shift is not carried on by the flow.
    return t * observation[:3]


@given(seed=seeds, weight=weights)
def test_qgf_at_the_end_equals_ood(seed, weight):
    key = jr.key(seed)
    policy, critic = mlp_policy(key), mlp_critic(key)
    action, o = jr.uniform(key, (3,), minval=-1, maxval=1), observation(key)
    ends = [
        fg.guide(policy, critic, method, weight=weight).vector_field(jnp.array(1.0), action, o)
        for method in ("qgf", "ood")
    ]
    # Two programs, which XLA fuses in different ways: equal but for the last bit.
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-6, atol=1e-6)


@given(seed=seeds, weight=weights, num_steps=st.integers(1, 4))
def test_linear_critic_shifts_every_action_by_the_same_amount(seed, weight, num_steps):
    key = jr.key(seed)
    critic = Linear(jr.normal(key, (3,)))
    policy = fg.FlowPolicy(
        observation_velocity, (3,), num_steps=num_steps, low=-jnp.inf, high=jnp.inf
    )
    guided = fg.guide(policy, critic, "qgf", weight=weight)
    noise, o = jr.normal(key, (5, 3)), observation(key)
    shift = jax.vmap(lambda n: act(guided, n, o) - act(policy, n, o))(noise)
    # The steps add up to 1, whatever their number.
    expected = np.broadcast_to(weight * np.asarray(critic.slope), (5, 3))
    np.testing.assert_allclose(shift, expected, atol=1e-5)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
@given(seed=seeds, weight=weights, size=st.integers(1, 4))
def test_equals_brute_force_through_a_python_loop(method, seed, weight, size):
    key = jr.key(seed)
    num_steps = 4
    policy = affine_policy(key, size, num_steps=num_steps, low=-2.0, high=2.0)
    critic = quadratic_critic(jr.fold_in(key, 1), size)
    noise, o = jr.normal(key, (size,)), observation(key)

    def rollout(i, action):
        for j in range(i, num_steps):
            action = action + policy.velocity(j / num_steps, action, o) / num_steps
        return policy.clip(action)

    def unclipped(i, action):
        t = i / num_steps
        return action + (1 - t) * policy.velocity(t, action, o)

    def one_step(i, action):
        return policy.clip(unclipped(i, action))

    def renoised(i, action):
        t, noises = i / num_steps, jr.normal(jr.key(0), (4, size))
        return [(1 - t) * noise + t * one_step(i, action) for noise in noises]

    def value(action):
        return critic(o, action)

    terms = {
        "ood": lambda i, a: jax.grad(value)(a),
        "qgf": lambda i, a: jax.grad(value)(one_step(i, a)),
        "qgf_jacobian": lambda i, a: jax.grad(lambda a: value(one_step(i, a)))(a),
        "qpilots": lambda i, a: jax.vjp(functools.partial(unclipped, i), a)[1](
            jax.grad(value)(one_step(i, a))
        )[0],
        "ode": lambda i, a: jax.grad(value)(rollout(i, a)),
        "bptt": lambda i, a: jax.grad(lambda a: value(rollout(i, a)))(a),
        "qgf_regularised": lambda i, a: 0.5 * (terms["qgf"](i, a) + terms["qgf_jacobian"](i, a)),
        "qgf_orthogonal": lambda i, a: (
            nearest_rotation(jax.jacobian(functools.partial(one_step, i))(a)).T @ terms["qgf"](i, a)
        ),
        "posterior": lambda i, a: sum(terms["qgf"](i, b) for b in renoised(i, a)) / 4,
    }
    expected = python_loop(policy, noise, o, lambda i, a, v: weight * terms[method](i, a))
    guided = fg.guide(policy, critic, method, weight=weight)
    # Float32 through up to 4 steps of guidance, which can amplify by several times. Clipped, a
    # Jacobian is singular, and its polar factor as good as the inverse of its nudge lets it be.
    loose = 20 if method == "qgf_orthogonal" else 1
    np.testing.assert_allclose(
        act(guided, noise, o), expected, atol=5e-5 * loose, rtol=1e-4 * loose
    )


@pytest.mark.parametrize("method", ["qgf_jacobian", "bptt"])
def test_closed_form_for_an_affine_field(key, method):
    """With one Euler step, both are the step plus `w (1 + M)^T grad Q`."""
    policy = affine_policy(key, num_steps=1)
    critic = quadratic_critic(jr.fold_in(key, 1))
    noise, o = jr.normal(key, (3,)), observation(key)
    jacobian = jnp.eye(3) + policy.velocity.matrix
    unguided = jacobian @ noise + policy.velocity.drift @ o
    expected = unguided + 0.3 * jacobian.T @ (critic.target @ o - unguided)
    guided = fg.guide(policy, critic, method, weight=0.3)
    np.testing.assert_allclose(guided.from_noise(noise, o), expected, atol=1e-5)


@given(seed=seeds, w1=weights, w2=weights)
def test_ood_weights_add_up(seed, w1, w2):
    """The gradient at the noisy action does not depend on the velocity, so two of them add."""
    key = jr.key(seed)
    policy, critic = affine_policy(key), quadratic_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    twice = act(fg.guide(policy, critic, [fg.ood(w1), fg.ood(w2)]), noise, o)
    once = act(fg.guide(policy, critic, fg.ood(w1 + w2)), noise, o)
    np.testing.assert_allclose(twice, once, rtol=1e-3, atol=1e-4)
