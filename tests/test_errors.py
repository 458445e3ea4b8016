"""Bad input, as a user meets it: without the type checker that the other tests run under."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import jaxtyping
import numpy as np
import optax
import pytest

import flowguide as fg
from flowguide.data import from_arrays, Windows

from .helpers import METHODS, mlp_critic, mlp_policy, observation, OBSERVATION_SIZE, ready


@pytest.fixture(autouse=True)
def without_typechecker():
    # The annotations forbid most of this already; users run without them.
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def good_velocity(t, action, observation):
    return action * t


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action_shape": (0,)}, "action_shape must be a tuple of positive integers"),
        ({"action_shape": 5}, "action_shape must be a tuple"),
        ({"num_steps": 0}, "num_steps must be an integer of at least 1, got 0"),
        ({"num_steps": -3}, "num_steps must be an integer of at least 1, got -3"),
        ({"num_steps": 2.5}, "num_steps must be an integer"),
        ({"low": 1.0, "high": 1.0}, "low must be below high"),
        ({"low": [0, 0, 2], "high": 1}, "low must be below high"),
        ({"low": [-1, -1]}, r"low has shape \(2,\), which does not broadcast"),
        ({"high": float("nan")}, "low must be below high"),
        ({"velocity": 3}, "velocity must be a callable"),
    ],
)
def test_policy_arguments(arguments, message):
    arguments = {"velocity": good_velocity, "action_shape": (3,), **arguments}
    with pytest.raises(ValueError, match=message):
        fg.FlowPolicy(**arguments)


def test_velocity_of_another_shape_than_the_action(key):
    policy = fg.FlowPolicy(lambda t, a, o: a[:2], (3,))
    with pytest.raises(ValueError, match=r"velocity.*returned.*\[2\].*action of shape \(3,\)"):
        policy(jnp.zeros(7), key=key)


@pytest.mark.parametrize(
    "make", [lambda k: mlp_policy(k), lambda k: fg.guide(mlp_policy(k), mlp_critic(k))]
)
def test_batched_observation_passed_unbatched(key, make):
    with pytest.raises(ValueError, match=r"one observation of shape \(7,\), got shape \(4, 7\)"):
        make(key)(jnp.zeros((4, OBSERVATION_SIZE)), key=key)


def test_batched_observation_passed_to_any_callable(key):
    policy = fg.FlowPolicy(lambda t, a, o: a + o.sum(axis=-1, keepdims=True), (3,))
    with pytest.raises((ValueError, TypeError)) as caught:
        policy(jnp.zeros((4, OBSERVATION_SIZE)), key=key)
    everything = str(caught.value) + " ".join(getattr(caught.value, "__notes__", []))
    assert "f32[4,7]" in everything and "flowguide.sample" in everything


def test_sample_without_a_batch(key):
    policy = fg.FlowPolicy(lambda t, a, o: a, (3,))
    with pytest.raises(ValueError, match="needs the same leading axis"):
        fg.sample(policy, {"a": jnp.zeros((4, 7)), "b": jnp.zeros(5)}, key=key)
    with pytest.raises(ValueError, match="takes a batch"):
        fg.sample(policy, jnp.array(1.0), key=key)
    for wrong in (None, jnp.array(1.0), {"a": jnp.zeros((4, 7)), "b": jnp.zeros(5)}):
        with pytest.raises(ValueError, match="The unit of weights takes a batch"):
            fg.weight_unit(policy, mlp_critic(key), wrong)


def test_noise_of_another_shape(key):
    policy = mlp_policy(key)
    with pytest.raises(ValueError, match=r"noise has shape \(4, 3\).*noise_shape is \(3,\)"):
        policy.from_noise(jnp.zeros((4, 3)), observation(key))
    with pytest.raises(ValueError, match=r"noise has shape \(3,\).*noise_shape is \(2, 3\)"):
        fg.guide(policy, mlp_critic(key), fg.best_of_n(2)).from_noise(
            jnp.zeros(3), observation(key)
        )


@pytest.mark.parametrize("method", ["qgf", "bptt", "best_of_n", "grad_step"])
def test_critic_that_is_no_scalar(key, method):
    guided = fg.guide(mlp_policy(key), lambda o, a: a[:2], method)
    with pytest.raises(ValueError, match=r"critic.*returned.*\[2\].*one number"):
        guided(observation(key), key=key)


def test_ensemble_arguments(key):
    with pytest.raises(ValueError, match="at least one member"):
        fg.Ensemble([])
    with pytest.raises(ValueError, match=r"Unknown reduction 'max'.*\['mean', 'min'\]"):
        fg.Ensemble([lambda o, a: a.sum()], "max")
    not_reduced = fg.Ensemble([lambda o, a: a.sum()] * 2, lambda q: q)
    with pytest.raises(ValueError, match="one number"):
        fg.guide(mlp_policy(key), not_reduced, "qgf")(observation(key), key=key)


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_best_of_n_needs_a_count(n):
    with pytest.raises(ValueError, match="n must be an integer of at least 1"):
        fg.best_of_n(n)


def test_grad_step_arguments():
    with pytest.raises(ValueError, match="steps must be an integer of at least 1, got -1"):
        fg.grad_step(0.1, steps=-1)
    with pytest.raises(ValueError, match="step_size must be a number"):
        fg.grad_step(lambda t: t)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("second", ["qgf", "bptt"])
@pytest.mark.parametrize("first", ["best_of_n", "grad_step"])
def test_gradient_guidance_after_whole_action_guidance(key, first, second):
    with pytest.raises(ValueError, match="put gradient guidance before best_of_n"):
        fg.guide(mlp_policy(key), mlp_critic(key), [first, second])


def test_unknown_methods_and_options(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    with pytest.raises(
        ValueError, match=r"Unknown method 'qfg': expected one of \['qgf'.*'best_of_n'"
    ):
        fg.guide(policy, critic, "qfg")
    with pytest.raises(TypeError, match=r"qgf has no option \['wieght'\].*'weight'"):
        fg.guide(policy, critic, "qgf", wieght=0.1)
    with pytest.raises(TypeError, match="made with its options"):
        fg.guide(policy, critic, fg.qgf(0.1), weight=0.1)
    with pytest.raises(ValueError, match=r"Unknown method 'best_of_m'.*Did you mean 'best_of_n'"):
        fg.guide(policy, critic, "best_of_m")
    with pytest.raises(TypeError, match="critic must be a callable"):
        fg.guide(policy, 3, "qgf")  # pyright: ignore[reportArgumentType, reportCallIssue]
    for wrong in ([3], 3, None):
        with pytest.raises(TypeError, match="method must be a name, a .*got"):
            fg.guide(policy, critic, wrong)  # pyright: ignore[reportArgumentType, reportCallIssue]
    with pytest.raises(TypeError, match="cfg asks no critic, so its weight has no other unit"):
        fg.guide(policy, critic, "cfg", kappa=5.0)


def test_parts_of_gradient_guidance(key):
    with pytest.raises(ValueError, match="shaping must be an optax.GradientTransformation"):
        fg.qgf(0.1, shaping=lambda g: g)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="weight must be a real number"):
        fg.qgf(np.array([True]))
    gated = fg.qgf(0.1, gate=fg.DisagreementGate(1.0))
    with pytest.raises(ValueError, match="flowguide.Ensemble"):
        fg.guide(mlp_policy(key), lambda o, a: a.sum(), gated)
    wide = fg.guide(mlp_policy(key), mlp_critic(key), fg.qgf(jnp.ones(4)))
    with pytest.raises(ValueError, match=r"weight has shape \(4,\).*action shape \(3,\)"):
        wide(observation(key), key=key)


def test_debug_raises_where_the_gradient_is_not_finite(key):
    def critic(observation, action):
        return jnp.sum(jnp.sqrt(action - 5))

    guided = fg.guide(mlp_policy(key), critic, fg.qgf(0.1, debug=True))
    with pytest.raises(Exception, match="guidance term is not finite"):
        guided(observation(key), key=key)


METHODS_WITH_A_CRITIC = [name for name in METHODS if "no critic" not in fg.CATALOGUE[name].needs]


@pytest.mark.parametrize("name", METHODS_WITH_A_CRITIC)
def test_no_critic_for_a_method_that_asks_one(key, name):
    policy, _, guidance = ready(name, key)
    with pytest.raises(ValueError, match=r"asks a critic, .* got None"):
        fg.guide(policy, None, guidance)


def test_cfg_needs_no_critic(key):
    """B4: the method for those without a critic demanded one."""
    policy, critic, guidance = ready("cfg", key)
    assert critic is None
    guided: Any = fg.guide(policy, None, "cfg", weight=0.3)
    assert eqx.tree_equal(guided, fg.guide(policy, mlp_critic(key), guidance))
    assert guided.guidance[0].critic is None
    with pytest.raises(ValueError, match="best_of_n asks a critic"):
        fg.guide(policy, None, [fg.cfg(), fg.best_of_n(2)])


STATEFUL = {
    "adam": lambda: optax.adam(0.1),
    "momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "trace in a chain": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.trace(0.9)),
    "schedule": lambda: optax.scale_by_schedule(lambda count: 1.0),
    "noise": lambda: optax.add_noise(0.1, 0.5, jr.key(0)),
}


@pytest.mark.parametrize("name", STATEFUL)
def test_shaping_with_a_state_is_refused(name):
    """B7: it was begun anew at each step, and `optax.adam` turned guidance round."""
    with pytest.raises(ValueError, match="shaping must have no state"):
        fg.qgf(0.1, shaping=STATEFUL[name]())


STATELESS = [
    optax.clip(1.0),
    optax.clip_by_global_norm(1.0),
    optax.normalize_by_update_norm(),
    optax.scale(0.5),
    optax.scale_by_sign(),
    optax.identity(),
    optax.sgd(0.1),
    optax.chain(optax.clip(1.0), optax.scale(-1.0)),
]


def test_shaping_without_one_is_taken():
    for shaping in STATELESS:
        assert "shaping=" in fg.describe(fg.qgf(0.1, shaping=shaping))


def test_optax_shaping_is_stateless(key):
    shaping = optax.chain(optax.clip_by_global_norm(1.0), optax.scale(0.5))
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    guided = fg.guide(policy, critic, fg.qgf(0.1, shaping=shaping))
    assert jnp.array_equal(guided.from_noise(noise, o), guided.from_noise(noise, o))


def test_unknown_returns():
    with pytest.raises(ValueError, match="Unknown returns 'td': expected 'n_step'"):
        Windows(from_arrays(np.zeros((3, 1)), np.zeros((3, 2))), returns="td")  # pyright: ignore[reportArgumentType]
