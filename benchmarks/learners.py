"""What training by a critic costs, beside what guidance costs: time and operations of an update of
each learner, and of an action of what comes of it.

Random networks of one size, on one device. Updates take turns in one run, and so do actions; times
are medians, and ratios are those to an update of behaviour cloning and to an unguided action.

    python benchmarks/learners.py
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import tyro
from measure import interleaved, print_machine, ratio

import flowguide as fg
from flowguide import nn
from flowguide.data import Batch
from flowguide.train import (
    AbstractLearner,
    AGF,
    DSRL,
    EDP,
    FAWAC,
    FlowMatching,
    FQL,
    IQL,
    NoiseConditioned,
    QAM,
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Times an update of each learner, and an action of each way of acting."""

    hidden: tuple[int, ...] = (128, 128, 128)
    """Hidden sizes of all networks."""

    observation: int = 28
    """Size of the observation."""

    action: tuple[int, ...] = (5, 5)
    """Shape of a chunk of actions."""

    batch_size: int = 128
    """Windows in a batch."""

    updates: int = 10
    """Updates in each compiled call."""

    seconds: float = 60.0
    """Seconds of measuring, for updates and for actions each."""


def main(settings: Settings) -> None:
    print_machine()
    policy, critic = networks(settings)
    learners = learners_of(settings, policy, critic)
    data = batch(settings)
    states = {name: learner.init(jr.key(1)) for name, learner in learners.items()}
    calls = {
        name: updater(learners[name], state, data, settings.updates)
        for name, state in states.items()
    }
    times = interleaved(calls, settings.seconds)
    print(
        "| learner | GFLOP an update | ms an update | of an update of cloning |\n|---|---|---|---|"
    )
    for name, learner in learners.items():
        update, arrays = on_arrays(learner, states[name])
        flops = fg.count_flops(update, arrays, data, jr.key(0))
        middle = jnp.median(times[name]) / settings.updates * 1e3
        of = ratio(times[name], times["cloning"])
        print(f"| {name} | {flops / 1e9:.2f} | {middle:.1f} | {of} |", flush=True)

    acting = {name: learners[name].result(states[name]) for name in ("fql", "dsrl", "qam", "agf")}
    rows: dict[str, Any] = {
        "unguided; edp, fawac": policy,
        "qam": acting["qam"],
        "dsrl": acting["dsrl"],
        "fql": acting["fql"],
        "agf": fg.guide(policy, acting["agf"], "agf"),
        "best of 4": fg.guide(policy, critic, fg.best_of_n(4)),
        "best of 16": fg.guide(policy, critic, fg.best_of_n(16)),
        "ood": fg.guide(policy, critic, "ood", weight=0.1),
        "qgf": fg.guide(policy, critic, "qgf", weight=0.1),
        "qgf, best of 4": fg.guide(policy, critic, [fg.qgf(0.1), fg.best_of_n(4)]),
    }
    observation = data.observation[0]
    times = interleaved(
        {name: actor(acts, observation) for name, acts in rows.items()}, settings.seconds, warm=3
    )
    print(f"\n| acting | MFLOP an action | ms an action | of an unguided one |\n{'|---' * 4}|")
    for name, acts in rows.items():
        flops = acts.flops(observation) / 1e6
        middle = jnp.median(times[name]) * 1e3
        of = ratio(times[name], times["unguided; edp, fawac"])
        print(f"| {name} | {flops:.2f} | {middle:.2f} | {of} |", flush=True)


def networks(settings: Settings) -> tuple[fg.FlowPolicy, Any]:
    """A frozen policy and a frozen critic of two members."""
    sizes = settings.observation, settings.action, settings.hidden
    policy = fg.FlowPolicy(nn.VelocityMLP(*sizes, key=jr.key(0)), settings.action)
    return policy, nn.critic_ensemble(2, *sizes, key=jr.key(1))


def learners_of(settings: Settings, policy: Any, critic: Any) -> dict[str, AbstractLearner]:
    """As `flowguide train` makes them."""
    sizes = settings.observation, settings.action, settings.hidden

    def velocity(key):
        return nn.VelocityMLP(*sizes, key=key)

    def critics(key, **options):
        return nn.critic_ensemble(2, *sizes, key=key, **options)

    def value(key):
        return nn.ValueMLP(settings.observation, settings.hidden, key=key)

    def actor(key):
        return nn.NoiseActor(*sizes, key=key)

    return {
        "cloning": FlowMatching(velocity),
        "critic (iql)": IQL(critics, value),
        "edp": EDP(velocity, critic),
        "fql": FQL(velocity, policy, critic),
        "fawac": FAWAC(velocity, policy, critic),
        "dsrl": DSRL(actor, critics, policy, critic),
        "qam": QAM(policy, critic),
        "agf": AGF(velocity, policy, critic),
        "robust": NoiseConditioned(critic, lambda key: critics(key, noisy=True)),
    }


def batch(settings: Settings) -> Batch:
    size = settings.batch_size
    keys = jr.split(jr.key(2), 3)
    return Batch(
        observation=jr.normal(keys[0], (size, settings.observation)),
        action=jr.uniform(keys[1], (size, *settings.action), minval=-1, maxval=1),
        reward=jnp.ones(size),
        discount=jnp.full(size, 0.99),
        next_observation=jr.normal(keys[2], (size, settings.observation)),
        weight=jnp.ones(size),
    )


def on_arrays(learner: AbstractLearner, state: Any) -> tuple[Callable[..., Any], Any]:
    """An update as a function of the state's arrays, and these."""
    arrays, static = eqx.partition(state, eqx.is_array)

    def update(arrays, data, key):
        state, _ = learner.update(eqx.combine(arrays, static), data, key)
        return eqx.filter(state, eqx.is_array)

    return update, arrays


def updater(learner: AbstractLearner, state: Any, data: Batch, updates: int) -> Callable[[], Any]:
    """So many updates in one compiled loop."""
    update, arrays = on_arrays(learner, state)

    @jax.jit
    def run(arrays, key):
        def of_key(arrays, key):
            return update(arrays, data, key), None

        return jax.lax.scan(of_key, arrays, jr.split(key, updates))[0]

    return lambda: run(arrays, jr.key(0))


def actor(policy: Any, observation: Any) -> Callable[[], Any]:
    act = eqx.filter_jit(lambda policy, observation, key: policy(observation, key=key))
    return lambda: act(policy, observation, jr.key(0))


if __name__ == "__main__":
    main(tyro.cli(Settings))
