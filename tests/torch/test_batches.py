"""One call of the function for a whole batch, and one program for all observations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flowguide as fg
import flowguide.torch as fgt

from .networks import Recorded


def field(t, action, observation):
    return (
        observation["state"][:, None, :2]
        + observation["image"].mean((1, 2, 3))[:, None, None]
        - (action * (1 + t[:, None, None]))
    )


def value(observation, action):
    return -((action - observation["state"][:, None, 1:]) ** 2).sum((1, 2))


def field_of_one(t, action, observation):
    return observation["state"][None, :2] + observation["image"].mean() - action * (1 + t)


SCENE = {"state": jnp.array([0.3, -0.2, 0.1]), "image": jnp.linspace(0, 1, 60).reshape(4, 5, 3)}
SCENES = jax.tree.map(lambda x: jnp.stack([x * i for i in range(5)]), SCENE)


def policy_of(velocity, **options):
    return fg.FlowPolicy(velocity, (4, 2), num_steps=3, **options)


def test_a_batch_is_one_call_a_step(key):
    function = Recorded(field)
    actions = function.asked(fg.sample, policy_of(fgt.velocity(function)), SCENES, key=key)
    assert function.batches == [5] * 3
    expected = fg.sample(policy_of(field_of_one), SCENES, key=key)
    np.testing.assert_allclose(actions, expected, atol=1e-6)


def test_candidates_and_batches_are_one_batch(key):
    function, critic = Recorded(field), Recorded(value)
    policy = policy_of(fgt.velocity(function))
    guided = fg.guide(policy, fgt.critic(critic), "best_of_n", n=6)
    critic.calls.clear()
    function.asked(fg.sample, guided, SCENES, key=key)
    assert function.batches == [30] * 3 and critic.batches == [30]


def test_value_and_gradient_are_one_call():
    function = Recorded(value)
    critic = fgt.critic(function)
    function.asked(jax.jit(jax.value_and_grad(critic, argnums=1)), SCENE, jnp.ones((4, 2)))
    assert function.batches == [1]
    function.asked(jax.value_and_grad(critic, argnums=1), SCENE, jnp.ones((4, 2)))
    assert function.batches == [1]


def test_what_is_the_same_for_all_is_not_copied(key):
    """Each of the candidates looks at one image, in memory once."""
    function = Recorded(field)
    velocity = fgt.velocity(function)
    actions = jax.random.normal(key, (7, 4, 2))
    function.asked(jax.vmap(velocity, (None, 0, None)), jnp.float32(0.5), actions, SCENE)
    ((t, _, observation),) = function.calls
    assert observation["image"].shape == (7, 4, 5, 3)
    assert observation["image"].stride(0) == 0 and t.stride(0) == 0


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (1, 0), (-1, 2)])
def test_axes_of_nested_vmaps(axes, key):
    """The inner `vmap` is over actions, the outer over both or one, at any axis."""
    of_scenes, of_actions = axes
    velocity = fgt.velocity(field)
    actions = jax.random.normal(key, (5, 6, 4, 2))
    actions = actions[0] if of_actions is None else jnp.moveaxis(actions, 0, of_actions)
    scenes = SCENE
    if of_scenes is not None:
        scenes = jax.tree.map(lambda x: jnp.moveaxis(x, 0, of_scenes), SCENES)

    def over(call):
        inner = jax.vmap(call, (None, 0, None))
        # The outer axis is removed before the inner one is looked for.
        outer = jax.vmap(inner, (None, of_actions, of_scenes), out_axes=1)
        return outer(jnp.float32(0.3), actions, scenes)

    np.testing.assert_allclose(over(velocity), over(field_of_one), atol=1e-6)


def test_gradients_of_what_is_the_same_for_all_add_up(key):
    actions = jax.random.normal(key, (7, 4, 2))

    def total(call, scene):
        return jnp.sum(jnp.sin(jax.vmap(call, (None, 0, None))(jnp.float32(0.5), actions, scene)))

    found = jax.grad(lambda scene: total(fgt.velocity(field), scene))(SCENE)
    expected = jax.grad(lambda scene: total(field_of_one, scene))(SCENE)
    for name in SCENE:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_nothing_is_traced_again(key):
    traced = []
    velocity, critic = fgt.velocity(field), fgt.critic(value)

    def counted(t, action, observation):
        traced.append(t)
        return velocity(t, action, observation)

    guided = fg.guide(policy_of(counted), critic, "qgf", weight=0.1)
    guided(SCENE, key=key)
    count = len(traced)
    for weight in (0.2, 0.3):
        other = jax.tree.map(lambda x, w=weight: x * w, SCENE)
        fg.with_weight(guided, weight)(other, key=key)
    assert len(traced) == count > 0


def test_two_wrappers_of_one_function_are_equal(key):
    """A wrapper that is made anew, around the same method, finds the same program."""
    module = torch.nn.Linear(2, 2)
    module.ask = lambda t, action, observation: action
    assert fgt.velocity(module.ask) == fgt.velocity(module.ask)
    assert fgt.velocity(module.ask) != fgt.velocity(module.ask, dtype=torch.float64)
    compiled: Any = jax.jit(lambda velocity, action: velocity(0.5, action, None), static_argnums=0)
    for _ in range(2):
        compiled(fgt.velocity(module.ask), jnp.ones(2))
    assert compiled._cache_size() == 1
