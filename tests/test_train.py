import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

import flowguide as fg
from flowguide import nn
from flowguide.data import from_arrays, Windows
from flowguide.train import (
    critic_loss,
    flow_matching_loss,
    FlowMatching,
    IQL,
    Jointly,
    train,
    value_loss,
)

SIZE = 64


@pytest.fixture(autouse=True)
def promotion_as_optax_needs_it():
    # optax.adam raises a float to its integer step count, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        yield


def chain_dataset(num_episodes=200, length=6):
    """A walk on a line: action +1 or -1 moves the state by it, and 3 is the goal.

    Reward is -1 in every state but the goal. From state 0 the best return takes three steps.
    """
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(num_episodes):
        state = int(rng.integers(-2, 4))
        for step in range(length + 1):
            move = int(rng.choice([-1, 1]))
            done = state == 3
            rows.append((state, move, float(done) - 1, 1 - done, step == length))
            state = int(np.clip(state + move, -2, 3))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    observations, actions, rewards, masks, ends = columns
    return from_arrays(observations[:, None], actions[:, None], rewards, masks, ends)


def iql(**options):
    return IQL(
        lambda key: nn.critic_ensemble(2, 1, (1, 1), (SIZE, SIZE), key=key),
        lambda key: nn.ValueMLP(1, (SIZE, SIZE), key=key),
        **options,
    )


def flow_matching(**options):
    return FlowMatching(lambda key: nn.VelocityMLP(1, (1, 1), (SIZE, SIZE), key=key), **options)


@given(
    targets=st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=20),
    expectile=st.floats(0.1, 0.9),
)
def test_the_value_loss_is_least_at_the_expectile(targets, expectile):
    from scipy.stats import expectile as scipy_expectile

    targets = jnp.array(targets)
    best = jnp.array(scipy_expectile(np.asarray(targets, float), expectile), jnp.float32)

    def loss(value):
        return jnp.mean(jax.vmap(lambda t: value_loss(value, t, expectile))(targets))

    assert abs(jax.grad(loss)(best)) < 1e-3
    assert loss(best) <= loss(best + 0.1) and loss(best) <= loss(best - 0.1)


def test_flow_matching_loss_is_zero_for_the_straight_velocity(key):
    action, noise = jax.random.normal(key, (2, 3, 2))
    t = jnp.array(0.3)

    def straight(t, noisy, observation):
        np.testing.assert_allclose(noisy, (1 - t) * noise + t * action, atol=1e-6)
        return action - noise

    assert flow_matching_loss(straight, None, action, noise, t) == 0
    off = flow_matching_loss(lambda *x: straight(*x) + 2, None, action, noise, t)
    np.testing.assert_allclose(off, 4, rtol=1e-5)


def test_critic_loss_does_not_share_gradients_between_members():
    gradient = jax.grad(critic_loss)(jnp.array([1.0, 3.0]), jnp.array(2.0))
    np.testing.assert_allclose(gradient, [-2.0, 2.0])


def test_iql_finds_the_values_of_a_known_task(key):
    """On the line, V(s) is the return of walking straight to the goal: IQL needs the best, since
    the data walks at random."""
    windows = Windows(chain_dataset(), 1, 0.9)
    learner = iql(expectile=0.95, optimiser=optax.adam(1e-3), target_rate=0.02)
    state = train(learner, windows, steps=4000, batch_size=128, key=key)
    states = jnp.arange(-2.0, 4.0)[:, None]
    best = np.array([-sum(0.9**i for i in range(3 - s)) for s in range(-2, 4)])
    values = jax.vmap(state.learner.value.model)(states)
    # An expectile of 0.95 is a little below the maximum.
    np.testing.assert_allclose(values, best, atol=0.45)
    right, left = (
        jax.vmap(state.result(learner), (0, None))(states, jnp.full((1, 1), move))
        for move in (1.0, -1.0)
    )
    # To the left of the goal, going right is worth more; and by what the closed form says.
    assert np.all(np.asarray(right - left)[:5] > 0.1)
    np.testing.assert_allclose(right[1:5], best[1:5], atol=0.45)


