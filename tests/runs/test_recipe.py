"""What settings become: optimisers, targets, presets."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowguide as fg
from flowguide.runs import _recipe, preset, PRESETS

from ..train.test_train import promotion_as_optax_needs_it as promotion_as_optax_needs_it
from .runs import TASK


def test_optimiser_follows_its_schedule(settings):
    gradient, parameter = jnp.array([3.0, -4.0]), jnp.zeros(2)

    def sizes(**changes):
        optimiser = _recipe.make_optimiser(settings(learning_rate=1.0, **changes))
        state, found = optimiser.init(parameter), []
        for _ in range(9):
            update: Any
            update, state = optimiser.update(gradient, state, parameter)
            found.append(float(jnp.abs(update[0])))
        return state, found

    # Of a constant gradient, Adam's step is the learning rate.
    _, found = sizes(warmup_steps=4)
    np.testing.assert_allclose(found, [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1], rtol=1e-4)
    _, found = sizes(warmup_steps=4, steps=8, schedule="cosine")
    cosine = 0.5 * (1 + np.cos(np.pi * np.arange(5) / 4))
    np.testing.assert_allclose(found, [0, 0.25, 0.5, 0.75, *cosine], rtol=1e-4, atol=1e-6)
    state, _ = sizes(clip_norm=1.0)
    moments = [x for x in jax.tree.leaves(state) if getattr(x, "shape", None) == (2,)]
    np.testing.assert_allclose(moments[0], (1 - 0.9**9) * gradient / 5, rtol=1e-4)


def test_targets_are_guided_as_the_settings_say(settings):
    guidances: Any = _recipe.target_guidance(
        settings(target_method="qgf", target_weight=0.7, target_best_of_n=3)
    )
    policy = fg.FlowPolicy(lambda t, a, o: -a, (2,))
    guided = fg.guide(policy, lambda o, a: jnp.sum(a), guidances)
    assert guided.noise_shape == (3, 2)
    by_hand = fg.guide(policy, lambda o, a: jnp.sum(a), [fg.qgf(0.7), fg.best_of_n(3)])
    noise = jax.random.normal(jax.random.key(0), (3, 2))
    np.testing.assert_array_equal(guided.from_noise(noise, None), by_hand.from_noise(noise, None))
    assert _recipe.target_guidance(settings()) is None


def test_presets():
    paper = preset("paper", TASK)
    assert (paper.hidden, paper.batch_size, paper.discount) == ((1024,) * 4, 1024, 0.999)
    assert (paper.horizon, paper.steps) == (5, 500_000)
    assert all(preset(name, TASK).task == TASK for name in PRESETS)
    with pytest.raises(ValueError, match="Unknown preset 'large'"):
        preset("large", TASK)
