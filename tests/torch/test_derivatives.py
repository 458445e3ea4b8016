"""Autograd's derivatives are those of JAX, of what is asked for, and nothing is silently zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flowguide as fg
import flowguide.torch as fgt

from .networks import Recorded

OBSERVATION = {"a": jnp.array([0.3, -0.2, 0.5]), "index": jnp.array(1), "b": jnp.array([2.0])}
ACTION = jnp.array([0.7, -0.4])


def of_torch(t, action, observation):
    scale = torch.tensor([1.0, 3.0]).to(action)[observation["index"]]
    return torch.sin(action * t[:, None] * observation["b"]) * scale[:, None] + (
        observation["a"][:, 1:] ** 2
    )


def of_jax(t, action, observation):
    scale = jnp.array([1.0, 3.0])[observation["index"]]
    return jnp.sin(action * t * observation["b"]) * scale + observation["a"][1:] ** 2


@pytest.mark.parametrize("compiled", [False, True])
def test_of_time_action_and_observation(compiled):
    def scalar(call, t, action, floats):
        out = call(t, action, {**floats, "index": OBSERVATION["index"]})
        return jnp.sum(out * jnp.array([1.0, -2.0]))

    floats = {name: OBSERVATION[name] for name in ("a", "b")}
    found, expected = (
        (jax.jit if compiled else lambda f: f)(
            jax.grad(lambda *x, call=call: scalar(call, *x), argnums=(0, 1, 2))
        )(jnp.float32(0.6), ACTION, floats)
        for call in (fgt.velocity(of_torch), of_jax)
    )
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_of_a_whole_jacobian():
    ask = fgt.velocity(of_torch)
    found = jax.jacrev(ask, argnums=1)(0.6, ACTION, OBSERVATION)
    np.testing.assert_allclose(
        found, jax.jacrev(of_jax, argnums=1)(0.6, ACTION, OBSERVATION), atol=1e-6
    )


def test_only_what_is_asked_for_is_differentiated():
    function = Recorded(of_torch)
    pull = jax.vjp(lambda a: fgt.velocity(function)(0.6, a, OBSERVATION), ACTION)[1]
    function.asked(pull, ACTION)
    ((t, action, observation),) = function.calls
    assert action.requires_grad
    assert not t.requires_grad and not observation["a"].requires_grad


def test_without_a_derivative_there_is_no_graph():
    function = Recorded(of_torch)
    function.asked(fgt.velocity(function), 0.6, ACTION, OBSERVATION)
    ((_, action, _),) = function.calls
    assert not action.requires_grad


def test_parts_of_the_observation_that_do_not_matter_have_gradient_zero():
    critic = fgt.critic(lambda o, a: (a * o["b"]).sum(1))
    floats = {name: OBSERVATION[name] for name in ("a", "b")}
    found = jax.grad(critic)(floats, ACTION)
    np.testing.assert_allclose(found["a"], 0)
    np.testing.assert_allclose(found["b"], ACTION.sum(keepdims=True), atol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda o, a: (a.detach() * o["b"]).sum(1),
        lambda o, a: torch.from_numpy(a.detach().numpy()).sum(1),
        lambda o, a: o["b"].sum(1),
        # A parameter has a gradient, the action has none.
        lambda o, a: (a.detach() @ torch.nn.Linear(2, 1).weight.T)[:, 0],
    ],
)
def test_a_critic_that_loses_the_action_is_refused(function):
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"critic does not depend on the action"):
        jax.block_until_ready(jax.grad(fgt.critic(function), argnums=1)(OBSERVATION, ACTION))


def test_a_lost_action_is_refused_beside_what_is_not_lost():
    critic = fgt.critic(lambda o, a: o.sum(1) + a.detach().sum(1))
    np.testing.assert_array_equal(jax.grad(critic)(jnp.ones(3), ACTION), 1)
    with pytest.raises(jax.errors.JaxRuntimeError, match="depend on the action"):
        jax.block_until_ready(jax.grad(critic, argnums=(0, 1))(jnp.ones(3), ACTION))


def test_a_velocity_that_loses_the_action_is_refused(key):
    def function(t, action, observation):
        with torch.no_grad():
            return -action

    policy = fg.FlowPolicy(fgt.velocity(function), (2,))
    critic = lambda o, a: -jnp.sum(a**2)  # noqa: E731
    assert jnp.all(jnp.isfinite(fg.guide(policy, critic, "qgf")(ACTION, key=key)))
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"\.detach\(\)"):
        jax.block_until_ready(fg.guide(policy, critic, "qgf_jacobian")(ACTION, key=key))


@pytest.mark.parametrize("make", [fgt.critic, lambda f: fgt.critic(f, reduction=fg.Pessimism())])
def test_second_derivatives_are_refused(make):
    critic = make(lambda o, a: (a**2).sum(1))
    with pytest.raises(NotImplementedError, match="second derivative of the critic"):
        jax.grad(lambda a: jax.grad(critic, argnums=1)(OBSERVATION, a).sum())(ACTION)


def test_second_derivatives_of_a_velocity_are_refused():
    field = fgt.velocity(of_torch)

    def gradient(action):
        return jax.vjp(lambda a: field(0.6, a, OBSERVATION), action)[1](ACTION)[0].sum()

    with pytest.raises(NotImplementedError, match="second derivative of the velocity"):
        jax.grad(gradient)(ACTION)


def test_forward_mode_is_refused():
    critic = fgt.critic(lambda o, a: (a**2).sum(1))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda a: critic(OBSERVATION, a), (ACTION,), (ACTION,))


def test_a_guidance_through_another_says_why_it_cannot(key):
    policy = fg.FlowPolicy(fgt.velocity(lambda t, a, o: -a), (2,))
    critic = fgt.critic(lambda o, a: -(a**2).sum(1))
    guided = fg.guide(policy, critic, [fg.qgf(0.1), fg.qgf_jacobian(0.1)])
    with pytest.raises(NotImplementedError, match="second derivative of the critic"):
        guided(ACTION, key=key)
