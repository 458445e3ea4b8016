"""What tells one agent from another, in every process alike."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowguide as fg
from flowguide._fingerprint import fingerprint

from .helpers import mlp_critic, mlp_policy


class Scaled:
    """A critic with a number in an attribute."""

    def __init__(self, scale):
        self.scale = scale

    def value(self, observation, action):
        return self.scale * action.sum()


class Slotted:
    """The same without a `__dict__`."""

    __slots__ = ("scale",)

    def __init__(self, scale):
        self.scale = scale


class OneSlot:
    __slots__ = "__scale"

    def __init__(self, scale):
        self.__scale = scale


class Foreign:
    """An array of another library, such as a tensor of PyTorch."""

    def __init__(self, scale):
        self.read = lambda: np.full(3, scale)

    def __array__(self, dtype=None, copy=None):
        return self.read()


def scaled(scale, observation, action):
    return scale * action.sum()


def closure(scale):
    return lambda observation, action: scale * action.sum()


def holding(critic):
    return lambda observation, action: critic.value(observation, action)


MAKERS = [
    Scaled,
    lambda x: Scaled(x).value,
    lambda x: functools.partial(scaled, x),
    lambda x: jax.jit(closure(x)),
    lambda x: jax.jit(lambda o, a: Scaled(x).value(o, a)),
    lambda x: functools.partial(Scaled(x).value, None),
    lambda x: holding(Scaled(x)),
    closure,
    lambda x: {"nested": [Scaled(np.float32(x))]},
    Slotted,
    OneSlot,
    lambda x: {"tensor": Foreign(x)},
    lambda x: jnp.full(3, x),
    lambda x: jax.random.key(int(10 * x)),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_number_counts_wherever_it_is_kept(make):
    assert fingerprint(make(0.5)) == fingerprint(make(0.5)) != fingerprint(make(0.25))


def test_everything_that_an_action_follows_from(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    others = [
        (mlp_policy(jax.random.key(1)), critic),
        (mlp_policy(key, num_steps=3), critic),
        (mlp_policy(key, high=2.0), critic),
        (mlp_policy(key, encode=jnp.tanh), critic),
        (policy, mlp_critic(jax.random.key(1))),
        (policy, fg.Ensemble(critic.critics, "mean")),
        (policy, None),
        (critic, policy),
    ]
    found = [fingerprint(*each) for each in [(policy, critic), *others]]
    assert len(set(found)) == len(found)


def test_what_holds_itself_ends():
    loop = Scaled(1.0)
    loop.itself = loop  # pyright: ignore[reportAttributeAccessIssue]
    assert fingerprint(loop) == fingerprint(loop)


SOURCE = """
import jax, flowguide as fg
from flowguide._fingerprint import fingerprint
network = fg.nn.VelocityMLP(3, (2,), (8,), key=jax.random.key(0))
policy = fg.FlowPolicy(network, (2,), encode=lambda o: o if o in {"a", "b", "c"} else 2 * o)
print(fingerprint(policy, fg.nn.critic_ensemble(3, 3, (2,), (8,), key=jax.random.key(0))))
"""


def test_the_same_in_every_process():
    found = {
        subprocess.run(
            [sys.executable, "-c", SOURCE],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1 and len(found.pop()) == 13
