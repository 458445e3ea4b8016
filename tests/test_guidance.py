import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

import flowguide as fg

from .helpers import (
    ACTION_SHAPES,
    Affine,
    affine_policy,
    GRADIENT_METHODS,
    GUIDANCES,
    mlp_critic,
    mlp_policy,
    observation,
    OBSERVATION_SIZE,
    python_loop,
    quadratic_critic,
    SOLVERS,
)

seeds = st.integers(0, 2**31 - 1)
weights = st.floats(-2, 2, width=32)
times = st.floats(0, 1, width=32)


@eqx.filter_jit
def act(policy, noise, observation):
    return policy.from_noise(noise, observation)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
@pytest.mark.parametrize("action_shape", ACTION_SHAPES)
@given(seed=seeds)
def test_weight_zero_is_the_unguided_policy_bit_for_bit(method, action_shape, seed):
    key = jr.key(seed)
    policy, critic = mlp_policy(key, action_shape), mlp_critic(key, action_shape)
    guided = fg.guide(policy, critic, method, weight=0.0)
    noise, o = jr.normal(key, action_shape), observation(key)
    assert jnp.array_equal(act(guided, noise, o), act(policy, noise, o))


@given(seed=seeds, weight=weights)
def test_qgf_at_the_end_equals_ood(seed, weight):
    key = jr.key(seed)
    policy, critic = mlp_policy(key), mlp_critic(key)
    action, o = jr.uniform(key, (3,), minval=-1, maxval=1), observation(key)
    ends = [
        fg.guide(policy, critic, method, weight=weight).velocity(jnp.array(1.0), action, o)
        for method in ("qgf", "ood")
    ]
    np.testing.assert_array_equal(*ends)


class Linear(eqx.Module):
    slope: jax.Array

    def __call__(self, observation, action):
        return self.slope @ action + observation.sum()


def nearest_rotation(matrix):
    """The polar factor, by NumPy; of the singular value 0 the direction that changes least."""
    u, _, vt = np.linalg.svd(np.asarray(matrix, np.float64) + 1e-3 * np.eye(len(matrix)))
    return u @ vt


def observation_velocity(t, action, observation):
    # Does not depend on the action, so that a shift is not carried on by the flow.
    return t * observation[:3]


class Backwards(eqx.Module):
    """The same flow as a model with noise at t = 1 would have learnt it."""

    velocity: Affine

    def __call__(self, t, action, observation):
        return -self.velocity(1 - t, action, observation)


@given(seed=seeds, weight=weights, num_steps=st.integers(1, 4))
def test_linear_critic_shifts_every_action_by_the_same_amount(seed, weight, num_steps):
    key = jr.key(seed)
    critic = Linear(jr.normal(key, (3,)))
    policy = fg.FlowPolicy(
        observation_velocity, (3,), num_steps=num_steps, low=-jnp.inf, high=jnp.inf
    )
    guided = fg.guide(policy, critic, "qgf", weight=weight)
    noise, o = jr.normal(key, (5, 3)), observation(key)
    shift = jax.vmap(lambda n: act(guided, n, o) - act(policy, n, o))(noise)
    # The steps add up to 1, whatever their number.
    expected = np.broadcast_to(weight * np.asarray(critic.slope), (5, 3))
    np.testing.assert_allclose(shift, expected, atol=1e-5)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
