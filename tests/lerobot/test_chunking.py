"""Real-time chunking of a whole policy, against LeRobot's own."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("lerobot")

import torch
from lerobot.configs import RTCAttentionSchedule
from lerobot.policies.rtc.configuration_rtc import RTCConfig

import flowguide as fg

from .policies import ACTION, batch, CHUNK, pi0, smolvla

NOISE = torch.randn(2, CHUNK, 6, generator=torch.Generator().manual_seed(3))
LEFT = torch.randn(2, CHUNK - 2, ACTION, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("make", [smolvla, pi0])
@pytest.mark.parametrize("schedule", ["EXP", "LINEAR"])
def test_a_chunk_goes_on_as_lerobots_own(make, schedule):
    policy = make()
    policy.config.rtc_config = RTCConfig(
        prefix_attention_schedule=getattr(RTCAttentionSchedule, schedule), execution_horizon=6
    )
    policy.init_rtc_processor()
    chunking = {"prev_chunk_left_over": LEFT, "inference_delay": 2}
    guided = fg.lerobot.guide(policy, None, [])
    # Not in inference mode, in which LeRobot's chunking cannot differentiate.
    expected = policy.predict_action_chunk(batch(), noise=NOISE, **chunking)
    free = policy.predict_action_chunk(batch(), noise=NOISE)
    with torch.inference_mode():
        found = guided.predict_action_chunk(batch(), noise=NOISE, **chunking)
        shorter = guided.predict_action_chunk(batch(), noise=NOISE, execution_horizon=1, **chunking)
    # The weight of the first steps, 10, multiplies what is rounded in another way.
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert torch.max(torch.abs(expected - free)) > 0.1
    assert torch.max(torch.abs(shorter - found)) > 0.01


def test_with_a_critic_both_count():
    policy = smolvla()
    policy.config.rtc_config = RTCConfig(execution_horizon=6)
    chunking = {"prev_chunk_left_over": LEFT, "inference_delay": 2}

    def critic(observation, action):
        return jnp.sum(action[-1])

    guided = fg.lerobot.guide(policy, critic, weight=0.5)
    only_chunking = fg.lerobot.guide(policy, critic, weight=0.0)
    with torch.inference_mode():
        both = guided.predict_action_chunk(batch(), noise=NOISE, **chunking)
        kept = only_chunking.predict_action_chunk(batch(), noise=NOISE, **chunking)
    assert torch.all(both[:, -1].sum(1) > kept[:, -1].sum(1) + 0.5)
    np.testing.assert_allclose(both[:, :2], kept[:, :2], atol=0.1)


def test_chunking_that_is_not_enabled_is_named():
    guided = fg.lerobot.guide(smolvla(), None, [])
    with pytest.raises(ValueError, match="rtc_config is not enabled"):
        guided.predict_action_chunk(batch(), noise=NOISE, prev_chunk_left_over=LEFT)


def test_a_chunk_of_another_policy_is_named():
    policy = smolvla()
    policy.config.rtc_config = RTCConfig()
    guided = fg.lerobot.guide(policy, None, [])
    longer = torch.zeros(2, CHUNK + 1, ACTION)
    with pytest.raises(ValueError, match=r"shape \(2, 9, 3\), expected at most \(2, 8, 6\)"):
        guided.predict_action_chunk(batch(), noise=NOISE, prev_chunk_left_over=longer)
