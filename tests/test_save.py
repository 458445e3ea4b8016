import dataclasses
import json

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowguide as fg
from flowguide import nn

from .helpers import (
    ACTION_SHAPES,
    HIDDEN,
    mlp_critic,
    mlp_policy,
    OBSERVATION_SIZE,
    without_typechecker,
)


def same(a, b):
    return bool(eqx.tree_equal(a, b))


@pytest.mark.parametrize("action_shape", ACTION_SHAPES)
@pytest.mark.parametrize("stacked", [True, False])
def test_what_is_saved_is_loaded(tmp_path, key, action_shape, stacked):
    policy = mlp_policy(
        key,
        action_shape,
        solver=diffrax.Heun(),
        num_steps=7,
        low=np.full(action_shape, -0.5),
        stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-4),
    )
    critic = mlp_critic(key, action_shape, stacked=stacked, reduction="mean")
    fg.save(tmp_path / "new" / "folder", policy, critic)
    loaded_policy, loaded_critic = fg.load(tmp_path / "new" / "folder")
    assert same(loaded_policy, policy) and same(loaded_critic, critic)
    noise, o = jax.random.normal(key, action_shape), jnp.ones(OBSERVATION_SIZE)
    assert jnp.array_equal(loaded_policy.from_noise(noise, o), policy.from_noise(noise, o))


def test_a_single_critic_and_a_reversed_field(tmp_path, key):
    velocity = fg.reverse_time(nn.VelocityMLP(OBSERVATION_SIZE, (3,), HIDDEN, key=key))
    policy = fg.FlowPolicy(velocity, (3,))
    critic = nn.CriticMLP(OBSERVATION_SIZE, (3,), HIDDEN, key=key)
    fg.save(tmp_path, policy, critic)
    fg.save(tmp_path, policy, critic)
    loaded = fg.load(tmp_path)
    assert same(loaded[0], policy) and same(loaded[1], critic)
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["config.json", "model.safetensors"]
    assert json.loads((tmp_path / "config.json").read_text())["versions"]["jax"]


def test_what_cannot_be_saved_is_refused(tmp_path, key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    with pytest.raises(ValueError, match="policy has guidance, which is not saved.*unguided"):
        fg.save(tmp_path, fg.guide(policy, critic, "qgf"), critic)
    with pytest.raises(ValueError, match="policy has encode, which is not saved"):
        fg.save(tmp_path, mlp_policy(key, encode=jnp.tanh), critic)
    message = "policy is a BestOfNPolicy, which cannot be saved"
    with without_typechecker(), pytest.raises(ValueError, match=message):
        fg.save(tmp_path, fg.guide(policy, critic, "best_of_n"), critic)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="critic is a function, which cannot be saved"):
        fg.save(tmp_path, policy, lambda o, a: a.sum())
    with pytest.raises(ValueError, match="critic.reduction is a callable"):
        fg.save(tmp_path, policy, fg.Ensemble(critic.critics, lambda q: q.min()))
    with pytest.raises(ValueError, match="policy.solver.*cannot be saved: expected one of"):
        fg.save(tmp_path, mlp_policy(key, solver=diffrax.SemiImplicitEuler()), critic)
    assert not list(tmp_path.iterdir())


def test_the_unguided_part_of_a_guided_policy_is_saved(tmp_path, key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    fg.save(tmp_path, fg.guide(policy, critic, [fg.qgf(), fg.ood(0.1)]).unguided, critic)
    assert same(fg.load(tmp_path)[0], policy)


@pytest.fixture
def saved(tmp_path, key):
    fg.save(tmp_path, mlp_policy(key), mlp_critic(key))
    return tmp_path


def edit(folder, change):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["critic"].update({"class": "os.system"}), "unknown class 'os.system'"),
        (lambda c: c["policy"].update(solver="Kvaerno5"), "policy.solver.*unknown class"),
        (lambda c: c["policy"]["velocity"].update(hidden=[16, 17]), "configuration says"),
        (lambda c: c["policy"]["velocity"].update(hidden=[16]), "holds unexpected"),
        (lambda c: c["policy"]["velocity"].update(hidden=[16, 16, 16]), "lacks"),
        (lambda c: c["policy"].update(num_steps=-1), "num_steps must be an integer"),
        (lambda c: c.pop("policy"), "cannot be read.*policy"),
        (lambda c: c.update(format=99), "format is 99"),
        (lambda c: c.update(sha256="0"), "damaged"),
    ],
)
def test_a_changed_configuration_is_refused(saved, change, message):
    edit(saved, change)
    with pytest.raises(ValueError, match=message):
        fg.load(saved)


def test_a_damaged_or_missing_file_is_refused(saved):
    arrays = saved / "model.safetensors"
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="model.safetensors is damaged"):
        fg.load(saved)
    arrays.write_bytes(whole[:100] + b"?" + whole[101:])
    with pytest.raises(ValueError, match="model.safetensors is damaged"):
        fg.load(saved)
    arrays.unlink()
    with pytest.raises(FileNotFoundError, match="model.safetensors is missing"):
        fg.load(saved)
    (saved / "config.json").write_text("{")
    arrays.write_bytes(whole)
    with pytest.raises(ValueError, match="config.json cannot be read"):
        fg.load(saved)


def test_files_of_flowguide_0_1_0_are_loaded(saved, key):
    """They have the number of equal steps as the most steps, which limited nothing."""

    def older(config):
        assert config["policy"]["max_steps"] is None
        config["policy"]["max_steps"] = config["policy"]["num_steps"]

    edit(saved, older)
    policy, critic = fg.load(saved)
    assert same(policy, mlp_policy(key)) and same(critic, mlp_critic(key))
    # So that more steps can be asked for.
    assert dataclasses.replace(policy, num_steps=20).num_steps == 20


def test_observations_are_kept_and_replaced(tmp_path, key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    observations = np.arange(14, dtype=np.float32).reshape(2, OBSERVATION_SIZE)
    fg.save(tmp_path, policy, critic, observations=observations)
    np.testing.assert_array_equal(fg.load_observations(tmp_path), observations)
    whole = (tmp_path / "observations.npy").read_bytes()
    (tmp_path / "observations.npy").write_bytes(whole[:-3])
    with pytest.raises(ValueError, match="observations.npy is damaged"):
        fg.load_observations(tmp_path)
    # Those of another model would mislead.
    fg.save(tmp_path, policy, critic)
    with pytest.raises(FileNotFoundError, match="holds no observations"):
        fg.load_observations(tmp_path)
