"""What is wrong is said in words, and what the function raises keeps its own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flowguide as fg
import flowguide.torch as fgt

from ..helpers import without_typechecker

ACTION = jnp.ones(2)


def velocity_of(function):
    return jax.block_until_ready(fgt.velocity(function)(0.5, ACTION, jnp.ones(3)))


@pytest.mark.parametrize(
    "function, words",
    [
        (
            lambda t, a, o: o,
            r"velocity returned a tensor of shape \(1, 3\).*expected shape \(1, 2\)",
        ),
        (lambda t, a, o: a[0], r"shape \(2,\).*for a batch of 1"),
        (lambda t, a, o: a.int(), r"torch.int32 for a batch of 1.*of floats"),
        (lambda t, a, o: a.numpy(), "velocity returned ndarray: expected a tensor"),
        (lambda t, a, o: None, "velocity returned None: expected a tensor"),
        (lambda t, a, o: (a, a), r"velocity returned \('Tensor', 'Tensor'\): expected a tensor"),
        (lambda t, a, o: torch.nn.Linear(5, 2)(a), "mat1 and mat2 shapes cannot be multiplied"),
        (lambda t, a, o: {}["key of mine"], "key of mine"),
    ],
)
def test_what_a_velocity_does_wrong_is_said(function, words):
    with pytest.raises(jax.errors.JaxRuntimeError, match=words):
        velocity_of(function)


@pytest.mark.parametrize(
    "function, words",
    [
        (lambda o, a: a[:, :, None], r"shape \(\d, 2, 1\): expected values of\s+shape \(B,\), or"),
        (lambda o, a: a.sum(), r"shape \(\): expected values"),
        (lambda o, a: a.sum(1).int(), "of floats"),
        (lambda o, a: [a.sum(1)], "critic returned a list: expected a tensor"),
    ],
)
def test_what_a_critic_does_wrong_is_said(function, words):
    for ask in (fgt.critic(function), fgt.critic(function).members):
        with pytest.raises((jax.errors.JaxRuntimeError, TypeError, ValueError), match=words):
            jax.block_until_ready(ask(jnp.ones(3), ACTION))


@pytest.mark.parametrize("make", [fgt.velocity, fgt.critic, fgt.encoder])
def test_what_is_no_function_is_refused_at_once(make):
    with without_typechecker():
        with pytest.raises(TypeError, match="takes a callable of .*, got 3"):
            make(3)
        with pytest.raises(TypeError, match="dtype must be a floating-point dtype of PyTorch"):
            make(lambda *_: None, dtype=torch.int32)
        with pytest.raises(TypeError, match="dtype must be a floating-point dtype of PyTorch"):
            make(lambda *_: None, dtype="float32")
        with pytest.raises(RuntimeError, match="nowhere"):
            make(lambda *_: None, device="nowhere")


class Unhashable:
    __hash__: Any = None

    def __call__(self, *_):
        return None


def test_what_has_no_hash_is_refused_at_once():
    with pytest.raises(TypeError, match="Unhashable, which has no hash"):
        fgt.velocity(Unhashable())


def test_an_unknown_reduction_is_refused_at_once():
    with pytest.raises(ValueError, match="Unknown reduction 'max'"):
        fgt.critic(lambda o, a: a, reduction="max")


@pytest.mark.parametrize(
    "leaf, words",
    [
        ("pick up the cube", r"observation\['task'\] is of type str \('pick up the cube'\)"),
        (torch.ones(3), r"observation\['task'\] is of type Tensor"),
        (np.array("text"), r"observation\['task'\] is of type ndarray"),
        (jax.random.key(0), r"observation\['task'\] is a random key of JAX"),
    ],
)
def test_leaves_that_are_no_arrays_are_named(leaf, words, key):
    field = fgt.velocity(lambda t, a, o: -a)
    with pytest.raises(TypeError, match=words):
        field(0.5, ACTION, {"state": jnp.ones(3), "task": leaf})
    # JAX itself refuses texts in arrays.
    with pytest.raises(TypeError, match=None if isinstance(leaf, np.ndarray) else words):
        fg.FlowPolicy(field, (2,))({"state": jnp.ones(3), "task": leaf}, key=key)


def test_numbers_and_none_are_leaves_like_others():
    found = fgt.velocity(lambda t, a, o: a * o["scale"][:, None])(
        0.5, ACTION, {"scale": 2.0, "goal": None}
    )
    np.testing.assert_array_equal(found, 2)
