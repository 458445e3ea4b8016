import dataclasses
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

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


def test_observations_in_parts_are_not_saved_with_a_policy(tmp_path, key):
    parts: Any = {"state": np.zeros((2, 3))}
    with without_typechecker(), pytest.raises(ValueError, match="must be one array.*got dict"):
        fg.save(tmp_path, mlp_policy(key), None, observations=parts)


def test_a_single_critic_and_a_reversed_field(tmp_path, key):
    velocity = fg.reverse_time(nn.VelocityMLP(OBSERVATION_SIZE, (3,), HIDDEN, key=key))
    policy = fg.FlowPolicy(velocity, (3,))
    critic = nn.CriticMLP(OBSERVATION_SIZE, (3,), HIDDEN, key=key)
    fg.save(tmp_path, policy, critic)
    fg.save(tmp_path, policy, critic)
    loaded = fg.load(tmp_path)
    assert same(loaded[0], policy) and same(loaded[1], critic)
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["model.safetensors"]
    assert header_of(tmp_path)["versions"]["jax"]


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


def header_of(folder):
    with safe_open(folder / "model.safetensors", "numpy") as opened:
        return json.loads(opened.metadata()["flowguide"])


def edit(folder, change):
    file, header = folder / "model.safetensors", header_of(folder)
    change(header)
    save_file(load_file(file), file, {"flowguide": json.dumps(header)})


def as_first_version(folder, policy, critic, observations=None):
    """What flowguide 0.1.0 wrote: three files."""
    fg.save(folder, policy, critic)
    header, file = header_of(folder), folder / "model.safetensors"
    save_file(load_file(file), file)
    header |= {"format": 1, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    # It wrote the number of equal steps as the most steps, which limited nothing.
    header["policy"]["max_steps"] = header["policy"]["num_steps"]
    (folder / "config.json").write_text(json.dumps(header))
    if observations is not None:
        np.save(folder / "observations.npy", observations)


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


def test_files_of_flowguide_0_1_0_are_loaded(tmp_path, key):
    observations = np.arange(14, dtype=np.float32).reshape(2, OBSERVATION_SIZE)
    as_first_version(tmp_path, mlp_policy(key), mlp_critic(key), observations)
    policy, critic = fg.load(tmp_path)
    assert same(policy, mlp_policy(key)) and same(critic, mlp_critic(key))
    np.testing.assert_array_equal(fg.load_observations(tmp_path), observations)
    # So that more steps can be asked for.
    assert dataclasses.replace(policy, num_steps=20).num_steps == 20
    file = tmp_path / "observations.npy"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match="observations.npy is damaged"):
        fg.load_observations(tmp_path)
    whole = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json cannot be read"):
        fg.load(tmp_path)
    (tmp_path / "config.json").write_text(whole)
    fg.save(tmp_path, policy, critic)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert same(fg.load(tmp_path)[0], policy)


def test_a_file_of_others_is_refused(tmp_path):
    save_file({"weight": np.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="was not written by flowguide"):
        fg.load(tmp_path)


def test_a_folder_around_or_beside_the_one_that_was_meant(tmp_path, key):
    fg.save(tmp_path / "demo" / "run", mlp_policy(key), None)
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "settings.json").write_text("{}")
    inside = tmp_path / "demo" / "run"
    for folder, said in (
        ("demo", f"model.safetensors is missing. Did you mean {str(inside)!r}?"),
        ("deno", f"there is no such folder. Did you mean {str(tmp_path / 'demo')!r}?"),
        ("demo/run/model.safetensors", "it is a file. Expected the folder"),
        ("empty", "model.safetensors is missing. flowguide.save"),
        ("half", "its training is not finished"),
    ):
        for load in (fg.load, fg.load_observations):
            with pytest.raises(FileNotFoundError) as error:
                load(tmp_path / folder)
            assert str(error.value).startswith(f"{tmp_path / folder} holds no saved policy")
            assert said in str(error.value)


