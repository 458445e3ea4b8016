"""A policy that is told which actions are good, on the walk along a line of test_critics."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import flowguide as fg
from flowguide import nn
from flowguide.data import Windows
from flowguide.train import Conditioned, IQL, train

from .test_critics import GAMMA, make_critic
from .test_train import chain_dataset, promotion_as_optax_needs_it as promotion_as_optax_needs_it


def make_learner(**options):
    iql = IQL(
        make_critic,
        lambda key: nn.ValueMLP(1, (64, 64), key=key),
        expectile=0.5,
        target_rate=0.05,
        optimiser=optax.adam(1e-3),
    )
    return Conditioned(
        lambda key: nn.VelocityMLP(1, (1, 1), (64, 64), num_labels=2, key=key),
        iql,
        optax.adam(1e-3),
        **options,
    )


def test_guided_it_does_what_is_good_and_unguided_what_the_data_do(key):
    learner = make_learner()
    windows = Windows(chain_dataset(), 1, GAMMA)
    learnt = train(learner, windows, steps=3000, batch_size=128, key=key).result(learner)
    policy = fg.FlowPolicy(learnt["policy"], (1, 1), num_steps=10)
    observations = jnp.repeat(jnp.arange(-1.0, 3.0), 50)[:, None]
    share = [
        float(np.mean(fg.sample(p, observations, key=jr.key(1)) > 0))
        for p in (policy, fg.guide(policy, learnt["critic"], "cfg", weight=1.5))
    ]
    # The walk is random, and right is where the reward is.
    assert 0.3 < share[0] < 0.7
    assert share[1] > 0.95


def test_impossible_dropout_is_refused():
    with pytest.raises(ValueError, match=r"dropout must be in \(0, 1\), got 0.0"):
        make_learner(dropout=0.0)
