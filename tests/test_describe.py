"""What a guidance is called: complete, and the same in every process."""

import functools
import subprocess
import sys
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import flowguide as fg

from .helpers import mlp_critic, mlp_policy, WEIGHTED

LARGE: Any = np.int64(12345678)
OBSERVATIONS = jnp.arange(14.0).reshape(2, 7)


def slope(scale):
    return lambda t: scale * t


def scaled(t, scale):
    return scale * t


def halving(scale):
    """Two functions that call one another, and a set whose order is the process's."""

    def odd(n):
        return even(n - 1) if n in {1, 3, 5} else scale

    def even(n):
        return odd(n - 1)

    return lambda t: t * odd(4)


def mine(policy, critic):
    return policy


class Mine(fg.AbstractGuidance):
    strength: float = 0.5

    def __call__(self, policy, critic):
        return policy


@pytest.mark.parametrize(
    ("guidance", "expected"),
    [
        (None, "unguided"),
        ([], "[]"),
        ("qgf", "qgf"),
        (fg.qgf(0.1), "qgf(weight=0.1)"),
        (fg.bptt(2), "bptt(weight=2)"),
        (fg.cfg(1.5), "cfg(weight=1.5)"),
        (fg.qgf_regularised(0.1, mix=0.25), "qgf_regularised(weight=0.1, mix=0.25)"),
        (fg.qgf_regularised(0.1), "qgf_regularised(weight=0.1)"),
        (fg.posterior(0.1, num_samples=7), "posterior(weight=0.1, num_samples=7)"),
        (fg.best_of_n(4), "best_of_n(n=4)"),
        ([fg.qgf(0.1), fg.best_of_n(4)], "[qgf(weight=0.1), best_of_n(n=4)]"),
        (
            fg.trust_region(fg.qgf(0.1), 0.25),
            "trust_region(guidance=qgf(weight=0.1), radius=0.25)",
        ),
        (mine, "mine"),
        (Mine(0.25), "Mine(strength=0.25)"),
    ],
)
def test_in_words(guidance, expected):
    assert fg.describe(guidance) == expected
    if not isinstance(guidance, (str, list, type(None))) and guidance is not mine:
        assert repr(guidance) == expected


@pytest.mark.parametrize(
    "guidances",
    [
        [fg.qgf(0.1), fg.qgf(0.2), fg.ood(0.1), fg.qgf(), fg.qgf(fg.Kappa(3.0))],
        [fg.qgf(fg.Kappa(3.0)), fg.qgf(fg.Kappa(3.0, num_actions=8))],
        [fg.qgf(fg.Kappa(3.0, OBSERVATIONS)), fg.qgf(fg.Kappa(3.0, OBSERVATIONS + 1))],
        [fg.qgf(fg.Relative(0.1)), fg.qgf(fg.Relative(0.1, skip_first=True))],
        [fg.qgf(jnp.arange(20.0)), fg.qgf(jnp.arange(20.0) + 1), fg.qgf(jnp.arange(21.0))],
        [fg.qgf(0.1), fg.qgf(0.1, shaping=optax.clip(1.0)), fg.qgf(0.1, shaping=optax.clip(2.0))],
        [fg.qgf(0.1), fg.qgf(0.1, gate=fg.DisagreementGate(1.0)), fg.qgf(0.1, debug=True)],
        [fg.guided_action_flow(2.0), fg.guided_action_flow(2.0, scale=3.0), fg.qgf(0.5)],
        [fg.guided_action_flow(2.0, max_norm=None), fg.guided_action_flow(2.0, max_norm=0.5)],
        [fg.posterior(0.1), fg.posterior(0.1, key=jr.key(1)), fg.posterior(0.1, num_samples=2)],
        [fg.robust_q(0.1), fg.ood(0.1)],
        [fg.beam(4), fg.beam(4, keep=2), fg.beam(4, levels=(0.3,)), fg.best_of_n(4)],
        [fg.bptt(0.1), fg.bptt(0.1, adjoint=diffrax.DirectAdjoint())],
        [fg.grad_step(0.1), fg.grad_step(0.1, sign=True), fg.noise_ascent(0.1)],
        [fg.qgf(fg.ScoreWeight(0.1)), fg.qgf(fg.WeightInterval(0.1)), fg.qgf(0.1)],
        [[fg.qgf(0.1), fg.ood(0.2)], [fg.ood(0.2), fg.qgf(0.1)], [fg.qgf(0.1)]],
        [
            fg.qgf(0.1),
            fg.qgf(0.1 + 1e-6),
            fg.qgf(jnp.array([0.1, 0.2])),
            fg.qgf(jnp.array([0.1, 0.2000001])),
        ],
        [
            fg.qgf(lambda t: 0.1 * t),
            fg.qgf(lambda t: 10 * t),
            fg.qgf(slope(0.1)),
            fg.qgf(slope(10)),
        ],
        [fg.qgf(halving(1)), fg.qgf(halving(2))],
        [Mine(LARGE), Mine(LARGE + 1)],
        [fg.qgf(functools.partial(scaled, scale=1)), fg.qgf(functools.partial(scaled, scale=2))],
        [
            fg.qgf(0.1, shaping=optax.chain(optax.clip(1.0), optax.scale(0.5))),
            fg.qgf(0.1, shaping=optax.chain(optax.clip(2.0), optax.scale(0.5))),
            fg.qgf(0.1, shaping=optax.chain(optax.clip(1.0), optax.scale(-1.0))),
        ],
    ],
)
def test_different_guidances_have_different_words(guidances):
    words = [fg.describe(each) for each in guidances]
    assert len(set(words)) == len(words), words
    assert all(len(each) < 300 and "\n" not in each and "0x" not in each for each in words)


