"""Functions are asked in their module's precision, and answer in the action's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flowguide as fg
import flowguide.torch as fgt

from .networks import Recorded


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(5, 2)

    def forward(self, t, action, observation):
        return self.linear(torch.cat([observation["state"], action], 1)) * t[:, None]


OBSERVATION = {"state": jnp.ones(3), "label": jnp.array(2), "mask": jnp.array([True, False])}


def dtypes_asked(function, *, action=jnp.float32, **options):
    recorded = Recorded(function)
    recorded.asked(fgt.velocity(recorded, **options), 0.5, jnp.ones(2, action), OBSERVATION)
    ((t, given, observation),) = recorded.calls
    assert observation["label"].dtype in (torch.int32, torch.int64)
    assert observation["mask"].dtype == torch.bool
    return t.dtype, given.dtype, observation["state"].dtype


@pytest.mark.parametrize("action", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_a_function_is_asked_in_the_precision_of_the_action(action):
    name = getattr(torch, jnp.dtype(action).name)
    assert dtypes_asked(lambda t, a, o: -a, action=action) == (name, name, name)


def test_a_dtype_is_for_all_floats():
    short = (torch.bfloat16,) * 3
    assert dtypes_asked(lambda t, a, o: -a, dtype=torch.bfloat16) == short


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64, torch.float32])
def test_a_module_is_asked_in_its_own(kind, key):
    module = Field().to(kind)
    asked = []
    module.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[1].dtype))
    velocity = fgt.velocity(module)
    found = velocity(0.5, jnp.ones(2), OBSERVATION)
    gradient = jax.grad(lambda a: velocity(0.5, a, OBSERVATION).sum())(jnp.ones(2))
    assert found.dtype == gradient.dtype == jnp.float32 and set(asked) == {kind}
    exact = fgt.velocity(Field())(0.5, jnp.ones(2), OBSERVATION)
    # bfloat16 has eight bits.
    np.testing.assert_allclose(found, exact, atol=1e-2 if kind == torch.bfloat16 else 1e-6)


def test_a_method_of_a_module_is_asked_as_the_module():
    module = Field().to(torch.bfloat16)
    found = fgt.velocity(module.forward)(0.5, jnp.ones(2), OBSERVATION)
    assert found.dtype == jnp.float32


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_the_result_has_the_dtype_of_the_action(dtype, key):
    action = jnp.ones(2, dtype)
    velocity = fgt.velocity(lambda t, a, o: 2 * a, dtype=torch.float32)
    critic = fgt.critic(lambda o, a: (a**2).sum(1), dtype=torch.float32)
    assert velocity(0.5, action, None).dtype == dtype
    value, gradient = jax.value_and_grad(critic, argnums=1)(None, action)
    assert value.dtype == gradient.dtype == dtype and value == 2
    np.testing.assert_array_equal(gradient.astype(float), 2)


def test_float64(key):
    with jax.enable_x64(True):
        action = jnp.ones(2, jnp.float64) / 3
        velocity = fgt.velocity(lambda t, a, o: a / 3)
        found = velocity(0.5, action, None)
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, 1 / 9, rtol=1e-15)
        policy = fg.FlowPolicy(velocity, (2,), num_steps=2, low=-jnp.inf, high=jnp.inf)
        np.testing.assert_allclose(policy.from_noise(action, None), (7 / 6) ** 2 / 3, rtol=1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int64, torch.bool])
def test_encoders_keep_dtypes_but_for_64_bits(dtype):
    found = fgt.encoder(lambda o: o[:, :2].to(dtype))(jnp.ones(3))
    name = str(dtype).removeprefix("torch.").replace("64", "32")
    assert found.dtype == jnp.dtype(name) and jnp.all(found.astype(float) == 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_another_device():
    module = Field().cuda()
    found = fgt.velocity(module)(0.5, jnp.ones(2), OBSERVATION)
    np.testing.assert_allclose(
        found, fgt.velocity(Field())(0.5, jnp.ones(2), OBSERVATION), atol=1e-6
    )


def test_inputs_go_to_the_device():
    """`meta` is a device that every machine has, though nothing comes back from it."""
    recorded = Recorded(lambda t, a, o: torch.zeros(a.shape))
    recorded.asked(fgt.velocity(recorded, device="meta"), 0.5, jnp.ones(2), OBSERVATION)
    devices = {each.device.type for each in jax.tree.leaves(recorded.calls)}
    assert devices == {"meta"}
