"""Agents of PyTorch are told apart by all that they do, in every process alike."""

import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flowguide as fg
import flowguide.torch as fgt
from flowguide._fingerprint import fingerprint


class Network(torch.nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.linear = torch.nn.Linear(3, 2)
        for name in ("first", "second", "third"):
            self.register_buffer(name, torch.ones(2), persistent=False)

    def forward(self, t, action, observation):
        return self.linear(observation) * self.first - action

    def value(self, observation, action):
        return (self.linear(observation) * action).sum(1)


def closure(network):
    return lambda t, action, observation: network(t, action, observation)


@pytest.mark.parametrize("function_of", [lambda n: n, lambda n: n.forward, closure])
def test_weights_and_buffers_count(function_of):
    def identity(change=lambda network: None, **options):
        network = Network()
        change(network)
        return fingerprint(fg.FlowPolicy(fgt.velocity(function_of(network), **options), (2,)))

    def weight(network):
        network.linear.weight.data[1, 2] += 1e-3

    def buffer(network):
        network.second[0] = 2

    changed = [
        identity(weight),
        identity(buffer),
        identity(lambda network: network.eval()),
        identity(dtype=torch.float64),
        identity(device="cpu"),
    ]
    assert identity() == identity() and len({identity(), *changed}) == 6


def test_asking_changes_nothing():
    critic = fgt.critic(Network().value)
    before = fingerprint(critic)
    critic.members(jnp.ones(3), jnp.ones(2))
    assert fingerprint(critic) == before


def test_the_reduction_counts():
    network = Network()
    kinds = [fgt.critic(network.value, reduction=r) for r in ("min", "mean", fg.Pessimism(0.5))]
    assert len({fingerprint(each) for each in kinds}) == 3


SOURCE = """
import torch, flowguide as fg, flowguide.torch as fgt
from flowguide._fingerprint import fingerprint
from tests.torch.test_identity import Network
print(fingerprint(fg.FlowPolicy(fgt.velocity(Network()), (2,)), fgt.critic(Network().value)))
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
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1 and len(found.pop()) == 13


def test_pickled_it_does_the_same(key):
    guided = fg.guide(
        fg.FlowPolicy(fgt.velocity(Network()), (2,)), fgt.critic(Network(1).value), "qgf"
    )
    again = pickle.loads(pickle.dumps(guided))
    assert fingerprint(again) == fingerprint(guided)
    expected = guided(jnp.ones(3), key=key)
    np.testing.assert_array_equal(again(jnp.ones(3), key=key), expected)


def test_saving_says_that_it_cannot(tmp_path):
    policy = fg.FlowPolicy(fgt.velocity(Network()), (2,))
    with pytest.raises(ValueError, match="policy.velocity is a TorchVelocity, which cannot be"):
        fg.save(tmp_path, policy, None)
    with pytest.raises(ValueError, match="critic is a TorchCritic, which cannot be saved"):
        fg.save(tmp_path, None, fgt.critic(Network().value))
    assert not list(tmp_path.iterdir())


def test_a_policy_says_what_it_is():
    policy = fg.FlowPolicy(
        fgt.velocity(Network()), (2,), encode=fgt.encoder(lambda observation: observation)
    )
    text = repr(fg.guide(policy, fgt.critic(Network().value), "qgf", weight=0.1))
    assert text.startswith("FlowPolicy(TorchVelocity, action_shape=(2,)")
    assert "encode=TorchEncoder" in text and text.endswith("qgf(weight=0.1) by TorchCritic")
    assert jax.tree.leaves(policy.velocity) == []
