"""Encoders of PyTorch, asked once for an action, whose results are any tensors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flowguide as fg
import flowguide.torch as fgt

from .networks import Recorded


def prefix(observation):
    """Features, a cache in layers, and a mask."""
    image = observation["image"].mean((1, 2))
    cache = [torch.stack([image, image * layer], 1) for layer in (1, 2)]
    return {"features": image, "cache": tuple(cache), "mask": image > 0.5}


def field(t, action, encoded):
    seen = torch.where(encoded["mask"], encoded["cache"][1][:, 1], encoded["features"])
    return seen[:, :2] - action * t[:, None]


def prefix_of_one(observation):
    image = observation["image"].mean((0, 1))
    cache = [jnp.stack([image, image * layer]) for layer in (1, 2)]
    return {"features": image, "cache": tuple(cache), "mask": image > 0.5}


def field_of_one(t, action, encoded):
    seen = jnp.where(encoded["mask"], encoded["cache"][1][1], encoded["features"])
    return seen[:2] - action * t


SCENES = {"image": jnp.linspace(0, 1, 5 * 4 * 4 * 3).reshape(5, 4, 4, 3)}
SCENE = jax.tree.map(lambda x: x[3], SCENES)


def test_what_it_returns_is_what_jax_gets():
    found, expected = fgt.encoder(prefix)(SCENE), prefix_of_one(SCENE)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("method", ["qgf", "best_of_n", "qgf_jacobian"])
def test_a_batch_is_encoded_in_one_call(method, key):
    def critic(observation, action):
        return -jnp.sum((action - observation["image"].mean()) ** 2)

    encode = Recorded(prefix)
    policies = [
        fg.FlowPolicy(velocity, (2,), num_steps=3, encode=encoder)
        for velocity, encoder in (
            (fgt.velocity(field), fgt.encoder(encode)),
            (field_of_one, prefix_of_one),
        )
    ]
    ours, theirs = (fg.guide(policy, critic, method) for policy in policies)
    fg.sample(ours, SCENES, key=key)
    found = encode.asked(fg.sample, ours, SCENES, key=key)
    assert encode.batches == [5]
    np.testing.assert_allclose(found, fg.sample(theirs, SCENES, key=key), atol=1e-5)


def test_shapes_are_tried_once_for_each_shape():
    encode = Recorded(prefix)
    encoder = fgt.encoder(encode)
    for size in (4, 4, 6):
        jax.eval_shape(encoder, {"image": jnp.ones((size, size, 3))})
    assert encode.batches == [2, 2]
    assert not encode.calls[0][0]["image"].any()


def test_its_derivative_in_the_observation():
    def total(encode, scene):
        encoded = encode(scene)
        return jnp.sum(encoded["features"] ** 2) + jnp.sum(encoded["cache"][1])

    found = jax.grad(lambda scene: total(fgt.encoder(prefix), scene))(SCENE)
    expected = jax.grad(lambda scene: total(prefix_of_one, scene))(SCENE)
    np.testing.assert_allclose(found["image"], expected["image"], atol=1e-6)


@pytest.mark.parametrize(
    "function, words",
    [
        (lambda o: {"cache": "text"}, r"encoder\['cache'\] is of type str"),
        (lambda o: [o["image"], None, 3], r"encoder\[2\] is of type int"),
        (lambda o: o["image"].mean(), r"shape \(\) for a batch of 2"),
        (lambda o: o["image"][:1], r"shape \(1, 4, 4, 3\) for a batch of 2"),
    ],
)
def test_what_cannot_be_an_array_is_named(function, words):
    with pytest.raises((TypeError, ValueError), match=words):
        fgt.encoder(function)(SCENE)


def test_a_result_that_changes_is_refused():
    kept = []

    def function(observation):
        kept.append(observation)
        return torch.ones((len(observation["image"]), len(kept)))

    with pytest.raises(jax.errors.JaxRuntimeError, match=r"expected shape \(1, 1\)"):
        jax.block_until_ready(fgt.encoder(function)(SCENE))
