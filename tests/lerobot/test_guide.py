"""The guided policy in place of the given one, in LeRobot's own hands."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("lerobot")

import torch

import flowguide as fg

from .policies import ACTION, batch, CHUNK, pi0, POLICIES, processors, smolvla

NOISE = torch.randn(2, CHUNK, 6, generator=torch.Generator().manual_seed(3))


def critic(observation, action):
    assert action.shape == (CHUNK, ACTION)
    return jnp.sum(action[:, 0]) + jnp.sum(observation["observation.state"])


@pytest.mark.parametrize("name", POLICIES)
def test_weight_zero_is_the_policy_and_any_other_raises_the_value(name):
    policy = POLICIES[name]()
    with torch.inference_mode():
        expected = policy.predict_action_chunk(batch(), noise=NOISE)
        still = fg.lerobot.guide(policy, critic, "qgf", weight=0.0)
        found = still.predict_action_chunk(batch(), noise=NOISE)
        moved = fg.lerobot.guide(policy, critic, "qgf", weight=0.5)
        raised = moved.predict_action_chunk(batch(), noise=NOISE)
        again = policy.predict_action_chunk(batch(), noise=NOISE)
    assert type(still) is type(policy) and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert torch.all(raised[..., 0].sum(1) > expected[..., 0].sum(1) + 1)
    # The given policy is what it was.
    assert torch.equal(again, expected) and "sample_actions" not in vars(policy.model)
    shared = zip(policy.parameters(), moved.parameters(), strict=True)
    assert all(one is other for one, other in shared)


def test_the_other_backend_in_inference_mode():
    policy = smolvla()
    with torch.inference_mode():
        found = [
            fg.lerobot.guide(policy, critic, weight=0.5, backend=backend).predict_action_chunk(
                batch(), noise=NOISE
            )
            for backend in ("callback", "torchax")
        ]
    np.testing.assert_allclose(*found, atol=1e-4)


@pytest.mark.parametrize("make", [smolvla, pi0])
def test_select_action_plays_the_chunk_that_is_predicted(make):
    policy = make()
    guided = fg.lerobot.guide(policy, critic, weight=0.3)
    torch.manual_seed(5)
    with torch.inference_mode():
        chunk = guided.predict_action_chunk(batch())
    guided.reset()
    torch.manual_seed(5)
    with torch.inference_mode():
        played = [guided.select_action(batch()) for _ in range(CHUNK)]
    np.testing.assert_allclose(torch.stack(played, 1), chunk, atol=1e-6)


def test_the_loop_is_flowguides():
    """What samples is a policy of flowguide's: any method, a trace, the cost."""
    policy = smolvla()
    best = fg.lerobot.guide(policy, critic, [fg.qgf(weight=0.1), fg.best_of_n(3)])
    assert best.flow_policy.noise_shape == (3, CHUNK, 6)
    noise = torch.randn(2, 3, CHUNK, 6)
    with torch.inference_mode():
        found = best.predict_action_chunk(batch(), noise=noise)
    observations = fg.lerobot.observations(batch())
    expected = jax.vmap(best.flow_policy.from_noise)(jnp.asarray(noise.numpy()), observations)
    np.testing.assert_allclose(found, expected[..., :ACTION], atol=1e-5)
    with pytest.raises(ValueError, match=r"noise has shape \(2, 8, 6\), expected \(2, 3, 8, 6\)"):
        best.predict_action_chunk(batch(), noise=NOISE)


