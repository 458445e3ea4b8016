import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg
from flowguide._jacobian.polar import polar_factor

from ..helpers import ACTION_SHAPES, mlp_critic, mlp_policy, observation

seeds = st.integers(0, 2**31 - 1)


def pullback_of(jacobian, function, action):
    return jacobian(lambda a: (function(a), a), action)[2]


@pytest.mark.parametrize("action_shape", ACTION_SHAPES)
@given(seed=seeds)
def test_an_orthogonal_jacobian_keeps_lengths_and_angles(action_shape, seed):
    keys = jr.split(jr.key(seed), 3)
    size = int(np.prod(action_shape))
    matrix = jr.normal(keys[0], (size, size))
    pull = pullback_of(
        fg.OrthogonalJacobian(),
        lambda a: (matrix @ a.ravel()).reshape(action_shape),
        jr.normal(keys[1], action_shape),
    )
    g, h = jr.normal(keys[2], (2, *action_shape))
    np.testing.assert_allclose(jnp.sum(pull(g) * pull(h)), jnp.sum(g * h), atol=1e-3)


@given(seed=seeds)
def test_the_orthogonal_jacobian_is_the_nearest_to_the_exact_one(seed):
    """No other of 100 orthogonal maps is nearer, in the Frobenius norm."""
    key = jr.key(seed)
    matrix = jr.normal(key, (4, 4))
    pull = pullback_of(fg.OrthogonalJacobian(), lambda a: matrix @ a, jnp.zeros(4))
    # Row i of a Jacobian is what unit gradient i is pulled back to.
    nearest = jax.vmap(pull)(jnp.eye(4))
    others = jr.orthogonal(key, 4, (100,))
    distances = jnp.linalg.norm(others - matrix[None], axis=(1, 2))
    assert jnp.linalg.norm(nearest - matrix) <= distances.min() + 1e-4


def test_a_clipped_entry_leaves_the_others_turned_as_they_are():
    """A diagonal map with a zero row: the orthogonal map is the identity, not any reflection."""
    pull = pullback_of(
        fg.OrthogonalJacobian(), lambda a: jnp.array([3.0, 0.0, 0.2]) * a, jnp.ones(3)
    )
    gradient = jnp.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(pull(gradient), gradient, atol=1e-4)


@pytest.mark.parametrize(("mix", "same"), [(0.0, "qgf"), (1.0, "qgf_jacobian")])
def test_the_ends_of_the_mix(key, mix, same):
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    regularised = fg.guide(policy, critic, "qgf_regularised", weight=0.3, mix=mix)
    other = fg.guide(policy, critic, same, weight=0.3)
    np.testing.assert_allclose(
        regularised.from_noise(noise, o), other.from_noise(noise, o), atol=1e-6
    )


def test_a_sweep_over_the_mix_is_one_vmap(key):
    policy, critic = mlp_policy(key, low=-9.0, high=9.0), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)

    def act(mix):
        return fg.guide(policy, critic, "qgf_regularised", mix=mix).from_noise(noise, o)

    actions = jax.vmap(act)(jnp.array([0.0, 0.4, 1.0]))
    np.testing.assert_allclose(actions[1], act(0.4), atol=1e-6)
    assert not np.allclose(actions[0], actions[2])


@given(seeds)
def test_the_derivative_of_the_polar_factor(seed):
    """Against finite differences, and also where singular values are equal."""
    key = jr.key(seed)
    direction = jr.normal(key, (4, 4))
    for matrix in (jr.normal(jr.fold_in(key, 1), (4, 4)) + 3 * jnp.eye(4), jnp.eye(4)):
        factor, tangent = jax.jvp(polar_factor, (matrix,), (direction,))
        np.testing.assert_allclose(factor, jax.scipy.linalg.polar(matrix)[0], atol=1e-5)
        step = 1e-2
        ends = [polar_factor(matrix + sign * step * direction) for sign in (1, -1)]
        np.testing.assert_allclose(tangent, (ends[0] - ends[1]) / (2 * step), atol=5e-3)
