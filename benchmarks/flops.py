"""Floating-point operations of an action, of every method at the size of QGF's networks.

Beside what XLA's `cost_analysis` says of the same program, which counts the body of a loop once, of
the program with its loops unrolled, and beside figure 6 of the paper (arXiv 2606.11087), as drawn.
The size is that of table 1 on cube-triple: 1024x4, two critics, observation 46, chunks of 5 actions
of 5 entries, 10 Euler steps.

    python benchmarks/flops.py
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import tyro

import flowguide as fg
from flowguide import nn

# GFLOP an action, read from the picture.
DRAWN = {
    "qgf": ".0013",
    "best of 4": ".037",
    "best of 16": ".146",
    "grad_step": ".0018 to .0021",
}

# Methods of which a plain loop is written here.
UNROLLED = {
    *("unguided", "best of 4", "best of 16", "qgf, best of 4"),
    *("qgf", "qgf_jacobian", "qgf_regularised", "ood", "robust_q", "guided_action_flow", "cfg"),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Counts the operations of an action of each method."""

    hidden: tuple[int, ...] = (1024, 1024, 1024, 1024)
    """Hidden sizes of all networks."""

    observation: int = 46
    """Size of the observation."""

    action: tuple[int, ...] = (5, 5)
    """Shape of a chunk of actions."""

    critics: int = 2
    """Members of the critic."""

    weight: float = 0.1
    """Guidance weight, where it is a number."""


def main(settings: Settings) -> None:
    policy, critic, others = networks(settings)
    observation = jnp.zeros(settings.observation)
    rows: dict[str, Any] = {"unguided": policy}
    for name, guidance in guidances(settings).items():
        guided, critic_of = others.get(name, (policy, critic))
        rows[name] = fg.guide(guided, critic_of, guidance)
    reference = rows["best of 4"].flops(observation)
    shown = ("method", "passes", "GFLOP", "of best of 4", "XLA, loops once", "XLA, unrolled")
    print(f"| {' | '.join(shown)} | figure 6 |\n{'|---' * 7}|")
    for name, guided in rows.items():
        flops = guided.flops(observation)
        cost = guided.cost()
        noise = jr.normal(jr.key(0), guided.noise_shape)
        cells = (
            *(name, "-" if cost is None else str(cost.forwards(settings.critics))),
            *(f"{flops / 1e9:.4f}", f"{flops / reference:.3f}"),
            giga(of_xla(guided.from_noise, noise, observation)),
            giga(of_unrolled(name, guided, critic, noise, observation)),
            DRAWN.get(name, ""),
        )
        print(f"| {' | '.join(cells)} |", flush=True)


def networks(settings: Settings) -> tuple[Any, Any, dict[str, Any]]:
    """A policy and a critic with random weights, and those of the methods that need others."""
    sizes = settings.observation, settings.action, settings.hidden
    key = jr.key(0)
    policy = fg.FlowPolicy(nn.VelocityMLP(*sizes, key=key), settings.action)
    labelled = nn.VelocityMLP(*sizes, num_labels=2, key=key)
    conditioned = fg.FlowPolicy(fg.ClassifierFreeVelocity(labelled), settings.action)
    critic = nn.critic_ensemble(settings.critics, *sizes, key=key)
    noisy = nn.critic_ensemble(settings.critics, *sizes, noisy=True, key=key)
    robust = fg.NoiseConditionedCritic(noisy)
    return policy, critic, {"cfg": (conditioned, None), "robust_q": (policy, robust)}


def guidances(settings: Settings) -> dict[str, Any]:
    """Every method of the catalogue, with a number for a weight where it has one."""
    weight = settings.weight
    found: dict[str, Any] = {"best of 4": fg.best_of_n(4), "best of 16": fg.best_of_n(16)}
    for name, method in fg.CATALOGUE.items():
        if name in ("best_of_n", "trust_region"):
            continue
        found[name] = method.make(weight) if method.has_weight else method.make()
        if name == "qgf":
            found["qgf, default weight"] = fg.qgf()
            found["qgf, best of 4"] = [fg.qgf(weight), fg.best_of_n(4)]
    return found | {"trust_region": fg.trust_region(fg.qgf(weight))}


def of_xla(function: Any, *arguments: Any) -> float:
    """What XLA says of the compiled program."""
    found: Any = jax.jit(function).lower(*arguments).compile().cost_analysis()
    return (found[0] if isinstance(found, list) else found)["flops"]


def of_unrolled(name: str, guided: Any, critic: Any, noise: Any, observation: Any) -> float | None:
    """The same of a Python loop; None for programs that have loops in their steps."""
    if name not in UNROLLED:
        return None

    def one(policy: fg.FlowPolicy, action: Any, prepared: Any) -> Any:
        for i in range(policy.num_steps):
            velocity = policy.step(i / policy.num_steps, action, prepared).velocity
            action = action + velocity / policy.num_steps
        return policy.clip(action)

    def best(noise: Any, observation: Any) -> Any:
        prepared = guided.policy.prepare(observation)
        actions = jax.vmap(lambda x: one(guided.policy, x, prepared))(noise)
        return actions[jnp.argmax(jax.vmap(lambda a: critic(observation, a))(actions))]

    def flow(noise: Any, observation: Any) -> Any:
        return one(guided, noise, guided.prepare(observation))

    return of_xla(flow if isinstance(guided, fg.FlowPolicy) else best, noise, observation)


def giga(flops: float | None) -> str:
    return "-" if flops is None else f"{flops / 1e9:.4f}"


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
