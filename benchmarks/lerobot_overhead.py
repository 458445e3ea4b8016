"""Times a chunk of actions of LeRobot's SmolVLA: LeRobot's own sampler, and flowguide in its place.

python benchmarks/lerobot_overhead.py --size tiny
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np
import tyro
from measure import interleaved, print_machine, ratio

import flowguide

STATE = ACTION = 6


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is timed."""

    size: Literal["tiny", "full"] = "tiny"
    """A million parameters, or SmolVLA's own 450 million."""

    chunk: int = 16
    """Actions in a chunk; SmolVLA's own are 50."""

    batch: int = 1
    """Observations at once."""

    threads: int = 1
    """Of PyTorch."""

    seconds: float = 60.0
    """Seconds of measuring in all."""


def critic(observation, action):
    return jnp.sum(action**2) + jnp.sum(observation["observation.state"])


def main(settings: Settings) -> None:
    import torch

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from examples.lerobot.tiny_smolvla import FULL, make_policy, TINY, write_vlm

    print_machine()
    torch.set_num_threads(settings.threads)
    size = FULL if settings.size == "full" else TINY
    vlm = write_vlm(Path(tempfile.mkdtemp()), size)
    policy = make_policy(vlm, state_size=STATE, action_size=ACTION, chunk=settings.chunk, size=size)
    count = sum(parameter.numel() for parameter in policy.parameters())
    print(f"{count / 1e6:.1f} million parameters, batch {settings.batch}")
    image = (settings.batch, 3, size.image, size.image)
    batch = {
        "observation.state": torch.randn(settings.batch, STATE),
        "observation.image": torch.rand(image),
        "observation.language.tokens": torch.randint(8, 200, (settings.batch, 48)),
        "observation.language.attention_mask": torch.ones(settings.batch, 48, dtype=torch.bool),
    }
    noise = torch.randn(settings.batch, settings.chunk, policy.config.max_action_dim)
    policies = {
        "LeRobot": policy,
        "flowguide, no critic": flowguide.lerobot.guide(policy, None, []),
        "qgf": flowguide.lerobot.guide(policy, critic, "qgf", weight=0.1),
        "qgf, torchax": flowguide.lerobot.guide(
            policy, critic, "qgf", weight=0.1, backend="torchax"
        ),
        "qgf_jacobian": flowguide.lerobot.guide(policy, critic, "qgf_jacobian", weight=0.1),
    }

    def chunk(policy):
        def call() -> object:
            with torch.inference_mode():
                policy.predict_action_chunk(dict(batch), noise=noise)

        return call

    calls = {name: chunk(policy) for name, policy in policies.items()}
    found = interleaved(calls, settings.seconds)
    own = found["LeRobot"]
    print(f"{'':22}{'ms a chunk':>12}{'more ms':>12}  times LeRobot's [quartiles]")
    for name, times in found.items():
        more = 1000 * np.median(times - own)
        print(f"{name:22}{1000 * np.median(times):12.1f}{more:12.1f}  {ratio(times, own)}")
    print(f"{len(own)} rounds")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