@given(seed=seeds, weight=weights, size=st.integers(1, 4))
def test_equals_brute_force_through_a_python_loop(method, seed, weight, size):
    key = jr.key(seed)
    num_steps = 4
    policy = affine_policy(key, size, num_steps=num_steps, low=-2.0, high=2.0)
    critic = quadratic_critic(jr.fold_in(key, 1), size)
    noise, o = jr.normal(key, (size,)), observation(key)

    def rollout(i, action):
        for j in range(i, num_steps):
            action = action + policy.velocity(j / num_steps, action, o) / num_steps
        return policy.clip(action)

    def one_step(i, action):
        t = i / num_steps
        return policy.clip(action + (1 - t) * policy.velocity(t, action, o))

    def renoised(i, action):
        t, noises = i / num_steps, jr.normal(jr.key(0), (4, size))
        return [(1 - t) * noise + t * one_step(i, action) for noise in noises]

    def value(action):
        return critic(o, action)

    terms = {
        "ood": lambda i, a: jax.grad(value)(a),
        "qgf": lambda i, a: jax.grad(value)(one_step(i, a)),
        "qgf_jacobian": lambda i, a: jax.grad(lambda a: value(one_step(i, a)))(a),
        "ode": lambda i, a: jax.grad(value)(rollout(i, a)),
        "bptt": lambda i, a: jax.grad(lambda a: value(rollout(i, a)))(a),
        "qgf_regularised": lambda i, a: 0.5 * (terms["qgf"](i, a) + terms["qgf_jacobian"](i, a)),
        "qgf_orthogonal": lambda i, a: (
            nearest_rotation(jax.jacobian(functools.partial(one_step, i))(a)).T @ terms["qgf"](i, a)
        ),
        "posterior": lambda i, a: sum(terms["qgf"](i, b) for b in renoised(i, a)) / 4,
    }
    expected = python_loop(policy, noise, o, lambda i, a, v: weight * terms[method](i, a))
    guided = fg.guide(policy, critic, method, weight=weight)
    # Float32 through up to 4 steps of guidance, which can amplify by several times. Clipped, a
    # Jacobian is singular, and its polar factor as good as the inverse of its nudge lets it be.
    loose = 20 if method == "qgf_orthogonal" else 1
    np.testing.assert_allclose(
        act(guided, noise, o), expected, atol=5e-5 * loose, rtol=1e-4 * loose
    )


@pytest.mark.parametrize("method", ["qgf_jacobian", "bptt"])
def test_closed_form_for_an_affine_field(key, method):
    """With one Euler step, both are the step plus `w (1 + M)^T grad Q`."""
    policy = affine_policy(key, num_steps=1)
    critic = quadratic_critic(jr.fold_in(key, 1))
    noise, o = jr.normal(key, (3,)), observation(key)
    jacobian = jnp.eye(3) + policy.velocity.matrix
    unguided = jacobian @ noise + policy.velocity.drift @ o
    expected = unguided + 0.3 * jacobian.T @ (critic.target @ o - unguided)
    guided = fg.guide(policy, critic, method, weight=0.3)
    np.testing.assert_allclose(guided.from_noise(noise, o), expected, atol=1e-5)


def act_on_a_quadratic(method, solver, num_steps, controller):
    key = jr.key(5678)
    policy = affine_policy(key, solver=solver, num_steps=num_steps, stepsize_controller=controller)
    guided = fg.guide(policy, quadratic_critic(jr.fold_in(key, 1)), method, weight=0.3)
    return act(guided, jr.normal(key, (3,)), observation(key))


@functools.cache
def act_finely(method):
    return act_on_a_quadratic(method, diffrax.Heun(), 60, diffrax.ConstantStepSize())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("method", ["ood", "qgf", "bptt"])
@pytest.mark.parametrize("adaptive", [False, True])
def test_guided_policies_take_any_solver_and_controller(solver, method, adaptive):
    if adaptive and solver == "Euler":
        pytest.skip("Euler estimates no error, so diffrax cannot adapt its steps.")
    controller = diffrax.ConstantStepSize()
    if adaptive:
        controller = diffrax.PIDController(rtol=1e-3, atol=1e-3)
    found = act_on_a_quadratic(method, SOLVERS[solver], 10, controller)
    # At 10 steps a first-order solver, and an inner solve on few steps, are that far off.
    tolerance = 0.5 if solver == "Euler" else 0.1
    np.testing.assert_allclose(found, act_finely(method), atol=tolerance)