@pytest.mark.parametrize("name", WEIGHTED)
def test_what_was_measured_is_no_option(key, name):
    if name in ("cfg", "robust_q", "agf"):
        pytest.skip("needs another policy or critic")
    guidance = fg.CATALOGUE[name].make(fg.Kappa(3.0, OBSERVATIONS, num_actions=2))
    guided = fg.guide(mlp_policy(key), mlp_critic(key), guidance)
    assert fg.describe(guided.guidance[0].guidance) == fg.describe(guidance)


def test_the_same_in_another_process():
    code = (
        "import flowguide as fg, jax.numpy as jnp, optax; "
        "o = jnp.arange(14.0).reshape(2, 7); "
        "print(fg.describe([fg.qgf(fg.Kappa(3.0, o), shaping=optax.clip(1.0)), fg.best_of_n(4)])); "
        "print(fg.describe(fg.qgf(lambda t: 0.1 * (t in {'some', 'of', 'these'}))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = [fg.qgf(fg.Kappa(3.0, OBSERVATIONS), shaping=optax.clip(1.0)), fg.best_of_n(4)]
    known, unknown = found.stdout.splitlines()
    assert known == fg.describe(here)
    # The hash is that of what it does, wherever it is written.
    mine = fg.qgf(lambda t: 0.1 * (t in {"some", "of", "these"}))
    assert unknown.split("#")[1] == fg.describe(mine).split("#")[1]


def test_inside_jit_and_afterwards():
    """Defaults that were made while something was traced are kept for later."""
    texts = []

    @jax.jit
    def say(weight):
        texts.append(fg.describe(fg.posterior(weight, num_samples=2)))
        return weight

    say(0.5)
    assert texts == ["posterior(weight=float32[], num_samples=2)"]
    assert fg.describe(fg.posterior(0.5, num_samples=2)) == "posterior(weight=0.5, num_samples=2)"


def test_a_policy_says_what_it_is(key):
    policy = mlp_policy(key, low=-0.5, high=jnp.array([1.0, 2.0, 3.0]), solver=diffrax.Heun())
    guided = fg.guide(policy, mlp_critic(key), [fg.qgf(0.1), fg.best_of_n(4)])
    assert repr(guided).splitlines() == [
        "FlowPolicy(VelocityMLP, action_shape=(3,), num_steps=10, solver=Heun, low=-0.5, "
        "high=[1, 2, 3])",
        "  guided: qgf(weight=0.1) by Ensemble",
        "  guided: best_of_n(n=4) by Ensemble",
    ]
    large = fg.FlowPolicy(lambda t, a, o: a, (50, 32), low=-jnp.ones((50, 32)))
    assert len(repr(large)) < 250