def test_guided_again_both_guide():
    policy = smolvla()

    def other(observation, action):
        return -jnp.sum(action[:, 1])

    one = fg.lerobot.guide(policy, critic, "qgf", weight=0.3)
    twice = fg.lerobot.guide(one, other, "qgf", weight=0.2)
    flow = fg.lerobot.flow_policy(policy)
    expected = fg.guide(
        fg.guide(flow, fg.lerobot.critic(policy, critic), "qgf", weight=0.3),
        fg.lerobot.critic(policy, other),
        "qgf",
        weight=0.2,
    )
    observations = fg.lerobot.observations(batch())
    wanted = jax.vmap(expected.from_noise)(jnp.asarray(NOISE.numpy()), observations)
    with torch.inference_mode():
        found = twice.predict_action_chunk(batch(), noise=NOISE)
        before = one.predict_action_chunk(batch(), noise=NOISE)
    np.testing.assert_allclose(found, wanted[..., :ACTION], atol=1e-6)
    assert torch.all(found[..., 1].sum(1) < before[..., 1].sum(1))
    # The flow in a guided policy is the frozen one's.
    bare = fg.lerobot.flow_policy(twice).from_noise(
        jnp.asarray(NOISE[0].numpy()), jax.tree.map(lambda x: x[0], observations)
    )
    with torch.inference_mode():
        frozen = policy.predict_action_chunk(batch(), noise=NOISE)[0]
    np.testing.assert_allclose(bare[:, :ACTION], frozen, atol=2e-6)


@pytest.mark.parametrize("backend", ["callback", "torchax"])
def test_another_weight_compiles_nothing(backend):
    policy, traced, counts = smolvla(), [], []

    def counted(observation, action):
        traced.append(1)
        return critic(observation, action)

    for weight in (0.1, 0.2, 0.3):
        guided = fg.lerobot.guide(policy, counted, "qgf", weight=weight, backend=backend)
        with torch.inference_mode():
            guided.predict_action_chunk(batch(), noise=NOISE)
        counts.append(len(traced))
    assert len(set(counts)) == 1 and counts[0] > 0


def test_other_numbers_of_steps():
    policy = pi0()
    guided = fg.lerobot.guide(policy, critic, [fg.qgf(weight=0.0), fg.best_of_n(1)])
    with torch.inference_mode():
        expected = policy.predict_action_chunk(batch(), noise=NOISE, num_steps=4)
        found = guided.predict_action_chunk(batch(), noise=NOISE[:, None], num_steps=4)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_torch_module_is_a_critic():
    policy = smolvla()

    class Critic(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, observation, action):
            assert action.shape[1:] == (CHUNK, ACTION)
            state = observation["observation.state"]
            return self.scale * action[..., 0].sum(1) + state.sum(1)

    ours = fg.lerobot.guide(policy, critic, weight=0.3)
    theirs = fg.lerobot.guide(policy, Critic(), weight=0.3)
    with torch.inference_mode():
        expected = ours.predict_action_chunk(batch(), noise=NOISE)
        found = theirs.predict_action_chunk(batch(), noise=NOISE)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_units_of_the_environment():
    policy = smolvla()
    pre, post = processors(policy)
    seen = []

    def real(observation, action):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), action)
        return jnp.sum(action)

    options = {"critic_units": "environment", "preprocessor": pre, "postprocessor": post}
    guided = fg.lerobot.guide(policy, real, "best_of_n", n=1, **options)
    with torch.inference_mode():
        chunk = guided.predict_action_chunk(batch(1), noise=NOISE[:1, None])
    jax.effects_barrier()
    np.testing.assert_allclose(seen[-1].reshape(CHUNK, ACTION), post(chunk)[0], atol=1e-5)
    with pytest.raises(ValueError, match="postprocessor="):
        fg.lerobot.guide(policy, real, critic_units="environment", preprocessor=pre)


def test_saving_saves_the_policy_that_was_given(tmp_path):
    policy = smolvla()
    fg.lerobot.guide(policy, critic, weight=0.3).save_pretrained(tmp_path)
    again = type(policy).from_pretrained(tmp_path)
    with torch.inference_mode():
        expected = policy.predict_action_chunk(batch(), noise=NOISE)
        found = again.predict_action_chunk(batch(), noise=NOISE)
    np.testing.assert_allclose(found, expected, atol=1e-6)