def test_bptt_takes_any_adjoint(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    actions = [
        act(fg.guide(policy, critic, fg.bptt(0.3, adjoint=adjoint)), noise, o)
        for adjoint in (None, diffrax.RecursiveCheckpointAdjoint(), diffrax.DirectAdjoint())
    ]
    np.testing.assert_allclose(actions[1], actions[0], atol=1e-5)
    np.testing.assert_allclose(actions[2], actions[0], atol=1e-5)


def test_a_batch_of_weights_is_one_vmap(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    many = jnp.array([0.0, 0.1, 1.0])

    def guided(weight):
        return fg.guide(policy, critic, "qgf", weight=weight).from_noise(noise, o)

    for weight, action in zip(many, jax.jit(jax.vmap(guided))(many), strict=True):
        np.testing.assert_allclose(guided(weight), action, atol=1e-5)


def test_weight_may_be_an_array_or_a_callable_of_t(key):
    policy, critic = mlp_policy(key, num_steps=4), quadratic_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    per_dimension = jnp.array([0.5, 0.0, -0.5])
    for weight, as_function in [
        (per_dimension, lambda t: per_dimension),
        (lambda t: 2 * t, lambda t: 2 * t),
        (0.7, lambda t: 0.7),
    ]:
        guided = fg.guide(policy, critic, fg.ood(weight))

        def term(i, action, velocity, as_function=as_function):
            return as_function(i / 4) * jax.grad(lambda a: critic(o, a))(action)

        # The times of the embedding reach 1e4 radians: a rounding of t is 1e-3 radians there.
        np.testing.assert_allclose(
            act(guided, noise, o), python_loop(policy, noise, o, term), atol=3e-5
        )


def test_optax_shapes_the_gradient(key):
    policy, critic = affine_policy(key), quadratic_critic(key)
    action, o = jr.normal(key, (3,)), observation(key)
    gradient = jax.grad(lambda a: critic(o, a))(action)
    t = jnp.array(0.5)
    for shaping, expected in [
        (optax.clip_by_global_norm(0.1), 0.1 * gradient / jnp.linalg.norm(gradient)),
        (optax.normalize_by_update_norm(), gradient / jnp.linalg.norm(gradient)),
        (optax.scale_by_sign(), jnp.sign(gradient)),
    ]:
        guided = fg.guide(policy, critic, fg.ood(2.0, shaping=shaping))
        added = guided.velocity(t, action, o) - policy.velocity(t, action, o)
        np.testing.assert_allclose(added, 2.0 * expected, atol=1e-5)


@given(seed=seeds, scale=st.floats(0, 5, width=32), floor=st.floats(0, 1, width=32))
def test_disagreement_gate(seed, scale, floor):
    key = jr.key(seed)
    policy, critic = (
        affine_policy(key),
        fg.Ensemble([quadratic_critic(k) for k in jr.split(key, 3)], "mean"),
    )
    action, o, t = jr.normal(key, (3,)), observation(key), jnp.array(0.5)

    def added(**options):
        guided = fg.guide(policy, critic, fg.ood(1.0, **options))
        return guided.velocity.step(t, action, o).guidance

    factor = max(floor, np.exp(-scale * np.std(critic.values(o, action))))
    gate = fg.DisagreementGate(scale, floor)
    np.testing.assert_allclose(added(gate=gate), factor * added(), rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_not_finite_leaves_the_step_unguided(key):
    policy = affine_policy(key, num_steps=5)

    def critic(observation, action):
        # NaN gradients below zero: some steps are guided, others are not.
        return jnp.sum(jnp.sqrt(action))

    noise, o = jr.normal(key, (3,)), observation(key)
    guided = fg.guide(policy, critic, "ood", weight=0.1)
    trace = guided.trace(noise, o)
    is_bad = (np.asarray(trace.actions[:-1]) <= 0).any(axis=1)
    assert trace.num_nonfinite == is_bad.sum() > 0
    assert not np.any(np.asarray(trace.guidance[:-1])[is_bad])
    assert np.all(np.isfinite(np.asarray(guided.from_noise(noise, o))))


@given(seed=seeds, n=st.integers(1, 3))
def test_best_of_n(seed, n):
    key = jr.key(seed)
    policy, critic = mlp_policy(key), mlp_critic(key)
    best = fg.guide(policy, critic, fg.best_of_n(n))
    noise, o = jr.normal(key, best.noise_shape), observation(key)
    chosen = act(best, noise, o)
    candidates = jax.vmap(lambda n: act(policy, n, o))(noise)
    values = jax.vmap(lambda a: critic(o, a))(candidates)
    # Never below the first candidate, and the best of all of them.
    np.testing.assert_allclose(critic(o, chosen), values.max(), atol=1e-5)
    shuffled = act(best, jr.permutation(jr.fold_in(key, 1), noise, axis=0), o)
    np.testing.assert_allclose(shuffled, chosen, atol=1e-6)


def test_best_of_n_never_chooses_nan(key):
    policy = fg.FlowPolicy(lambda t, a, o: jnp.zeros_like(a), (1,), low=-9.0, high=9.0)

    def critic(observation, action):
        return jnp.where(action[0] > 0, action[0], jnp.nan)

    best = fg.guide(policy, critic, fg.best_of_n(3))
    assert best.from_noise(jnp.array([[-1.0], [0.5], [-2.0]]), jnp.zeros(2)) == 0.5


def test_grad_step_climbs_within_the_bounds(key):
    policy, critic = mlp_policy(key), quadratic_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    action = policy.from_noise(noise, o)
    for sign in (False, True):
        expected = action
        for _ in range(3):
            gradient = jax.grad(lambda a: critic(o, a))(expected)
            expected = jnp.clip(expected + 0.2 * (jnp.sign(gradient) if sign else gradient), -1, 1)
        guided = fg.guide(policy, critic, fg.grad_step(0.2, steps=3, sign=sign))
        np.testing.assert_allclose(guided.from_noise(noise, o), expected, atol=1e-6)


@given(seed=seeds)
def test_guidances_compose_associatively(seed):
    key = jr.key(seed)
    policy, critic = mlp_policy(key), mlp_critic(key)
    a, b, c = fg.qgf(0.3), fg.best_of_n(2), fg.grad_step(0.1)
    at_once = fg.guide(policy, critic, [a, b, c])
    one_by_one = fg.guide(fg.guide(fg.guide(policy, critic, a), critic, b), critic, c)
    ends_together = fg.guide(fg.guide(policy, critic, [a]), critic, [b, c])
    noise, o = jr.normal(key, at_once.noise_shape), observation(key)
    for other in (one_by_one, ends_together):
        assert jnp.array_equal(act(other, noise, o), act(at_once, noise, o))


@given(seed=seeds, w1=weights, w2=weights)
def test_ood_weights_add_up(seed, w1, w2):
    """The gradient at the noisy action does not depend on the velocity, so two of them add."""
    key = jr.key(seed)
    policy, critic = affine_policy(key), quadratic_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    twice = act(fg.guide(policy, critic, [fg.ood(w1), fg.ood(w2)]), noise, o)
    once = act(fg.guide(policy, critic, fg.ood(w1 + w2)), noise, o)
    np.testing.assert_allclose(twice, once, rtol=1e-3, atol=1e-4)


def test_call_forms_are_the_same(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    forms = [
        fg.guide(policy, critic, method="qgf", weight=0.1),
        fg.guide(policy, critic, fg.qgf(weight=0.1)),
        fg.guide(policy, critic, [fg.qgf(weight=0.1)]),
        fg.qgf(weight=0.1)(policy, critic),
    ]
    for form in forms:
        assert jnp.array_equal(form.from_noise(noise, o), forms[0].from_noise(noise, o))
        assert isinstance(form, fg.FlowPolicy)


@pytest.mark.parametrize("name", GUIDANCES)
def test_trace_ends_at_the_action(key, name):
    policy, critic = mlp_policy(key, num_steps=5), mlp_critic(key)
    guided = fg.guide(policy, critic, GUIDANCES[name])
    noise, o = jr.normal(key, guided.noise_shape), observation(key)
    trace = guided.trace(noise, o)
    np.testing.assert_allclose(trace.action, guided.from_noise(noise, o), atol=1e-5)
    np.testing.assert_allclose(trace.times, np.arange(6) / 5, atol=1e-6)
    # The path is the Euler path of its own velocities.
    steps = trace.actions[:-1] + trace.velocities[:-1] / 5
    np.testing.assert_allclose(steps, trace.actions[1:], atol=1e-5)
    assert trace.num_nonfinite == 0


def test_trace_splits_velocities_into_policy_and_guidance(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    guided = fg.guide(policy, critic, [fg.ood(0.3), fg.ood(0.2)])
    noise, o = jr.normal(key, (3,)), observation(key)
    trace = guided.trace(noise, o)
    unguided = jax.vmap(policy.velocity, (0, 0, None))(trace.times, trace.actions, o)
    np.testing.assert_allclose(trace.velocities - trace.guidance, unguided, atol=1e-5)
    values = jax.vmap(critic, (None, 0))(o, trace.actions)
    np.testing.assert_allclose(trace.values, values, atol=1e-5)
    unguided_trace = policy.trace(noise, o)
    assert not np.any(np.asarray(unguided_trace.guidance))
    assert np.all(np.isnan(np.asarray(unguided_trace.values)))


def test_trace_of_an_adaptive_solver_is_padded_with_nan(key):
    policy = affine_policy(
        key,
        solver=diffrax.Tsit5(),
        stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-3),
        max_steps=64,
    )
    guided = fg.guide(policy, quadratic_critic(key), "qgf", weight=0.3)
    noise, o = jr.normal(key, (3,)), observation(key)
    trace = guided.trace(noise, o)
    used = np.isfinite(np.asarray(trace.times))
    assert 1 < used.sum() < len(used) == 65
    assert trace.times[used.sum() - 1] == 1
    np.testing.assert_allclose(trace.action, guided.from_noise(noise, o), atol=1e-5)
    assert np.all(np.isfinite(np.asarray(trace.values)[used]))
    assert np.all(np.isnan(np.asarray(trace.actions)[~used]))


@pytest.mark.parametrize("action_shape", ACTION_SHAPES)
def test_a_critic_that_reads_part_of_the_action_guides_that_part(key, action_shape):
    policy = fg.FlowPolicy(lambda t, a, o: jnp.ones_like(a), action_shape)
    guided = fg.guide(policy, lambda o, a: jnp.sum(a[..., :2]), "qgf", weight=0.3)
    noise, o = jr.normal(key, action_shape), observation(key)
    added = guided.trace(noise, o).guidance
    assert np.all(np.asarray(added[..., :2]) == np.float32(0.3))
    assert not np.any(np.asarray(added[..., 2:]))


@given(seed=seeds)
def test_a_reversed_field_gives_the_same_actions(seed):
    key = jr.key(seed)
    policy, critic = affine_policy(key, num_steps=8), quadratic_critic(key)
    backwards = fg.reverse_time(Backwards(policy.velocity))
    adapted = eqx.tree_at(lambda p: p.velocity, policy, backwards)
    noise, o = jr.normal(key, (3,)), observation(key)
    for method in ("qgf", "bptt"):
        np.testing.assert_allclose(
            act(fg.guide(adapted, critic, method, weight=0.3), noise, o),
            act(fg.guide(policy, critic, method, weight=0.3), noise, o),
            atol=1e-5,
        )


@given(seed=seeds)
def test_ensemble_min_and_mean_bound_each_other(seed):
    key = jr.key(seed)
    members = mlp_critic(key).members
    o, a = observation(key), jr.normal(key, (3,))
    low, mean = fg.Ensemble(members, "min")(o, a), fg.Ensemble(members, "mean")(o, a)
    values = fg.Ensemble(members).values(o, a)
    pessimist = fg.Ensemble(members, lambda q: q.mean() - 0.5 * q.std())(o, a)
    assert values.shape == (3,)
    assert low == values.min() <= mean <= values.max()
    assert pessimist <= mean


def test_an_ensemble_of_separate_members_equals_the_stacked_one(key):
    stacked = mlp_critic(key)
    separate = mlp_critic(key, stacked=False)
    mixed = fg.Ensemble([lambda o, a: a.sum(), quadratic_critic(key)])
    o, a = observation(key), jr.normal(key, (3,))
    np.testing.assert_allclose(stacked.values(o, a), separate.values(o, a), atol=1e-5)
    assert mixed.values(o, a).shape == (2,)
    noise = jr.normal(key, (3,))
    np.testing.assert_allclose(
        act(fg.guide(mlp_policy(key), stacked, "qgf"), noise, o),
        act(fg.guide(mlp_policy(key), separate, "qgf"), noise, o),
        atol=1e-5,
    )


def test_a_batch_of_observations_guided_at_once(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    observations = jr.normal(key, (6, OBSERVATION_SIZE))
    for name in ("qgf", "bptt", "grad_step", "qgf then best_of_n"):
        actions = fg.sample(fg.guide(policy, critic, GUIDANCES[name]), observations, key=key)
        assert actions.shape == (6, 3), name
        assert np.all(np.abs(actions) <= 1), name
