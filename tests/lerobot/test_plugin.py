"""The plugin for `lerobot-eval`, through LeRobot's own factories."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("lerobot")

import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors

import flowguide as fg

from .policies import ACTION, batch, CHUNK, processors, smolvla

PLUGIN = Path(__file__).parents[2] / "plugins" / "lerobot_policy_flowguide"
NOISE = torch.randn(2, CHUNK, 6, generator=torch.Generator().manual_seed(3))


def push(observation, action):
    """What the configuration names."""
    assert action.shape == (CHUNK, ACTION)
    return jnp.sum(action[:, 0])


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A frozen policy's folder, as `lerobot-train` leaves one."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    policy = smolvla()
    policy.save_pretrained(tmp_path)
    preprocessor, postprocessor = processors(policy)
    preprocessor.save_pretrained(tmp_path, config_filename="policy_preprocessor.json")
    postprocessor.save_pretrained(tmp_path, config_filename="policy_postprocessor.json")
    return policy, tmp_path


def config_of(folder, **options):
    import lerobot_policy_flowguide  # noqa: F401  # registers the type

    config_class = PreTrainedConfig.get_choice_class("flowguide")
    return config_class(base_path=str(folder), device="cpu", **options)


def test_lerobot_makes_a_guided_policy_from_its_configuration(base, tmp_path):
    policy, folder = base
    critic = f"{__name__}:push"
    config = config_of(folder, critic=critic, weight=0.5)
    guided = get_policy_class(config.type)(config)
    expected = fg.lerobot.guide(policy, push, weight=0.5)
    with torch.inference_mode():
        found = guided.predict_action_chunk(batch(), noise=NOISE)
        wanted = expected.predict_action_chunk(batch(), noise=NOISE)
        guided.reset()
        assert guided.select_action(batch()).shape == (2, ACTION)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert config.output_features["action"].shape == (ACTION,)
    # Saved and read again, it is the same.
    config.save_pretrained(tmp_path / "guided")
    again = get_policy_class("flowguide").from_pretrained(tmp_path / "guided")
    with torch.inference_mode():
        torch.testing.assert_close(again.predict_action_chunk(batch(), noise=NOISE), found)


def test_its_processors_are_those_of_the_frozen_policy(base):
    _, folder = base
    pre, post = make_pre_post_processors(config_of(folder), pretrained_path=None)
    real = {"observation.state": torch.randn(1, 4), "observation.image": torch.rand(1, 3, 64, 64)}
    normalised = pre({**real, "task": ["push the puck"]})
    expected = (real["observation.state"] - 0.1) / 0.5
    np.testing.assert_allclose(normalised["observation.state"], expected, atol=1e-5)
    np.testing.assert_allclose(post(torch.zeros(1, ACTION)), np.full((1, ACTION), 0.2), atol=1e-6)


def test_other_options_and_methods_that_ask_no_critic(base):
    _, folder = base
    config = config_of(folder, critic=f"{__name__}:push", method="best_of_n", options={"n": 2})
    assert get_policy_class("flowguide")(config).policy.flow_policy.noise_shape == (2, CHUNK, 6)
    with pytest.raises(ValueError, match="base_path must name"):
        get_policy_class("flowguide")(type(config)(device="cpu"))
