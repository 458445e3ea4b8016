"""Costates: what comes back through a frozen flow, learnt by a network and used by guidance."""

import dataclasses
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import flowguide as fg
from flowguide.train import AGF, train

from ..helpers import affine_policy, mlp_critic, mlp_policy, observation, without_typechecker
from .test_rivals import critic, make_velocity, SLOPE, STATE, windows as windows
from .test_train import promotion_as_optax_needs_it as promotion_as_optax_needs_it

FREE: dict[str, Any] = {"low": -jnp.inf, "high": jnp.inf}
# Not symmetric: a transposed Jacobian would be another one.
MATRIX = jnp.array([[0.5, 1.0], [-0.6, -0.2]])


class LinearOfChunks(eqx.Module):
    def __call__(self, t, action, observation):
        return (MATRIX @ action[0])[None] + t


def closed_form(t, num_steps):
    """`(1 + A / n)^T`, as often as there are steps from `t`, times the critic's slope."""
    step = np.eye(2) + np.asarray(MATRIX) / num_steps
    count = round((1 - float(t)) * num_steps)
    return np.linalg.matrix_power(step.T, count) @ np.asarray(SLOPE)


def test_the_network_reaches_the_closed_form(key, windows):
    """Of a linear field and a linear critic it does not depend on the action, nor on guidance."""
    policy = fg.FlowPolicy(LinearOfChunks(), (1, 2), num_steps=4, **FREE)
    optimiser = optax.adam(optax.cosine_decay_schedule(5e-3, 600))
    learner = AGF(make_velocity, policy, critic, num_particles=1, optimiser=optimiser)
    costate = train(learner, windows, steps=600, batch_size=64, key=key).result(learner)
    assert isinstance(costate, fg.Costate)
    noise = jr.normal(key, (64, 1, 2))
    expected = {t: closed_form(t, 4) for t in (0.0, 0.5, 1.0)}
    for t, wanted in expected.items():
        found = jax.vmap(lambda a, t=t: costate.network(jnp.array(t), a, STATE))(noise)
        np.testing.assert_allclose(found[:, 0], np.broadcast_to(wanted, (64, 2)), atol=0.12)
    # So far apart that the critic's own gradient would not do.
    assert np.abs(expected[0.0] - expected[1.0]).max() > 0.5


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_the_targets_are_the_adjoint_of_the_flow_with_the_control_held(key, weight):
    """Against a Python loop: the path is guided, and the network has no part in the way back."""
    policy, judge = mlp_policy(key, num_steps=4, **FREE), mlp_critic(key)
    network, o = mlp_policy(jr.fold_in(key, 1)).velocity, observation(key)
    learner = AGF(lambda key: network, policy, judge, weight=weight, num_particles=0)
    asked, walk = eqx.filter_jit(learner.walk)(network, o, key)
    assert jnp.array_equal(asked, o) and jnp.all(walk.counts == 1)
    np.testing.assert_array_equal(walk.times, jnp.array([0, 0.25, 0.5, 0.75, 1]))
    action = walk.actions[0]
    path = [action]
    for t in walk.times[:-1]:
        control = weight * network(t, action, o)
        action = action + (policy.velocity(t, action, o) + control) / 4
        path.append(action)
    np.testing.assert_allclose(walk.actions, path, atol=1e-5)
    target = jax.grad(lambda a: judge(o, a))(action)
    np.testing.assert_allclose(walk.costates[4], target, atol=1e-5, rtol=1e-4)
    for i in (3, 2, 1, 0):
        t = walk.times[i]
        jacobian = jax.jacobian(lambda a, t=t: policy.velocity(t, a, o))(path[i])
        target = target + jacobian.T @ target / 4
        np.testing.assert_allclose(walk.costates[i], target, atol=1e-5, rtol=1e-4)


