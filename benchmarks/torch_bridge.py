"""Times guidance of a PyTorch policy against the same loop written in PyTorch.

`qgf` in 10 Euler steps, observation 28, action 25, two critics by min: 20 calls of PyTorch an
action. "empty" has functions that do next to nothing, so that what is left is the way from XLA to
PyTorch and back; "prefix" is the same with a large array in the observation, which the function
reads one number of. One thread of PyTorch.

    python benchmarks/torch_bridge.py
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from measure import interleaved, print_machine, ratio

import flowguide

OBSERVATION, ACTION, STEPS, WEIGHT = 28, 25, 10, 0.1
MEBI = 2**20


@dataclasses.dataclass(frozen=True)
class Settings:
    """Times guidance of a PyTorch policy."""

    networks: tuple[str, ...] = ("256x3", "1024x4")
    """Width and number of hidden layers."""

    batches: tuple[int, ...] = (1, 50)
    """Batch sizes."""

    prefix: int = 64
    """MiB of the array in the observation, at batch 1."""

    seconds: float = 10.0
    """Seconds of measuring for each network and batch size."""


def measure(settings: Settings, network: str, batch: int) -> None:
    import torch  # pyright: ignore[reportMissingImports]

    import flowguide.torch as fgt

    width, depth = map(int, network.split("x"))
    torch.manual_seed(0)

    def mlp(in_size: int, out_size: int) -> Any:
        sizes = [in_size, *[width] * depth]
        layers = [
            layer
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
            for layer in (torch.nn.Linear(a, b), torch.nn.GELU())
        ]
        return torch.nn.Sequential(*layers, torch.nn.Linear(width, out_size))

    field = mlp(OBSERVATION + ACTION + 1, ACTION)
    critics = [mlp(OBSERVATION + ACTION, 1) for _ in range(2)]

    def velocity(t: Any, action: Any, observation: Any) -> Any:
        return field(torch.cat([observation, action, t[:, None]], 1))

    def value(observation: Any, action: Any) -> Any:
        inputs = torch.cat([observation, action], 1)
        return torch.cat([critic(inputs) for critic in critics], 1)

    def by_hand() -> Any:
        action = start
        for i in range(STEPS):
            t = torch.full((batch,), i / STEPS)
            with torch.no_grad():
                field_here = velocity(t, action, state)
                clean = (action + (1 - i / STEPS) * field_here).clamp(-1, 1)
            clean.requires_grad_()
            (gradient,) = torch.autograd.grad(value(state, clean).amin(1).sum(), clean)
            action = action + (field_here + WEIGHT * gradient) / STEPS
        return action.clamp(-1, 1)

    def guided(velocity: Any, critic: Any) -> Any:
        policy = flowguide.FlowPolicy(fgt.velocity(velocity), (ACTION,), num_steps=STEPS)
        together = flowguide.guide(policy, fgt.critic(critic), "qgf", weight=WEIGHT)
        return jax.jit(
            lambda noise, observations: jax.vmap(together.from_noise)(noise, observations)
        )

    noise = jax.random.normal(jax.random.key(0), (batch, ACTION))
    observations = jax.random.normal(jax.random.key(1), (batch, OBSERVATION))
    start, state = (torch.from_numpy(np.array(x)) for x in (noise, observations))
    ours = guided(velocity, value)
    empty = guided(lambda t, a, o: -a, lambda o, a: a.sum(1))
    prefixed = guided(lambda t, a, o: -a * o["prefix"][:, :1], lambda o, a: a.sum(1))
    # Critics are asked about the whole observation too.
    prefix = {"prefix": jnp.ones((batch, settings.prefix * MEBI // 4 // batch))}
    difference = np.abs(np.asarray(ours(noise, observations)) - by_hand().numpy()).max()
    assert difference < 1e-4, f"flowguide differs from the loop by {difference}"
    times = interleaved(
        {
            "loop": by_hand,
            "flowguide": lambda: ours(noise, observations),
            "empty": lambda: empty(noise, observations),
            "prefix": lambda: prefixed(noise, prefix),
        },
        settings.seconds,
    )
    print(f"{network}, batch {batch}, {len(times['loop'])} rounds; ms an action, and of the loop")
    for name, found in times.items():
        each = 1e3 * np.median(found) / (2 * STEPS)
        shown = ratio(found, times["loop"]) if name == "flowguide" else f"{each:.3f} ms a call"
        print(f"{name:>10} {1e3 * np.median(found):9.2f}  {'' if name == 'loop' else shown}")
    print(flush=True)


def main(settings: Settings) -> None:
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    print_machine()
    print(f"torch {torch.__version__}, {settings.prefix} MiB of prefix\n")
    for network in settings.networks:
        for batch in settings.batches:
            measure(settings, network, batch)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
