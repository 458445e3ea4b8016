"""Rules of one's own, and what is told of weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg
from flowguide._weight import weight_of

from ..helpers import mlp_critic, mlp_policy, observation, without_typechecker

OBSERVATIONS = jnp.ones((4, 7))


class Own(fg.AbstractWeight):
    """As long as the largest entry of the gradient allows, and later half of that."""

    most: jax.Array

    def __call__(self, point):
        factor = jnp.where(point.t < 0.5, 1.0, 0.5).astype(point.gradient.dtype)
        return factor * self.most / jnp.max(jnp.abs(point.gradient))


class Met(fg.AbstractWeight):
    """Tells whom it met, and doubles what was prepared for an action."""

    prepared: float = 1.0
    bound: tuple = eqx.field(static=True, default=())

    def bind(self, policy, critic):
        assert isinstance(policy, fg.FlowPolicy) and callable(critic)
        return Met(self.prepared, ("bound",))

    def prepare(self, flow, critic):
        assert isinstance(flow, fg.Flow) and flow.observation.shape == (7,)
        # A rule may look at actions of the flow below.
        action = flow.finish(jnp.zeros(flow.action_shape))
        return Met(critic(flow.observation, action), self.bound)

    def __call__(self, point):
        assert point.gradient.shape == point.velocity.shape == (3,) and point.t.shape == ()
        return jnp.asarray(self.prepared)


def test_a_rule_of_ones_own_reads_the_step(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    guided = fg.guide(policy, critic, fg.ood(Own(jnp.array(0.4))))
    largest = np.abs(guided.trace(noise, o).guidance[:-1]).max(axis=1)
    np.testing.assert_allclose(largest, [0.4] * 5 + [0.2] * 5, rtol=1e-4)


def test_a_rule_is_bound_once_and_prepared_for_each_action(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    guided = fg.guide(policy, critic, fg.qgf(Met()))
    assert guided.guidance[0].guidance.weight.bound == ("bound",)
    for seed in (1, 2):
        o, noise = observation(jr.key(seed)), jr.normal(key, (3,))
        value = critic(o, policy.from_noise(jnp.zeros(3), o))
        expected = fg.guide(policy, critic, fg.qgf(value)).from_noise(noise, o)
        np.testing.assert_allclose(guided.from_noise(noise, o), expected, atol=1e-5)


def half(t):
    return 0.5 * t


@pytest.mark.parametrize(
    ("guidance", "expected"),
    [
        (fg.qgf(0.5), (0.5, "raw")),
        (fg.qgf(2), (2.0, "raw")),
        (fg.cfg(1.5), (1.5, "raw")),
        (fg.guided_action_flow(4.0), (0.25, "raw")),
        (fg.qgf(), (fg.DEFAULT_KAPPA, "local")),
        (fg.qgf(fg.Kappa(3.0, OBSERVATIONS)), (3.0, "kappa")),
        (fg.bptt(fg.Kappa(3.0)), (3.0, "local")),
        (fg.ood(fg.Relative(0.25)), (0.25, "relative")),
        (fg.ood(fg.Normalised(0.25)), (0.25, "norm")),
        (fg.qgf(Own(jnp.array(0.4))), None),
        (fg.qgf(fg.ScoreWeight(fg.WeightInterval(fg.Kappa(3.0), 0.0, 0.5))), (3.0, "local")),
        (fg.qgf(fg.WeightInterval(0.5, 0.0, 0.5)), (0.5, "raw")),
        ([fg.qgf(0.5), fg.best_of_n(4)], (0.5, "raw")),
        ([fg.cfg(0.5), fg.qgf(0.5)], None),
        (fg.trust_region(fg.qgf(0.5), 0.1), (0.5, "raw")),
        (fg.best_of_n(4), None),
        (fg.qgf(half), None),
        (fg.qgf(fg.ScoreWeight(half)), None),
        (fg.qgf(jnp.ones(3)), None),
        ([], None),
        (lambda policy, critic: policy, None),
    ],
)
def test_the_one_number_of_a_guidance_and_its_unit(guidance, expected):
    assert weight_of(guidance) == expected


def test_of_a_guided_policy_too(key):
    guided = fg.guide(
        mlp_policy(key), mlp_critic(key), fg.qgf(fg.Kappa(3.0, jr.normal(key, (4, 7))))
    )
    assert weight_of(guided.guidance[0].guidance) == (3.0, "kappa")


@pytest.mark.parametrize("weight", ["much", None, [[1.0], [2.0, 3.0]], np.array([True]), 1j])
def test_what_is_no_weight(weight):
    for rule in (fg.Relative, fg.Normalised, fg.Kappa, fg.ScoreWeight):
        with without_typechecker(), pytest.raises(ValueError, match="must be a (real )?number"):
            rule(weight)
    if weight is not None:
        with without_typechecker(), pytest.raises(ValueError, match="must be a real number"):
            fg.qgf(weight)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), np.array([1.0, np.nan])])
def test_numbers_that_are_not_finite(number):
    for make in (fg.qgf, fg.cfg, fg.ScoreWeight, fg.grad_step, fg.noise_ascent):
        for given in (number, jnp.asarray(number)):
            with pytest.raises(ValueError, match="(weight|step_size) must be finite"):
                make(given)


@pytest.mark.parametrize("rule", [fg.Kappa, fg.Relative, fg.Normalised])
def test_the_number_of_a_rule_is_no_callable(rule):
    with without_typechecker(), pytest.raises(ValueError, match="must be a number or an array"):
        rule(lambda t: t)
