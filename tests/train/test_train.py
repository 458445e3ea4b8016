import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

import flowguide as fg
from flowguide import nn
from flowguide.data import from_arrays, PerLearner, Windows
from flowguide.train import (
    critic_loss,
    flow_matching_loss,
    FlowMatching,
    IQL,
    Jointly,
    train,
    value_loss,
)
from flowguide.train._flow_matching import sample_times

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


def small_learner():
    return Jointly(
        {
            "policy": FlowMatching(lambda k: nn.VelocityMLP(1, (1, 1), (8,), key=k)),
            "critic": IQL(
                lambda k: nn.critic_ensemble(2, 1, (1, 1), (8,), key=k),
                lambda k: nn.ValueMLP(1, (8,), key=k),
            ),
        }
    )


def test_several_seeds_are_as_many_runs(key):
    windows = Windows(chain_dataset(20), 1)
    learner = small_learner()
    keys = jax.random.split(key, 3)
    reports = []
    options = {"steps": 20, "batch_size": 16, "log_every": 10, "validation": windows}
    together = train(
        learner, windows, key=keys, keep_best=["policy/loss"], on_report=reports.append, **options
    )
    assert reports[0].losses["policy/loss"].shape == (3,)
    assert reports[0].validation["critic/critic_loss"].shape == (3,)
    for i in range(3):
        alone = train(learner, windows, key=keys[i], keep_best=["policy/loss"], **options)
        # The same numbers from batched products, which round differently.
        for several, one in zip(
            jax.tree.leaves(eqx.filter(together.result(learner), eqx.is_array)),
            jax.tree.leaves(eqx.filter(alone.result(learner), eqx.is_array)),
            strict=True,
        ):
            np.testing.assert_allclose(several[i], one, rtol=2e-3, atol=2e-5)


def test_going_on_from_a_state_changes_nothing(key):
    windows = Windows(chain_dataset(20), 1)
    learner = small_learner()
    options = {"batch_size": 16, "log_every": 5, "validation": windows, "key": key}
    whole = train(learner, windows, steps=20, keep_best=["critic/critic_loss"], **options)
    half = train(learner, windows, steps=10, keep_best=["critic/critic_loss"], **options)
    assert eqx.tree_equal(whole, train(learner, windows, steps=20, state=half, **options))


def test_the_best_on_validation_data_is_kept(key):
    """With a learning rate that grows too large, the best state is not the last."""
    windows = Windows(chain_dataset(50), 1)
    schedule = optax.exponential_decay(1e-3, 1, 1.02)
    learner = Jointly({"policy": flow_matching(optimiser=optax.adam(schedule))})
    seen = {}

    def on_report(report):
        seen[report.step] = float(report.validation["policy/loss"])

    state = train(
        learner,
        windows,
        steps=300,
        batch_size=32,
        key=key,
        log_every=20,
        validation=windows,
        keep_best=["policy/loss"],
        on_report=on_report,
    )
    best = min(seen, key=lambda step: seen[step])
    assert best < 300
    assert int(state.best["policy/loss"].step) == best
    assert float(state.best["policy/loss"].loss) == seen[best]
    again = train(learner, windows, steps=best, batch_size=32, key=key, log_every=20)
    assert eqx.tree_equal(state.result(learner), again.result(learner))
    with pytest.raises(ValueError, match="validation data are missing"):
        train(learner, windows, steps=1, key=key, keep_best=["policy/loss"])
    with pytest.raises(
        ValueError, match=r"'critic/loss' is of no learner here, which are \['policy'\]"
    ):
        train(learner, windows, steps=1, key=key, validation=windows, keep_best=["critic/loss"])


def test_losses_without_learning(key):
    windows = Windows(chain_dataset(20), 1)
    learner = small_learner()
    state, batch = learner.init(key), windows.sample(key, 16)
    losses = eqx.filter_jit(learner.losses)(state, batch, key)
    np.testing.assert_allclose(
        jnp.stack(list(losses.values())),
        jnp.stack([learner.update(state, batch, key)[1][name] for name in losses]),
        rtol=1e-5,
    )

    def operations(function):
        compiled: Any = jax.jit(
            lambda batch, key: eqx.filter(function(state, batch, key), eqx.is_array)
        )
        return compiled.lower(batch, key).compile().cost_analysis()["flops"]

    # No gradient and no optimiser.
    assert operations(learner.losses) < 0.5 * operations(learner.update)


def test_each_learner_can_have_batches_of_its_own(key):
    dataset = chain_dataset(20)
    near, far = Windows(dataset, 1, 0.5), Windows(dataset, 1, 0.9)
    batch = PerLearner({"policy": near, "critic": far}).sample(key, 8)
    assert np.max(batch["policy"].discount) == 0.5
    np.testing.assert_allclose(np.max(batch["critic"].discount), 0.9)
    learner = small_learner()
    _, losses = learner.update(learner.init(key), batch, key)
    _, of_policy = learner.update(learner.init(key), batch["policy"], key)
    assert losses["policy/loss"] == of_policy["policy/loss"]
    assert losses["critic/critic_loss"] != of_policy["critic/critic_loss"]


