"""To replace a field of a guided policy is to guide a policy that had it (B2).

Policies are pytrees: where two are equal in every array and in everything static, so are actions.
"""

import dataclasses

import diffrax
import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg

from ..helpers import METHODS, mlp_critic, mlp_policy, observation, ready

# Those whose guided policy is a flow policy with a longer guidance.
FLOW_METHODS = [n for n in METHODS if fg.CATALOGUE[n].family in ("gradient", "conditioned")]


def doubled(observation):
    return 2 * observation


FIELDS = {
    "num_steps": {"num_steps": 7},
    "bounds": {"low": -0.2, "high": np.array([0.1, 0.2, 0.3], np.float32)},
    "solver": {"solver": diffrax.Heun()},
    "controller": {
        "solver": diffrax.Heun(),
        "stepsize_controller": diffrax.PIDController(rtol=1e-2, atol=1e-2),
        "max_steps": 128,
    },
    "adjoint": {"adjoint": diffrax.DirectAdjoint()},
    "encode": {"encode": doubled},
    "velocity": {"velocity": "another"},
}


def changes_of(field, name, key):
    changes = FIELDS[field]
    if field == "velocity":
        changes = {"velocity": ready(name, jr.fold_in(key, 9))[0].velocity}
    return changes


def same(a, b):
    return bool(eqx.tree_equal(a, b))


AROUND: dict[str, list] = {
    "alone": [],
    "best_of_n": [fg.best_of_n(2)],
    "grad_step in best_of_n": [fg.grad_step(0.1), fg.best_of_n(2)],
    "beam": [fg.beam(2)],
    "noise_ascent": [fg.noise_ascent(0.1, steps=1)],
}


def replaced(policy, changes):
    """The same wrappers around a flow policy with other fields."""
    if isinstance(policy, fg.FlowPolicy):
        return dataclasses.replace(policy, **changes)
    return dataclasses.replace(policy, policy=replaced(policy.policy, changes))


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", FLOW_METHODS)
def test_replacing_is_guiding_a_policy_that_had_it(key, name, field):
    policy, critic, guidance = ready(name, key)
    critic = critic or mlp_critic(key)
    changes = changes_of(field, name, key)
    another = dataclasses.replace(policy, **changes)
    # Alone and inside of wrappers.
    for around in AROUND.values():
        if name == "agf" and any(fg.describe(each).startswith("be") for each in around):
            continue  # The best of several have values to be compared.
        guidances = [guidance, *around]
        guided = fg.guide(policy, critic, guidances)
        found = replaced(guided, changes)
        assert same(found, fg.guide(another, critic, guidances))
        assert not same(found, guided)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", ["ode", "bptt"])
def test_so_are_actions(key, name, field):
    """B2: of `ode` and `bptt`, which solve inside, only half were reached."""
    policy, critic, guidance = ready(name, key)
    changes = changes_of(field, name, key)
    noise, o = jr.normal(key, (3,)), observation(key)
    found = dataclasses.replace(fg.guide(policy, critic, guidance), **changes)
    by_hand = fg.guide(fg.FlowPolicy(**{**fields_of(policy), **changes}), critic, guidance)
    assert jnp.array_equal(found.from_noise(noise, o), by_hand.from_noise(noise, o))


def fields_of(policy):
    return {field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)}


@pytest.mark.parametrize("name", [n for n in FLOW_METHODS if n not in ("ode", "bptt")])
def test_steps_at_given_times_too(key, name):
    policy, critic, guidance = ready(name, key)
    changes = {"stepsize_controller": diffrax.StepTo(ts=jnp.array([0.0, 0.3, 1.0]))}
    found = dataclasses.replace(fg.guide(policy, critic, guidance), **changes)
    assert same(found, fg.guide(dataclasses.replace(policy, **changes), critic, guidance))


@pytest.mark.parametrize("name", FLOW_METHODS)
def test_the_velocity_stays_that_of_the_caller(key, name):
    policy, critic, guidance = ready(name, key)
    guided = fg.guide(policy, critic, [guidance, guidance])
    assert isinstance(guided, fg.FlowPolicy)
    assert guided.velocity is policy.velocity and len(guided.guidance) == 2
    assert guided.guidance[0].critic is critic
    assert same(guided.unguided, policy) and same(policy.unguided, policy)


def test_a_guidance_can_be_taken_off_again(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    both = fg.guide(policy, critic, [fg.qgf(0.3), fg.ood(0.2)])
    one = dataclasses.replace(both, guidance=both.guidance[:1])
    assert same(one, fg.guide(policy, critic, fg.qgf(0.3)))


def test_a_unit_that_was_measured_stays_until_it_is_measured_anew(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    weight = fg.Kappa(3.0, jr.normal(key, (4, 7)))
    guided = fg.guide(policy, critic, "qgf", weight=weight)
    changed = dataclasses.replace(guided, high=0.2)
    expected = fg.guide(dataclasses.replace(policy, high=0.2), critic, "qgf", weight=weight)
    assert not same(changed, expected)
    assert same(fg.with_weight(changed, weight), expected)
    assert same(fg.with_critic(changed, critic), expected)


@pytest.mark.parametrize("name", FLOW_METHODS)
def test_methods_with_steps_at_given_times(key, name):
    """Which is refused where a method solves the flow from its middle (B6)."""
    times = diffrax.StepTo(ts=jnp.array([0.0, 0.3, 1.0]))
    policy, critic, guidance = ready(name, key, stepsize_controller=times)
    if name in ("ode", "bptt"):
        with pytest.raises(ValueError, match="ode, bptt and beam .* diffrax.StepTo"):
            fg.guide(policy, critic, guidance)
        return
    guided = fg.guide(policy, critic, guidance)
    noise, o = jr.normal(key, (3,)), observation(key)
    assert jnp.all(jnp.isfinite(guided.from_noise(noise, o)))