def test_observations_are_kept_and_replaced(tmp_path, key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    observations = np.arange(14, dtype=np.float32).reshape(2, OBSERVATION_SIZE)
    fg.save(tmp_path, policy, critic, observations=observations)
    np.testing.assert_array_equal(fg.load_observations(tmp_path), observations)
    # Those of another model would mislead.
    fg.save(tmp_path, policy, critic)
    with pytest.raises(FileNotFoundError, match="holds no observations"):
        fg.load_observations(tmp_path)


def as_numpy(tree):
    return jax.tree.map(lambda x: np.asarray(x) if eqx.is_array(x) else x, tree)


def test_weights_of_numpy_are_saved(tmp_path, key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    fg.save(tmp_path, as_numpy(policy), as_numpy(critic))
    loaded = fg.load(tmp_path)
    assert same(loaded[0], policy) and same(loaded[1], critic)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_another_type_are_saved(tmp_path, key, dtype):
    policy, critic = mlp_policy(key), mlp_critic(key)

    def cast(x):
        return x.astype(dtype) if eqx.is_inexact_array(x) else x

    policy, critic = jax.tree.map(cast, policy), jax.tree.map(cast, critic)
    fg.save(tmp_path, policy, critic)
    loaded = fg.load(tmp_path)
    assert same(loaded[0], policy) and same(loaded[1], critic)


def test_a_save_of_32_bits_is_loaded_under_64_and_the_other_way(tmp_path, key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    fg.save(tmp_path / "narrow", policy, critic)
    with jax.enable_x64(True):
        loaded = fg.load(tmp_path / "narrow")
        assert same(loaded[0], policy) and same(loaded[1], critic)
        wide = nn.CriticMLP(OBSERVATION_SIZE, (3,), HIDDEN, key=key)
        fg.save(tmp_path / "wide", None, wide)
        assert same(fg.load(tmp_path / "wide")[1], wide)
    with pytest.warns(UserWarning, match="arrays of .*, such as .*64-bit.*enable_x64 is off"):
        narrow = fg.load(tmp_path / "wide")[1]
    assert {leaf.dtype for leaf in jax.tree.leaves(eqx.filter(narrow, eqx.is_array))} == {
        np.dtype("float32")
    }


def test_a_save_that_is_refused_or_fails_leaves_the_older_one(tmp_path, key, monkeypatch):
    policy, critic = mlp_policy(key), mlp_critic(key)
    fg.save(tmp_path, policy, critic)
    wrong = jax.tree.map(lambda x: x[:1] if eqx.is_array(x) else x, policy)
    with pytest.raises(ValueError, match="What is to be saved.*the configuration says"):
        fg.save(tmp_path, wrong, critic)

    def full(arrays, path, texts):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flowguide._save.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        fg.save(tmp_path, mlp_policy(jax.random.key(9)), critic)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert same(fg.load(tmp_path)[0], policy)


def test_readers_and_writers_meet_whole_files_only(tmp_path, key):
    critic = mlp_critic(key)
    policies = [mlp_policy(k) for k in jax.random.split(key)]
    fg.save(tmp_path, policies[0], critic)

    def write(policy):
        for _ in range(10):
            fg.save(tmp_path, policy, critic)

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, policy) for policy in policies]
        while not all(writer.done() for writer in writers):
            found = fg.load(tmp_path)[0]
            assert any(same(found, policy) for policy in policies)
        for writer in writers:
            writer.result()
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_home_is_expanded(tmp_path, key, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    fg.save("~/saved", mlp_policy(key), mlp_critic(key), observations=np.zeros((2, 3)))
    assert same(fg.load("~/saved")[0], fg.load(tmp_path / "saved")[0])
    assert fg.load_observations("~/saved").shape == (2, 3)


def test_a_dimension_may_be_fixed(tmp_path, key):
    policy = mlp_policy(key, (3,), low=[-1.0, 0.5, -1.0], high=[1.0, 0.5, 1.0])
    fg.save(tmp_path, policy, None)
    loaded = fg.load(tmp_path)[0]
    assert same(loaded, policy)
    assert loaded.from_noise(jnp.zeros(3), jnp.zeros(OBSERVATION_SIZE))[1] == 0.5


def test_files_of_others_are_left_alone(tmp_path, key):
    (tmp_path / "config.json").write_text('{"lr": 0.1}')
    np.save(tmp_path / "observations.npy", np.zeros(3))
    fg.save(tmp_path, mlp_policy(key), mlp_critic(key))
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["config.json", "model.safetensors", "observations.npy"]
    assert fg.load(tmp_path) and (tmp_path / "config.json").read_text() == '{"lr": 0.1}'


def test_labels_of_numpy_are_saved(tmp_path, key):
    network = nn.VelocityMLP(OBSERVATION_SIZE, (3,), HIDDEN, num_labels=2, key=key)
    velocity = fg.ClassifierFreeVelocity(network, np.int64(1), np.int64(0))  # pyright: ignore[reportCallIssue]
    fg.save(tmp_path, fg.FlowPolicy(velocity, (3,)), None)
    policy, _ = fg.load(tmp_path)
    assert (policy.velocity.condition, policy.velocity.null) == (1, 0)