def test_times_on_the_grid(key):
    times = sample_times(key, 1000, 10)
    np.testing.assert_allclose(np.unique(times), np.arange(11) / 10, atol=1e-7)
    uniform = sample_times(key, 1000, None)
    assert len(np.unique(uniform)) > 900 and 0 <= uniform.min() and uniform.max() <= 1


def test_averaged_weights_follow_the_weights(key):
    windows = Windows(chain_dataset(20), 1)
    learner = flow_matching(average_rate=0.25)
    before = learner.init(key)
    after, _ = learner.update(before, windows.sample(key, 16), key)

    def kernel(velocity):
        return velocity.mlp.layers[0].kernel

    expected = 0.75 * kernel(before.model) + 0.25 * kernel(after.model)
    np.testing.assert_allclose(kernel(learner.result(after)), expected, atol=1e-6)
    assert not np.allclose(kernel(after.model), kernel(before.model))


def test_nothing_is_compiled_again_for_another_number(key):
    windows = Windows(chain_dataset(20), 1)
    traces = []

    class Counting(FlowMatching):
        def update(self, state, batch, key):
            traces.append(batch)
            return super().update(state, batch, key)

    learner = Counting(lambda k: nn.VelocityMLP(1, (1, 1), (8,), key=k))
    train(learner, windows, steps=10, batch_size=8, key=key, log_every=4)
    count = len(traces)
    train(learner, windows, steps=27, batch_size=8, key=jax.random.split(key)[0], log_every=7)
    assert len(traces) == count


def test_progress_is_told_between_reports_and_changes_nothing(key, monkeypatch):
    monkeypatch.setattr("flowguide.train._loop.PROGRESS_SECONDS", 0.0)
    windows = Windows(chain_dataset(20), 1)
    learner = FlowMatching(lambda k: nn.VelocityMLP(1, (1, 1), (8,), key=k))
    told, reports = [], ([], [])
    states = [
        train(
            *(learner, windows),
            **{"steps": 10, "batch_size": 8, "key": key, "log_every": 4},
            on_report=reports[i].append,
            on_progress=on_progress,
        )
        for i, on_progress in enumerate((None, told.append))
    ]
    # At no time to wait, after each update.
    assert told == [*range(1, 11)]
    assert [each.step for each in reports[1]] == [4, 8, 10]
    for plain, followed in zip(*map(jax.tree.leaves, states), strict=True):
        if eqx.is_array(plain):
            np.testing.assert_array_equal(plain, followed)
    for plain, followed in zip(*reports, strict=True):
        for name, loss in plain.losses.items():
            # Means of means: the last digit may differ.
            np.testing.assert_allclose(followed.losses[name], loss, rtol=1e-5)


def test_bfloat16_computes_and_float32_learns(key):
    windows = Windows(chain_dataset(20), 1)
    networks = [
        nn.VelocityMLP(1, (1, 1), (64, 64), compute_dtype=dtype, key=key)
        for dtype in ("float32", "bfloat16")
    ]
    noisy, observation = jnp.full((1, 1), 0.3), jnp.ones(1)
    full, half = (network(jnp.float32(0.5), noisy, observation) for network in networks)
    assert half.dtype == jnp.float32 and full != half
    np.testing.assert_allclose(half, full, atol=0.02)
    # Values keep their digits, however large.
    biased = eqx.tree_at(lambda n: n.mlp.layers[-1].bias, networks[1], jnp.full(1, -300.3))
    np.testing.assert_allclose(
        biased(jnp.float32(0.5), noisy, observation) - half, -300.3, atol=1e-3
    )
    text = str(jax.make_jaxpr(networks[1])(jnp.float32(0.5), noisy, observation))
    # The first hidden layer reads the input, and the second the first.
    kinds = re.findall(r":(\w+)\[64\] = dot_general", text)
    assert kinds == ["f32", "bf16"]
    learner = FlowMatching(lambda k: networks[1])
    state = train(learner, windows, steps=5, batch_size=8, key=key)
    dtypes = {x.dtype for x in jax.tree.leaves(eqx.filter(state.learner, eqx.is_inexact_array))}
    assert dtypes == {jnp.dtype("float32")}
    with pytest.raises(ValueError, match="compute_dtype must be a floating-point type"):
        nn.ValueMLP(1, (8,), compute_dtype="int8", key=key)


def test_the_target_follows_the_updated_critic(key):
    windows = Windows(chain_dataset(20), 1)
    learner = iql(target_rate=0.25)
    before = learner.init(key)
    after, _ = learner.update(before, windows.sample(key, 16), key)

    def kernel(critic):
        return critic.critics.mlp.layers[0].kernel

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
