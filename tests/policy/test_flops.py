"""Counted operations: by arithmetic from layer sizes, by XLA where there is no loop."""

import functools
from typing import Any

import diffrax
import jax
import jax.extend
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg
from flowguide import count_flops
from flowguide.train import QAM

from ..helpers import HIDDEN, METHODS, mlp_critic, mlp_policy, observation, OBSERVATION_SIZE, ready

SIZE, TIME = 3, 16
FIRST, LAST = HIDDEN
VELOCITY = 2 * ((OBSERVATION_SIZE + SIZE + TIME) * FIRST + FIRST * LAST + LAST * SIZE)
# Of three members; its gradient asks for one product more with each matrix.
CRITIC = 3 * 2 * ((OBSERVATION_SIZE + SIZE) * FIRST + FIRST * LAST + LAST)


def by_arithmetic(cost):
    networks = VELOCITY * (cost.velocities + cost.pullbacks)
    return networks + CRITIC * (cost.critic_values + 2 * cost.critic_gradients)


def of_xla(function, *arguments):
    found: Any = jax.jit(function).lower(*arguments).compile().cost_analysis()
    return (found[0] if isinstance(found, list) else found)["flops"]


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        ("unguided", fg.Cost(velocities=4)),
        ("qgf", fg.Cost(velocities=4, critic_gradients=4)),
        ("ood", fg.Cost(velocities=4, critic_gradients=4)),
        ("qgf_jacobian", fg.Cost(velocities=4, pullbacks=4, critic_gradients=4)),
        ("best_of_n", fg.Cost(velocities=12, critic_values=3)),
        # From step i on 4 - i more steps, computed once more on the way back, and gone back.
        ("bptt", fg.Cost(velocities=4 + 2 * 10, pullbacks=10, critic_gradients=4)),
        ("guided_action_flow", fg.Cost(velocities=4, critic_gradients=4)),
    ],
)
def test_flops_are_those_of_the_layers(key, name, cost):
    policy, critic, guidance = ready("qgf" if name == "unguided" else name, key)
    guided = policy if name == "unguided" else fg.guide(policy, critic, guidance)
    assert guided.flops(observation(key)) == by_arithmetic(cost)


NO_MLP = {"robust_q", "cfg"}  # Their networks have another input.


@pytest.mark.parametrize("name", [name for name in METHODS if name not in NO_MLP])
def test_flops_are_the_calls_that_cost_counts(key, name):
    policy, critic, guidance = ready(name, key)
    guided = fg.guide(policy, critic, guidance)
    # `qgf_orthogonal` has products and singular values of its own, of the size of the action.
    margin = 0.2 if name == "qgf_orthogonal" else 0
    assert guided.flops(observation(key)) == pytest.approx(by_arithmetic(guided.cost()), rel=margin)


def test_of_the_default_weight_and_of_an_encoder(key):
    matrix = jr.normal(key, (OBSERVATION_SIZE, 50))
    policy = mlp_policy(key, num_steps=4, encode=lambda o: matrix @ (matrix.T @ o))
    guided = fg.guide(policy, mlp_critic(key), [fg.qgf(), fg.best_of_n(3)])
    encoder = 2 * 2 * 50 * OBSERVATION_SIZE
    assert guided.flops(observation(key)) == by_arithmetic(guided.cost()) + encoder
    prepared = guided.prepare(observation(key))
    costs = guided.costs()
    assert costs is not None and guided.flops(prepared) == by_arithmetic(costs[1])


def test_an_update_of_training(key):
    """A batch of paths of an SDE, in which `vmap` has been taken of equinox's primitives."""
    learner = QAM(mlp_policy(key, num_steps=4), mlp_critic(key))
    tuned, some = learner.policy, jnp.zeros((5, OBSERVATION_SIZE))
    found = count_flops(
        jax.vmap(lambda o, key: learner.path(tuned, o, key)[1:]), some, jr.split(key, 5)
    )
    assert found == 5 * by_arithmetic(fg.Cost(velocities=4, critic_gradients=1))


def test_more_steps_count_as_often(key):
    one, many = (mlp_policy(key, num_steps=n).flops(observation(key)) for n in (1, 7))
    assert many == 7 * one == 7 * VELOCITY


@pytest.mark.parametrize("interval", [(0.0, 0.5), (0.4, 0.6)])
def test_steps_that_are_not_guided_cost_no_gradient(key, interval):
    policy, critic, _ = ready("qgf", key, num_steps=10)
    guided = fg.guide(policy, critic, fg.qgf(fg.WeightInterval(0.3, *interval)))
    assert guided.flops(observation(key)) == by_arithmetic(guided.cost())


def test_an_adaptive_solver_is_counted_where_its_cost_is_unknown(key):
    """Of a calm field: where steps follow from the last digit, each program has its own."""
    matrix = jr.normal(key, (300, SIZE)) / 10
    policy = fg.FlowPolicy(
        *(lambda t, a, o: -matrix.T @ (matrix @ a), (SIZE,)),
        solver=diffrax.Heun(),
        stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-4),
    )
    assert policy.cost() is None
    steps = int(policy.solve(jr.normal(key, (SIZE,)), None).stats["num_steps"])
    # Two stages a step, and sums of stages, which are products of small matrices.
    asked = policy.flops(None, key=key) / (2 * 2 * 300 * SIZE)
    assert steps > 10 and 2 * steps <= asked < 2.1 * steps + 3