def test_targets_of_a_solver_that_chooses_its_steps(key, windows):
    """Unguided, they are the derivative of the flow from there; what is not stepped is left out."""
    controller = diffrax.PIDController(rtol=1e-4, atol=1e-5)
    options: dict[str, Any] = {
        "solver": diffrax.Tsit5(),
        "stepsize_controller": controller,
        "max_steps": 64,
    }
    policy, judge = affine_policy(key, **options), mlp_critic(key)
    network, o = mlp_policy(jr.fold_in(key, 1)).velocity, observation(key)
    learner = AGF(lambda key: network, policy, judge, weight=0.0, num_particles=0)
    _, walk = eqx.filter_jit(learner.walk)(network, o, key)
    count = int(walk.counts.sum())
    assert 3 < count < 65 and jnp.all(jnp.isfinite(walk.actions)) and walk.times[count - 1] == 1

    def value(action, t):
        return judge(o, policy.finish(action, o, t0=t))

    for i in (0, count // 2):
        expected = jax.grad(value)(walk.actions[i], walk.times[i])
        np.testing.assert_allclose(walk.costates[i], expected, atol=1e-4)
    policy = fg.FlowPolicy(LinearOfChunks(), (1, 2), **options, **FREE)
    learner = AGF(make_velocity, policy, critic, weight=0.0)
    costate = train(learner, windows, steps=2, batch_size=8, key=key).result(learner)
    noise = jr.normal(key, (1, 2))
    assert jnp.all(jnp.isfinite(costate.network(jnp.float32(0.5), noise, STATE)))


def test_particles_change_the_jacobian_alone_and_not_its_mean(key):
    """Of `v = a^2 / 2` and one step it is `(1 + mean(a + r e)) q`, and the action that of `a`."""
    slope = jnp.array([2.0])

    def judge(observation, action):
        return slope @ action

    policy = fg.FlowPolicy(lambda t, a, o: a**2 / 2, (1,), num_steps=1, **FREE)
    learner = AGF(make_velocity, policy, judge, weight=0.0, num_particles=5, radius=0.3)

    def walk(learner, key):
        return learner.walk(lambda t, a, o: 0 * a, None, key)[1]

    walks = jax.jit(jax.vmap(lambda key: walk(learner, key)))(jr.split(key, 4000))
    noise, found = walks.actions[:, 0, 0], walks.costates[:, 0, 0]
    apart = found / 2 - (1 + noise)
    np.testing.assert_allclose(np.mean(apart), 0.0, atol=0.01)
    np.testing.assert_allclose(np.std(apart), 0.3 / np.sqrt(5), rtol=0.05)
    # A critic that is no line would show another end.
    squared = dataclasses.replace(learner, critic=lambda o, a: jnp.sum(a**2), radius=0.0)
    one = walk(squared, key)
    start = one.actions[0, 0]
    np.testing.assert_allclose(
        one.costates[0, 0], 2 * (start + start**2 / 2) * (1 + start), rtol=1e-5
    )


def exact(policy, judge):
    """The costate itself, by the derivative of the flow."""

    def network(t, action, observation):
        def value(action):
            return judge(observation, policy.finish(action, observation, t0=t))

        return jax.grad(value)(action)

    return fg.Costate(network)


@pytest.mark.parametrize("bounds", [FREE, {"low": -0.8, "high": 0.8}])
def test_with_the_exact_costate_it_is_bptt(key, bounds):
    policy, judge = affine_policy(key, num_steps=4, **bounds), mlp_critic(key)
    noise, o = jr.normal(key, (3,)) / 2, observation(key)
    for weight in (0.3, fg.Relative(0.5)):
        found, expected = (
            fg.guide(policy, asked, name, weight=weight).trace(noise, o)
            for asked, name in ((exact(policy, judge), "agf"), (judge, "bptt"))
        )
        np.testing.assert_allclose(found.action, expected.action, atol=1e-5)
        np.testing.assert_allclose(found.guidance[:-1], expected.guidance[:-1], atol=1e-5)
        assert np.all(np.isnan(found.values)) and found.num_nonfinite == 0


def test_a_costate_is_added_to_critics_and_can_be_differentiated(key):
    network, o, action = mlp_policy(key).velocity, observation(key), jr.normal(key, (3,))
    costate, judge = fg.Costate(network, 0.25), mlp_critic(key)
    own = network(jnp.float32(0.25), action, o)
    both = jax.grad(lambda a: (2.0 * costate - 0.5 * judge)(o, a))(action)
    np.testing.assert_allclose(both, 2 * own - 0.5 * jax.grad(judge, 1)(o, action), rtol=1e-5)
    either = fg.Switch(lambda o: o[0] > 1e3, judge, costate)
    np.testing.assert_allclose(jax.jit(jax.grad(either, 1))(o, action), own, rtol=1e-5)
    # Twice too, with the network's own Jacobian; and in other things than the action.
    second = jax.jacobian(jax.grad(costate, 1), 1)(o, action)
    jacobian = jax.jacobian(lambda a: network(jnp.float32(0.25), a, o))(action)
    np.testing.assert_allclose(second, jacobian, rtol=1e-4, atol=1e-6)
    assert jnp.all(jax.grad(costate)(o, action) == 0) and jnp.isnan(costate(o, action))


def test_costates_are_saved(key, tmp_path):
    policy = mlp_policy(key)
    costate = fg.Costate(mlp_policy(jr.fold_in(key, 1)).velocity)
    fg.save(tmp_path, policy, costate)
    assert eqx.tree_equal(fg.load(tmp_path)[1], costate)


def test_what_asks_for_values_refuses_costates(key):
    policy, costate = mlp_policy(key), fg.Costate(mlp_policy(key).velocity)
    for guidance, name in (
        ("best_of_n", "best_of_n"),
        ("beam", "beam"),
        (fg.agf(fg.Kappa(3.0)), "Kappa"),
        (fg.agf(fg.WeightInterval(fg.Kappa(3.0), 0.0, 0.5)), "Kappa"),
    ):
        for asked in (costate, costate + mlp_critic(key)):
            with pytest.raises(ValueError, match=f"{name} compares values of actions, and a fl"):
                fg.guide(policy, asked, guidance)
    for other in (mlp_critic(key), fg.NoiseConditionedCritic(mlp_critic(key, noisy=True))):
        with pytest.raises(ValueError, match=r"agf .* needs a flowguide.Costate .*, got a"):
            fg.guide(policy, other, "agf")
    # What needs no value takes them.
    guided = fg.guide(policy, costate, [fg.agf(0.1), fg.grad_step(0.1)])
    assert jnp.all(jnp.isfinite(guided(observation(key), key=key)))


def test_numbers_that_make_no_sense_are_refused(key):
    policy, judge = fg.FlowPolicy(make_velocity(key), (1, 2)), critic
    for options, message in (
        ({"num_particles": -1}, "num_particles must be an integer of at least 0, got -1"),
        ({"num_particles": 1.5}, "num_particles must be an integer of at least 0, got 1.5"),
        ({"radius": -0.1}, "radius must be at least 0, got -0.1"),
        ({"policy": fg.guide(policy, judge)}, "expected one without guidance"),
    ):
        with without_typechecker(), pytest.raises(ValueError, match=message):
            AGF(**{"make_network": make_velocity, "policy": policy, "critic": critic, **options})
