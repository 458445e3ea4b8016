"""Half precision, for every method of the catalogue.

A field in bfloat16 is asked in bfloat16, while its flow is solved in float32.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg

from ..helpers import METHODS, mlp_critic, mlp_policy, observation, ready, without_typechecker


def cast(module: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, module)


class Seen(eqx.Module):
    """A field with a network in bfloat16, which notes the dtypes that it is asked with."""

    network: Any
    seen: list = eqx.field(static=True)

    def __call__(self, t, action, observation):
        if isinstance(observation, tuple):
            observation, label = observation
            assert label in (-1, 1)
        size = action.size
        matrix = self.network
        together = jnp.concatenate([action.ravel(), observation.astype(action.dtype)])
        # Strict promotion refuses the product unless both have one dtype.
        out = matrix[:, : size + 7] @ together + matrix[:, -1] * t.astype(matrix.dtype)
        self.seen.append((t.dtype, action.dtype, out.dtype))
        return jnp.tanh(out).reshape(action.shape)


def half_precision(seen, key):
    return lambda field: Seen(0.3 * jr.normal(key, (3, 11), jnp.bfloat16), seen)


@pytest.mark.parametrize("name", METHODS)
def test_a_field_in_bfloat16(key, name):
    """B10: it was checked and asked in float32. The solve is in float32 all the same."""
    seen = []
    policy, critic, guidance = ready(
        name, key, velocity=half_precision(seen, key), low=-9.0, high=9.0
    )
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, guided.noise_shape), observation(key)
    action = guided.from_noise(noise, o)
    assert set(seen) == {tuple(map(jnp.dtype, ("float32", "bfloat16", "bfloat16")))}
    assert action.dtype == jnp.float32
    # An action with more digits than bfloat16 has: it was added up in float32.
    assert jnp.any(action != action.astype(jnp.bfloat16).astype(jnp.float32))
    trace = jax.eval_shape(guided.trace, noise, o)
    assert trace.action.dtype == trace.actions.dtype == trace.velocities.dtype == jnp.float32
    if name in ("qgf", "best_of_n"):
        np.testing.assert_allclose(guided.trace(noise, o).action, action, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_noise_in_bfloat16(key, name):
    """The action has the dtype of the noise, and is the one of a solve in float32."""
    policy, critic, guidance = ready(name, key)
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, guided.noise_shape, jnp.bfloat16), observation(key)
    action = guided.from_noise(noise, o)
    assert action.dtype == jnp.bfloat16
    assert action.shape == (3,) and jnp.all(jnp.isfinite(action))
    for call in (guided.act, guided.trace):
        assert jax.eval_shape(call, noise, o).action.dtype == jnp.bfloat16
    if fg.CATALOGUE[name].family not in ("action", "noise"):
        expected = guided.from_noise(noise.astype(jnp.float32), o)
        np.testing.assert_allclose(action.astype(jnp.float32), expected, atol=1e-2)


@pytest.mark.parametrize("name", ["qgf", "bptt", "robust_q", "guided_action_flow", "grad_step"])
def test_critics_in_bfloat16(key, name):
    policy, critic, guidance = ready(name, key, weight=None)
    critic = cast(critic, jnp.bfloat16)
    if name == "robust_q":
        critic = critic - 0.1 * critic
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, (3,)), observation(key)
    action = guided.from_noise(noise, o)
    assert action.dtype == jnp.float32 and jnp.all(jnp.isfinite(action))
    assert not jnp.array_equal(action, policy.from_noise(noise, o))


def test_networks_that_compute_in_bfloat16(key):
    """Those of `flowguide.nn` keep their parameters in float32."""
    velocity = fg.nn.VelocityMLP(7, (3,), (8, 8), compute_dtype="bfloat16", key=key)
    critic = mlp_critic(key, compute_dtype="bfloat16")
    guided = fg.guide(fg.FlowPolicy(velocity, (3,), num_steps=4), critic, [fg.qgf(), fg.bptt(0.1)])
    assert guided(observation(key), key=key).dtype == jnp.float32


def test_noise_that_is_no_float_is_refused(key):
    message = r"noise has shape \(3,\) and dtype int32"
    with without_typechecker(), pytest.raises(ValueError, match=message):
        mlp_policy(key).from_noise(jnp.zeros(3, jnp.int32), observation(key))