def test_agrees_with_xla_where_nothing_loops(key):
    """XLA counts what is done to each entry, too: of layers of 512 a twentieth."""
    sizes = OBSERVATION_SIZE, (SIZE,), (512, 512)
    policy = fg.FlowPolicy(fg.nn.VelocityMLP(*sizes, key=key), (SIZE,), num_steps=5)
    guided = fg.guide(policy, fg.nn.critic_ensemble(2, *sizes, key=key), fg.qgf(0.3))

    def unrolled(noise, o):
        action = noise
        for i in range(5):
            action = action + guided.step(jnp.asarray(i / 5), action, o).velocity / 5
        return guided.clip(action)

    o, noise = observation(key), jr.normal(key, (SIZE,))
    counted = count_flops(unrolled, noise, o)
    assert counted == guided.flops(o)
    assert counted < of_xla(unrolled, noise, o) < 1.1 * counted
    # Of a loop, XLA counts one turn.
    assert of_xla(guided.from_noise, noise, o) < 0.3 * counted


def test_exactly_xla_for_products_and_convolutions(key):
    left, right = jr.normal(key, (4, 3, 5)), jr.normal(key, (4, 5, 2))
    image, kernel = jr.normal(key, (2, 9, 9, 3)), jr.normal(key, (3, 3, 3, 8))
    for function, *arguments in (
        (jnp.matmul, left, right),
        (lambda x, y: jnp.einsum("aij,bjk->abik", x, y), left, right),
        (
            lambda x, k: jax.lax.conv_general_dilated(
                x, k, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
            ),
            *(image, kernel),
        ),
        (
            lambda x, k: jax.lax.conv_general_dilated(
                *(x, k[:, :, :1], (1, 1), "VALID"),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=3,
            ),
            *(image, kernel[..., :6]),
        ),
    ):
        assert count_flops(function, *arguments) == of_xla(function, *arguments)


def test_loops_and_conditions_count_what_happens(key):
    matrix, x = jr.normal(key, (5, 5)), jr.normal(key, (5,))
    one = 2 * 5 * 5

    def scan(x, **options):
        rows = jnp.arange(4.0)
        return jax.lax.scan(lambda c, row: (matrix @ c, row * c), x, rows, **options)

    assert count_flops(scan, x) == 4 * one
    assert count_flops(functools.partial(scan, reverse=True, unroll=2), x) == 4 * one
    nested = jax.vmap(lambda x: jax.lax.fori_loop(0, 3, lambda i, c: scan(c)[0], x))
    assert count_flops(nested, jnp.stack([x, x])) == 2 * 3 * 4 * one

    def until(x, n):
        return jax.lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, matrix @ c[1]), (0, x))

    assert [count_flops(until, x, n) for n in (0, 1, 6)] == [0, one, 6 * one]

    def either(x, is_dear):
        return jax.lax.cond(is_dear, lambda x: matrix @ (matrix @ x), lambda x: x, x)

    assert [count_flops(either, x, is_dear) for is_dear in (False, True)] == [0, 2 * one]
    # What is asked twice in one place is computed once, and in two turns of a loop twice.
    assert count_flops(lambda x: jnp.sin(matrix @ (2.0 * x)) + matrix @ (2.0 * x), x) == one
    again = jax.grad(lambda x: jnp.sum(jax.checkpoint(lambda x: jnp.sin(matrix @ x))(x)))
    assert count_flops(again, x) in (2 * one, 3 * one)
    # A loop is run, not only read: what comes out is what JAX says.
    empty = count_flops(lambda x: jax.lax.scan(lambda c, r: (c, c), x, jnp.zeros((0, 1))), x)
    assert empty == 0


def test_what_runs_is_what_jax_runs(key):
    from flowguide._flops import _Tally

    policy, critic, guidance = ready("bptt", key)
    guided = fg.guide(policy, critic, guidance)
    arguments = jr.normal(key, (SIZE,)), observation(key)
    program = jax.make_jaxpr(guided.from_noise)(*arguments)
    (action,) = _Tally().run(program.jaxpr, program.consts, arguments)
    np.testing.assert_allclose(action, guided.from_noise(*arguments), atol=1e-5)


def test_what_cannot_be_counted_says_so(key):
    def outside(t, action, o):
        return jax.pure_callback(np.negative, action, action)

    policy = fg.FlowPolicy(outside, (SIZE,))
    with pytest.raises(ValueError, match=r"of 'pure_callback'.*policy\.cost\(\) counts calls"):
        policy.flops(observation(key))
    kernel = jax.extend.core.Primitive("somebodys_kernel")
    kernel.def_impl(lambda x: x)
    kernel.def_abstract_eval(lambda x: x)
    for function, name in (
        (lambda x: kernel.bind(x), "somebodys_kernel"),
        (jnp.linalg.cholesky, "cholesky"),
        (lambda x: jnp.fft.fft(x), "fft"),
        (lambda x: jnp.linalg.solve(x, x), "lu"),
    ):
        with pytest.raises(ValueError, match=f"of '{name}"):
            count_flops(function, jnp.eye(3))
