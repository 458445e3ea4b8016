"""What `cost` says is what is asked: velocities, pullbacks, critic values and critic gradients."""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

import flowguide as fg

from ..helpers import Calls, method, METHODS, mlp_critic, observation, ready, SOLVERS

NONE = {"velocities": 0, "pullbacks": 0, "critic_values": 0, "critic_gradients": 0}


def counted(name, key, **options):
    calls = Calls()
    # A network of costates is asked as fields are.
    critic = {} if name == "agf" else {"critic": calls.critic}
    ready_ = ready(name, key, velocity=calls.velocity, **critic, **options)
    return calls, *ready_


def asked(calls, call, *arguments):
    found = calls.of(call, *arguments)
    return {name: found.get(name, 0) for name in NONE}


def cost_of(policy):
    return dataclasses.asdict(policy.cost())


@pytest.mark.parametrize("name", METHODS)
def test_cost_is_what_is_counted(key, name):
    calls, policy, critic, guidance = counted(name, key)
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, guided.noise_shape), observation(key)
    assert asked(calls, guided.from_noise, noise, o) == cost_of(guided)


@pytest.mark.parametrize("name", METHODS)
def test_a_trace_asks_as_often_as_sampling(key, name):
    calls, policy, critic, guidance = counted(name, key)
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, guided.noise_shape), observation(key)
    assert asked(calls, guided.trace, noise, o) == cost_of(guided)


@pytest.mark.parametrize("solver", ["Heun", "Tsit5"])
@pytest.mark.parametrize("name", ["qgf", "ode", "bptt"])
def test_of_any_solver_with_fixed_steps(key, solver, name):
    calls, policy, critic, guidance = counted(name, key, solver=SOLVERS[solver], num_steps=3)
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, (3,)), observation(key)
    assert asked(calls, guided.from_noise, noise, o) == cost_of(guided)
    # Tsit5 takes its first stage from the step before, and a trace has to ask for it.
    if name == "qgf" and solver != "Tsit5":
        assert asked(calls, guided.trace, noise, o) == cost_of(guided)


def test_of_steps_at_given_times(key):
    times = diffrax.StepTo(ts=jnp.array([0.0, 0.2, 0.7, 1.0]))
    calls, policy, critic, guidance = counted("qgf", key, stepsize_controller=times)
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, (3,)), observation(key)
    assert asked(calls, guided.from_noise, noise, o) == cost_of(guided)
    assert guided.cost() == fg.Cost(velocities=3, critic_gradients=3)


WEIGHTS = {
    "the default": lambda o: None,
    "Kappa of observations": lambda o: fg.Kappa(3.0, o),
    "Kappa here, of two": lambda o: fg.Kappa(3.0, num_actions=2),
    "Relative": lambda o: fg.Relative(0.2, skip_first=True),
    "an interval of Kappa": lambda o: fg.WeightInterval(fg.Kappa(3.0, num_actions=2), 0.5, 1.0),
}


@pytest.mark.parametrize("weight", WEIGHTS)
def test_of_weights_that_measure(key, weight):
    observations = jr.normal(key, (2, 7))
    calls, policy, critic, guidance = counted(
        "qgf", key, weight=WEIGHTS[weight](observations), num_steps=2
    )
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, (3,)), observation(key)
    assert asked(calls, guided.from_noise, noise, o) == cost_of(guided)


SEQUENCES = {
    "a weight measured once for all candidates": [
        fg.qgf(fg.Kappa(3.0, num_actions=2)),
        fg.best_of_n(3),
    ],
    "qgf below qgf": [fg.qgf(0.3), fg.qgf(0.2)],
    "qgf below ode": [fg.qgf(0.3), fg.ode(0.2)],
    "qgf below beam": [fg.qgf(0.3), fg.beam(2, levels=(0.5,))],
    "all around": [
        fg.trust_region(fg.qgf(fg.WeightInterval(0.3, 0.0, 0.4))),
        fg.best_of_n(2),
        fg.grad_step(0.1),
    ],
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_costs_add_up(key, name):
    calls, policy, critic, _ = counted("qgf", key, num_steps=2)
    guided = fg.guide(policy, critic, SEQUENCES[name])
    noise, o = jr.normal(key, guided.noise_shape), observation(key)
    assert asked(calls, guided.from_noise, noise, o) == cost_of(guided)


def test_of_a_critic_on_top_of_a_conditioned_policy(key):
    calls, policy, _, conditioned = counted("cfg", key)
    critic = calls.critic(mlp_critic(key))
    noise, o = jr.normal(key, (3,)), observation(key)
    for sequence in ([conditioned, method("qgf")], [method("qgf"), conditioned]):
        guided = fg.guide(policy, critic, sequence)
        assert asked(calls, guided.from_noise, noise, o) == cost_of(guided)


def test_of_a_conditioned_policy_that_is_guided_at_times(key):
    calls, policy, _, conditioned = counted("cfg", key)
    critic = calls.critic(mlp_critic(key))
    sequence = [fg.qgf(fg.WeightInterval(0.1, 0.4, 0.6)), conditioned]
    guided = fg.guide(policy, critic, sequence)
    noise, o = jr.normal(key, (3,)), observation(key)
    assert asked(calls, guided.from_noise, noise, o) == cost_of(guided)


def test_of_noise_that_climbs_with_stages(key):
    calls, policy, critic, guidance = counted("noise_ascent", key, solver=diffrax.Heun())
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, (3,)), observation(key)
    assert asked(calls, guided.from_noise, noise, o) == cost_of(guided)


def test_of_the_orthogonal_part_of_several_estimates(key):
    calls, policy, critic, _ = counted("posterior", key, num_steps=2)
    estimate = fg.PosteriorEstimate(2)
    guidance = fg.GradientGuidance(estimate, fg.OrthogonalJacobian(), 0.1)
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, (3,)), observation(key)
    assert asked(calls, guided.from_noise, noise, o) == cost_of(guided)


def test_a_field_of_several_networks_says_so(key):
    class Twice:
        num_networks = 2

        def __call__(self, t, action, observation):
            return action

    policy = fg.FlowPolicy(Twice(), (3,), num_steps=5)
    assert policy.cost() == fg.Cost(velocities=10)


def test_of_an_adaptive_solver_nothing_is_known(key):
    controller = diffrax.PIDController(rtol=1e-3, atol=1e-3)
    _, policy, critic, guidance = counted(
        "qgf", key, solver=diffrax.Heun(), stepsize_controller=controller
    )
    for sequence in (guidance, [guidance, fg.best_of_n(2)], fg.beam(2), fg.trust_region(guidance)):
        assert fg.guide(policy, critic, sequence).cost() is None


def test_costs_add_up_and_multiply():
    cost = fg.Cost(1, 2, 3, 4)
    assert cost + cost == 2 * cost == cost * 2 == fg.Cost(2, 4, 6, 8)
    # A gradient in the action is two passes, and a critic two networks.
    assert cost.forwards() == 1 + 2 + 2 * (3 + 2 * 4)
    assert cost.forwards(critics=1) == 1 + 2 + 3 + 2 * 4


def test_is_known_inside_jit(key):
    _, policy, critic, _ = counted("qgf", key)
    interval = fg.qgf(fg.WeightInterval(fg.Kappa(3.0, num_actions=2), 0.3, 0.8))
    guided = fg.guide(policy, critic, [interval, fg.beam(2)])
    found = []

    @jax.jit
    def act(noise, o):
        found.append(guided.cost())
        return guided.from_noise(noise, o)

    act(jr.normal(key, guided.noise_shape), observation(key))
    assert found == [guided.cost()]
