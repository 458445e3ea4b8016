"""Real-time chunking, against LeRobot's processor in LeRobot's loop, round a small network."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("lerobot")

import torch
from lerobot.configs import RTCAttentionSchedule
from lerobot.policies.common.flow_matching import euler_integrate
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from lerobot.policies.rtc.modeling_rtc import RTCProcessor

import flowguide as fg

H, A, BATCH = 8, 3, 2
RANDOM = np.random.default_rng(0)
FIRST = RANDOM.normal(size=(A + 1, 16)).astype(np.float32)
LAST = 0.3 * RANDOM.normal(size=(16, A)).astype(np.float32)
MIX = 0.3 * RANDOM.normal(size=(H, H)).astype(np.float32)
NOISE, PREVIOUS = RANDOM.normal(size=(2, BATCH, H, A)).astype(np.float32)


def lerobots_velocity(action, time):
    times = time.reshape(-1, 1, 1).expand(*action.shape[:2], 1)
    hidden = torch.tanh(torch.cat([action, times], -1) @ torch.tensor(FIRST))
    return torch.tensor(MIX) @ (hidden @ torch.tensor(LAST))


def velocity(t, action, observation):
    times = jnp.broadcast_to(jnp.asarray(t, jnp.float32), (H, 1))
    hidden = jnp.tanh(jnp.concatenate([action, times], axis=-1) @ FIRST)
    return jnp.asarray(MIX) @ (hidden @ LAST)


POLICY = fg.FlowPolicy(fg.reverse_time(velocity), (H, A), low=-np.inf, high=np.inf)


@pytest.mark.parametrize("schedule", ["EXP", "LINEAR", "ONES", "ZEROS"])
@pytest.mark.parametrize(
    "delay, horizon, count", [(0, 5, 8), (2, 6, 8), (3, 3, 8), (6, 4, 8), (0, 0, 8), (2, 10, 5)]
)
@pytest.mark.parametrize("cap", [5.0, 10.0])
def test_a_chunk_is_that_of_lerobots_loop(schedule, delay, horizon, count, cap):
    """`count` steps are left of the previous chunk: LeRobot limits its horizon to them."""
    config = RTCConfig(
        prefix_attention_schedule=RTCAttentionSchedule[schedule], max_guidance_weight=cap
    )
    previous = PREVIOUS[:, :count]
    expected = euler_integrate(
        *(lerobots_velocity, torch.tensor(NOISE), POLICY.num_steps),
        rtc_processor=RTCProcessor(config),
        rtc_enabled=True,
        inference_delay=delay,
        prev_chunk_left_over=torch.tensor(previous),
        execution_horizon=horizon,
    )
    for i in range(BATCH):
        keep = fg.coherence(
            previous[i], delay=delay, horizon=min(horizon, count), schedule=schedule.lower()
        )
        guided = fg.guide(POLICY, keep, "qgf", weight=fg.RealTimeWeight(cap=cap))
        found = guided.from_noise(jnp.asarray(NOISE[i]), None)
        np.testing.assert_allclose(found, expected[i].detach(), atol=1e-5)


def test_without_a_previous_chunk_both_are_unguided():
    expected = euler_integrate(
        *(lerobots_velocity, torch.tensor(NOISE), POLICY.num_steps),
        rtc_processor=RTCProcessor(RTCConfig()),
        rtc_enabled=True,
    )
    keep = fg.coherence(PREVIOUS[0], horizon=0)
    guided = fg.guide(POLICY, keep, "qgf", weight=fg.RealTimeWeight())
    found = guided.from_noise(jnp.asarray(NOISE[0]), None)
    np.testing.assert_allclose(found, expected[0], atol=1e-5)
