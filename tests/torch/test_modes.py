"""Functions are asked in modes of their own, whatever the caller's, from whichever thread."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flowguide as fg
import flowguide.torch as fgt

from .networks import Recorded


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(3, 2)
        self.modes = set()

    def forward(self, t, action, observation):
        self.modes.add((torch.is_grad_enabled(), torch.is_inference_mode_enabled(), self.training))
        return self.linear(observation) - action * self.linear.weight.sum()


def value(observation, action):
    return -((action - observation[:, :2]) ** 2).sum(1)


def sampled(module, key, method="qgf_jacobian"):
    policy = fg.FlowPolicy(fgt.velocity(module), (2,), num_steps=3)
    guided = fg.guide(policy, fgt.critic(value), method, weight=0.3)
    return np.asarray(fg.sample(guided, jnp.ones((4, 3)), key=key))


@pytest.mark.parametrize(
    "mode",
    [torch.inference_mode, torch.no_grad, lambda: torch.autocast("cpu", dtype=torch.bfloat16)],
)
@pytest.mark.parametrize("method", ["qgf", "qgf_jacobian"])
def test_the_callers_mode_does_not_matter(mode, method, key):
    module = Module()
    expected = sampled(module, key, method)
    with mode():
        np.testing.assert_array_equal(sampled(module, key, method), expected)


def test_gradients_are_on_for_derivatives_only(key):
    module = Module()
    sampled(module, key, "qgf")
    assert module.modes == {(False, False, True)}
    sampled(module, key, "qgf_jacobian")
    assert module.modes == {(False, False, True), (True, False, True)}


@pytest.mark.parametrize("training", [True, False])
def test_training_mode_is_left_alone(training, key):
    module = Module().train(training)
    sampled(module, key)
    assert module.training is training
    assert {each[2] for each in module.modes} == {training}


def test_parameters_get_no_gradients(key):
    module = Module()
    sampled(module, key)
    assert module.linear.weight.grad is None and module.linear.weight.requires_grad


def test_what_a_function_keeps_without_a_gradient_serves_with_one():
    """As rotary embeddings, computed in the first call, which needs no gradient."""
    kept = {}

    def function(observation, action):
        if "scale" not in kept:
            kept["scale"] = observation[0].clone()
        return (action**2 * kept["scale"]).sum(1)

    critic, action = fgt.critic(function), jnp.ones(2)
    assert critic(jnp.full(2, 3.0), action) == 6
    np.testing.assert_allclose(jax.grad(critic, argnums=1)(jnp.full(2, 3.0), action), 6)


def test_a_module_that_is_moved_or_trained_is_asked_as_it_is():
    module = torch.nn.Linear(2, 1)
    critic = fgt.critic(lambda o, a: module(a)[:, 0])
    jitted = jax.jit(critic)
    before = jitted(None, jnp.ones(2))
    with torch.no_grad():
        module.weight.add_(1.0)
    assert jitted(None, jnp.ones(2)) == pytest.approx(float(before) + 2, abs=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
def test_arguments_are_the_functions_own(compiled):
    """It may write into them and keep them: what JAX holds does not change."""
    kept = []

    def function(observation, action):
        kept.append(observation.sub_(1))
        return observation.sum(1) + action.sum(1)

    call = jax.jit(fgt.critic(function)) if compiled else fgt.critic(function)
    observation = jnp.arange(1000.0)
    for _ in range(3):
        assert call(observation, jnp.zeros(2)) == 498500
    np.testing.assert_array_equal(observation, np.arange(1000))
    for each in kept:
        np.testing.assert_array_equal(each[0], np.arange(1000) - 1)


def test_threads_ask_at_the_same_time(key):
    module = Module()
    expected = sampled(module, key)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: sampled(module, key), range(12)):
            np.testing.assert_array_equal(found, expected)


def test_several_axes_in_front_are_counted_from_the_call():
    """Observations and actions without axes of their own, under two `vmap`s."""
    function = Recorded(lambda o, a: o * a)
    critic = fgt.critic(function)
    found = jax.vmap(jax.vmap(critic, (None, 0)), (0, None))(jnp.arange(3.0), jnp.arange(4.0))
    np.testing.assert_array_equal(found, np.outer(np.arange(3), np.arange(4)))
    assert function.batches == [12]


STRESS = """
import faulthandler, os, threading
faulthandler.dump_traceback_later(200, exit=True)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, jax.numpy as jnp, numpy as np, torch
import flowguide.torch as fgt
torch.set_num_threads(1)
velocity = fgt.velocity(lambda t, a, o: o["image"][:, :2, 0, 0] + o["state"][:, :2] - a)

@jax.jit
def solved(image, state):
    # A product that XLA's threads share, and memory that XLA makes and frees.
    image = jnp.tanh(image @ image[0, :256, :256])
    action = jnp.zeros(2)
    for _ in range(5):
        action = action + velocity(0.5, action, {"image": image, "state": state})
    return action

def work(number):
    # Of an odd offset: memory that is not aligned, as data from elsewhere.
    image = np.full(16 * 1024 * 256 + 1, 1e-3, np.float32)[1:].reshape(16, 1024, 256)
    found[number] = [solved(image, jnp.ones(3) * i) for i in range(10)]
    jax.block_until_ready(found[number])

found = {}
threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(found) == 4 and all(jnp.allclose(x[3], x[3][0]) for x in found.values())
print("200 calls")
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "sched_setaffinity"), reason="Linux only")
def test_large_observations_on_one_core_from_several_threads():
    """200 calls with 16 MiB each. Whoever computes with JAX inside of a callback waits for ever."""
    done = subprocess.run(
        [sys.executable, "-c", STRESS], capture_output=True, text=True, check=False
    )
    assert done.stdout == "200 calls\n", done.stderr
