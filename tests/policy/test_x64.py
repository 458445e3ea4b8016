"""Double precision, for every method of the catalogue.

Dtypes follow the action: under x64 everything is in float64 if the noise is, whatever the networks
have. Promotion is strict in all tests: see tests/conftest.py.
"""

import os
import subprocess
import sys
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
    affine_policy,
    METHODS,
    mlp_critic,
    mlp_policy,
    observation,
    quadratic_critic,
    ready,
    SOLVERS,
)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def cast(module: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, module)


@pytest.mark.parametrize("name", METHODS)
def test_x64(x64, name):
    """B9: every policy failed, because its bounds were in float32."""
    key = jr.key(0)
    policy, critic, guidance = ready(name, key)
    assert policy.velocity is not None and jr.normal(key, (3,)).dtype == jnp.float64
    policy, critic = cast(policy, jnp.float64), cast(critic, jnp.float64)
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, guided.noise_shape), observation(key)
    action = guided.from_noise(noise, o)
    assert action.dtype == jnp.float64 and action.shape == (3,)
    trace, acted = (jax.eval_shape(call, noise, o) for call in (guided.trace, guided.act))
    for found in (trace.action, trace.actions, trace.velocities, trace.values, acted.action):
        assert found.dtype == jnp.float64
    if name in ("qgf", "best_of_n"):
        np.testing.assert_allclose(guided.trace(noise, o).action, action, atol=1e-12)
        np.testing.assert_allclose(guided.act(noise, o).action, action, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_networks_in_float32_under_x64(x64, name):
    """Noise in float64, and weights too, but networks as they were trained."""
    key = jr.key(0)
    policy, critic, guidance = ready(name, key)
    policy, critic = cast(policy, jnp.float32), cast(critic, jnp.float32)
    guided = fg.guide(policy, critic, guidance)
    o = jr.normal(key, (7,), jnp.float32)
    found = jax.eval_shape(guided.act, jr.normal(key, guided.noise_shape), o)
    assert found.action.dtype == jnp.float64
    # What is in float32 stays so, with weights of float64.
    noise = jr.normal(key, guided.noise_shape, jnp.float32)
    assert guided.from_noise(noise, o).dtype == jnp.float32
    for call in (guided.act, guided.trace):
        assert jax.eval_shape(call, noise, o).action.dtype == jnp.float32


@pytest.mark.parametrize("name", ["qgf", "ode", "robust_q"])
def test_default_weights_under_x64(x64, name):
    key = jr.key(0)
    policy, critic, guidance = ready(name, key, weight=None)
    guided = fg.guide(cast(policy, jnp.float32), cast(critic, jnp.float32), guidance)
    for noise in (jr.normal(key, (3,)), jr.normal(key, (3,), jnp.float32)):
        action = guided.from_noise(noise, observation(key))
        assert action.dtype == noise.dtype and jnp.all(jnp.isfinite(action))
        for call in (guided.act, guided.trace):
            assert jax.eval_shape(call, noise, observation(key)).action.dtype == noise.dtype
    double = fg.guide(cast(policy, jnp.float64), cast(critic, jnp.float64), guidance)
    noise = jr.normal(key, (3,), jnp.float32)
    assert jax.eval_shape(double.from_noise, noise, observation(key)).dtype == jnp.float32


WEIGHTS = {
    "a number": 0.3,
    "an array": np.array([0.3, 0.0, 1.0]),
    "an array in float32": np.array([0.3, 0.0, 1.0], np.float32),
    "of t": lambda t: 1 - t,
    "Kappa of observations": fg.Kappa(3.0, np.linspace(-1, 1, 28).reshape(4, 7)),
    "Relative": fg.Relative(0.3, skip_first=True),
    "Normalised": fg.Normalised(0.3),
    "ScoreWeight": fg.ScoreWeight(fg.WeightInterval(0.3, 0.2, 0.8)),
    "RealTimeWeight": fg.RealTimeWeight(0.1),
}


@pytest.mark.parametrize("weight", WEIGHTS)
def test_weights_under_x64(x64, weight):
    key = jr.key(0)
    policy, critic = cast(mlp_policy(key), jnp.float64), cast(mlp_critic(key), jnp.float64)
    gate = fg.DisagreementGate(jnp.array(0.5), 0.1)
    guided = fg.guide(policy, critic, fg.qgf(WEIGHTS[weight], gate=gate))
    for dtype in (jnp.float64, jnp.float32):
        noise = jr.normal(key, (3,), dtype)
        assert jax.eval_shape(guided.from_noise, noise, observation(key)).dtype == dtype
    assert jnp.all(jnp.isfinite(guided(observation(key), key=key)))


@pytest.mark.parametrize("solver", ["Heun", "Tsit5"])
def test_adaptive_solvers_under_x64(x64, solver):
    key = jr.key(0)
    policy = affine_policy(
        key,
        solver=SOLVERS[solver],
        stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-3),
        max_steps=256,
    )
    guided = fg.guide(policy, quadratic_critic(key), "qgf", weight=0.3)
    noise, o = jr.normal(key, (3,)), observation(key)
    np.testing.assert_allclose(guided.trace(noise, o).action, guided.from_noise(noise, o))


def test_in_a_process_that_has_x64_from_the_start():
    code = """
import jax, jax.numpy as jnp, jax.random as jr
import flowguide as fg
from flowguide import nn

key = jr.key(0)
policy = fg.FlowPolicy(nn.VelocityMLP(7, (3,), (8, 8), key=key), (3,), num_steps=4)
critic = nn.critic_ensemble(2, 7, (3,), (8, 8), key=key)
for guidance in ([], [fg.qgf(), fg.bptt(0.3), fg.best_of_n(2)]):
    guided = fg.guide(policy, critic, guidance)
    action = fg.sample(guided, jnp.ones((2, 7)), key=key)
    assert action.dtype == jnp.float64, action.dtype
    print(action.dtype)
"""
    environment = {"JAX_ENABLE_X64": "1", "JAX_NUMPY_DTYPE_PROMOTION": "strict"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    assert found.stdout.split() == ["float64"] * 2