def test_guidance_improves_a_behaviour_cloned_policy(key):
    """The whole path on the line: the data goes right half of the time, the guided policy more."""
    windows = Windows(chain_dataset(), 1, 0.9)
    learner = Jointly(
        {
            "policy": flow_matching(optimiser=optax.adam(1e-3)),
            "critic": iql(optimiser=optax.adam(1e-3)),
        }
    )
    result = train(learner, windows, steps=3000, batch_size=128, key=key).result(learner)
    policy = fg.FlowPolicy(result["policy"], (1, 1))
    critic = result["critic"]
    observations = jnp.zeros((400, 1))
    cloned = np.asarray(fg.sample(policy, observations, key=key))
    # The data is half +1 and half -1; 0.5 within five standard errors of 400 actions.
    assert 0.35 < np.mean(cloned > 0) < 0.65
    assert np.mean(np.abs(np.abs(cloned) - 1) < 0.3) > 0.8
    guided = fg.guide(policy, critic, "qgf", weight=3.0)
    assert np.mean(np.asarray(fg.sample(guided, observations, key=key)) > 0) > 0.9


def test_same_key_same_result_however_steps_are_grouped(key):
    windows = Windows(chain_dataset(20), 2)
    learner = Jointly(
        {
            "policy": FlowMatching(lambda k: nn.VelocityMLP(1, (2, 1), (8,), key=k)),
            "critic": IQL(
                lambda k: nn.critic_ensemble(2, 1, (2, 1), (8,), key=k),
                lambda k: nn.ValueMLP(1, (8,), key=k),
            ),
        }
    )
    logs = []
    states = [
        train(
            learner,
            windows,
            steps=10,
            batch_size=8,
            key=key,
            log_every=every,
            on_report=lambda report: logs.append((report.step, report.losses)),
        )
        for every in (3, 10)
    ]
    assert eqx.tree_equal(*states)
    assert [done for done, _ in logs] == [3, 6, 9, 10, 10]
    assert sorted(logs[0][1]) == ["critic/critic_loss", "critic/value_loss", "policy/loss"]


def test_seeds_train_under_vmap(key):
    windows = Windows(chain_dataset(20), 1)
    learner = iql()

    @eqx.filter_vmap(in_axes=(0, None))
    def one(key, batch):
        state, losses = learner.update(learner.init(key), batch, key)
        return state.critic.model.values(jnp.zeros(1), jnp.zeros((1, 1))), losses

    values, losses = one(jax.random.split(key, 3), windows.sample(key, 16))
    assert values.shape == (3, 2) and losses["critic_loss"].shape == (3,)


def test_the_target_follows_the_updated_critic(key):
    windows = Windows(chain_dataset(20), 1)
    learner = iql(target_rate=0.25)
    before = learner.init(key)
    after, _ = learner.update(before, windows.sample(key, 16), key)

    def kernel(critic):
        return critic.members.mlp.layers[0].kernel

    expected = 0.75 * kernel(before.target_critic) + 0.25 * kernel(after.critic.model)
    np.testing.assert_allclose(kernel(after.target_critic), expected, atol=1e-6)


def test_a_loss_that_is_not_finite_stops_the_training(key):
    windows = Windows(chain_dataset(20), 1)
    with pytest.raises(FloatingPointError, match=r"The loss 'loss' is not finite at update \d+\."):
        train(
            flow_matching(optimiser=optax.sgd(1e9)),
            windows,
            steps=200,
            batch_size=16,
            key=key,
            log_every=20,
        )


def test_arguments(key):
    with pytest.raises(ValueError, match="expectile must be in"):
        iql(expectile=1.0)
    with pytest.raises(ValueError, match="target_rate must be in"):
        iql(target_rate=0.0)
    with pytest.raises(ValueError, match="steps must be an integer of at least 1"):
        train(iql(), Windows(chain_dataset(2), 1), steps=0, key=key)
