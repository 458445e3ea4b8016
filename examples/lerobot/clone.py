"""A small SmolVLA learns from demonstrations, with LeRobot's own loss, processors and format."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors

from flowguide.lerobot import ProcessedEnv

from .demonstrate import Demonstrations
from .simulator import make_tasks
from .tiny_smolvla import make_policy, write_vlm

CHUNK = 16
PLAY = 8
# Of a state's entries that never change, by which nothing is divided.
LEAST_STD = 1e-2


def clone(
    demonstrations: Sequence[Demonstrations],
    folder: Path,
    *,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    say: Callable[[str], Any] = print,
) -> None:
    """Trains a SmolVLA of a million parameters and saves it as LeRobot does.

    **Arguments:**

    - `demonstrations`: of one task or several.
    - `folder`: for the policy and its processors.
    - `steps`, `batch_size`, `learning_rate`: of AdamW, with a cosine schedule and a warm-up of a
        twentieth.
    - `seed`: of the network and the batches.
    - `say`: told the loss from time to time.
    """
    state, actions = (_joined(demonstrations, name) for name in ("agent_pos", "actions"))
    images = _joined(demonstrations, "pixels")
    offsets = np.cumsum([0, *(len(each.actions) for each in demonstrations)])
    last = torch.tensor(
        np.concatenate([d.last + o for d, o in zip(demonstrations, offsets, strict=False)])
    )
    tasks = np.repeat(np.arange(len(demonstrations)), np.diff(offsets))

    folder.mkdir(parents=True, exist_ok=True)
    policy = make_policy(
        write_vlm(folder / "vlm"),
        state_size=state.shape[1],
        action_size=actions.shape[1],
        chunk=CHUNK,
        play=PLAY,
        seed=seed,
        max_state_dim=max(state.shape[1], 8),
        max_action_dim=8,
        # Then the instructions of all tasks have one length.
        pad_language_to="longest" if len(demonstrations) == 1 else "max_length",
    )
    statistics = {"observation.state": _moments(state), "action": _moments(actions)}
    preprocessor, postprocessor = make_smolvla_pre_post_processors(policy.config, statistics)
    optimiser = torch.optim.AdamW(
        policy.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=1e-6
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, learning_rate, total_steps=steps, pct_start=0.05
    )
    generator = torch.Generator().manual_seed(seed)
    policy.train()
    started, losses = time.monotonic(), []
    for step in range(1, steps + 1):
        rows = torch.randint(0, len(actions), (batch_size,), generator=generator)
        window = rows[:, None] + torch.arange(CHUNK)
        end = last[rows][:, None]
        batch = preprocessor(
            {
                "observation.state": state[rows],
                "observation.image": images[rows].permute(0, 3, 1, 2).float() / 255,
                "action": actions[torch.minimum(window, end)],
                "action_is_pad": window > end,
                "task": [demonstrations[i].instruction for i in tasks[rows.numpy()]],
            }
        )
        loss, _ = policy.forward(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        if step % 500 == 0 or step == steps:
            mean = float(np.mean(losses[-500:]))
            say(f"update {step:,}: loss {mean:.4f} ({time.monotonic() - started:.0f} s)")
    policy.eval().save_pretrained(folder)
    preprocessor.save_pretrained(folder, config_filename="policy_preprocessor.json")
    postprocessor.save_pretrained(folder, config_filename="policy_postprocessor.json")


def load_policy(folder: Path) -> tuple[SmolVLAPolicy, Any, Any]:
    """The policy, its preprocessor and its postprocessor, as `clone` saved them."""
    policy = SmolVLAPolicy.from_pretrained(folder).eval()
    return policy, *make_pre_post_processors(policy.config, pretrained_path=str(folder))


def make_environment(
    folder: Path, tasks: Sequence[str], max_steps: int, image_every: int
) -> ProcessedEnv:
    """Tasks as the policy in a folder sees them: workers call this, and need no network."""
    config = PreTrainedConfig.from_pretrained(folder)
    processors = make_pre_post_processors(config, pretrained_path=str(folder))
    return ProcessedEnv(make_tasks(tasks, max_steps, image_every), config, *processors)


def _joined(several: Sequence[Demonstrations], name: str) -> torch.Tensor:
    return torch.tensor(np.concatenate([getattr(each, name) for each in several]))


def _moments(rows: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"mean": rows.mean(0), "std": rows.std(0).clamp_min(LEAST_STD)}
