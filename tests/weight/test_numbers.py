"""Weights that are numbers, arrays and callables of time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowguide as fg

from ..helpers import mlp_critic, mlp_policy, observation, python_loop, quadratic_critic


@eqx.filter_jit
def act(policy, noise, observation):
    return policy.from_noise(noise, observation)


def test_a_batch_of_weights_is_one_vmap(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    many = jnp.array([0.0, 0.1, 1.0])

    def guided(weight):
        return fg.guide(policy, critic, "qgf", weight=weight).from_noise(noise, o)

    for weight, action in zip(many, jax.jit(jax.vmap(guided))(many), strict=True):
        np.testing.assert_allclose(guided(weight), action, atol=1e-5)


def test_weight_may_be_an_array_or_a_callable_of_t(key):
    policy, critic = mlp_policy(key, num_steps=4), quadratic_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    per_dimension = jnp.array([0.5, 0.0, -0.5])
    for weight, as_function in [
        (per_dimension, lambda t: per_dimension),
        (lambda t: 2 * t, lambda t: 2 * t),
        (0.7, lambda t: 0.7),
    ]:
        guided = fg.guide(policy, critic, fg.ood(weight))

        def term(i, action, velocity, as_function=as_function):
            return as_function(i / 4) * jax.grad(lambda a: critic(o, a))(action)

        # The times of the embedding reach 1e4 radians: a rounding of t is 1e-3 radians there.
        np.testing.assert_allclose(
            act(guided, noise, o), python_loop(policy, noise, o, term), atol=3e-5
        )
