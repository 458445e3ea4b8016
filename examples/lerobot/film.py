"""Films a policy without guidance and with it, in the same test episodes.

    python -m examples.lerobot.film --runs runs/lerobot --out docs/images

The episodes are the first of the test, whatever became of them.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import dataclasses
import functools
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "egl")

import gymnasium
import imageio.v3 as imageio
import numpy as np
import torch
import tyro
from PIL import Image, ImageDraw

import flowguide as fg
from flowguide.evaluate import Agent, evaluate

from .clone import load_policy, make_environment, PLAY
from .reproduce import TASKS, TEST_SEED
from .simulator import Several, Simulator

SIZE, EVERY, BAR, FPS = 160, 3, 24, 15


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is filmed."""

    runs: Path = Path("runs/lerobot")
    """What `--out` of the experiment was."""

    task: str = "peg-insert-side-v3"
    """Of these."""

    episodes: int = 4
    """How many, side by side."""

    out: Path = Path("docs/images")
    """The folder of the film, TASK.mp4, and TASK.webp."""


class Filmed(gymnasium.Wrapper):
    """Keeps the pictures of each episode, in a file named after the state that it begins in."""

    def __init__(self, env: Simulator | Several, folder: Path):
        super().__init__(env)
        self._simulator, self._folder = env, folder

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        state = observation["environment_state"].tobytes()
        self._name, self._steps = hashlib.sha256(state).hexdigest(), 0
        self._frames = [self._simulator.render(SIZE)]
        return observation, info

    def step(self, action: Any) -> Any:
        observation, reward, success, is_late, info = self.env.step(action)
        self._steps += 1
        if success or is_late or self._steps % EVERY == 0:
            self._frames.append(self._simulator.render(SIZE))
        if success or is_late:
            file = self._folder / f"{self._name}.npz"
            np.savez(file, frames=np.stack(self._frames), success=success)
        return observation, reward, success, is_late, info


def make_filmed(policy: Path, task: str, frames: Path) -> gymnasium.Env:
    """The environment of an evaluation, with a film in it."""
    of = TASKS[task]
    env: Any = make_environment(policy, of.parts or (task,), of.max_steps, of.image_every)
    env.env = Filmed(env.env, frames)
    return env


def main(settings: Settings) -> None:
    folder = settings.runs / settings.task
    policy, *_ = load_policy(folder / "policy")
    _, critic = fg.load(folder / "state" / "critic0")
    flow = fg.lerobot.flow_policy(policy, backend="torchax")
    agent = Agent(flow, fg.lerobot.critic(policy, critic, horizon=PLAY))
    seeds = range(TEST_SEED, TEST_SEED + settings.episodes)
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        for label, guidance in (("unguided", None), ("qgf", fg.qgf())):
            frames = Path(name) / label
            frames.mkdir()
            make = functools.partial(make_filmed, folder / "policy", settings.task, frames)
            evaluate(agent, make, {label: guidance}, seeds, replan=PLAY, success_at="any")
            rows[label] = [_read(file) for file in sorted(frames.iterdir())]
    longest = max(len(frames) for row in rows.values() for frames, _ in row)
    film = np.stack([_picture(rows, i) for i in range(longest)])
    settings.out.mkdir(parents=True, exist_ok=True)
    file = settings.out / f"{settings.task}.mp4"
    imageio.imwrite(file, film, plugin="FFMPEG", codec="libx264", fps=FPS)
    # The same for where no film is shown, such as a README.
    first, *rest = map(Image.fromarray, film)
    first.save(
        file.with_suffix(".webp"),
        save_all=True,
        append_images=rest,
        duration=1000 // FPS,
        loop=0,
        quality=60,
    )
    solved = ", ".join(f"{label} {sum(s for _, s in row)}" for label, row in rows.items())
    print(f"Wrote {file} and .webp: {solved}.")


def _read(file: Path) -> tuple[np.ndarray, bool]:
    with np.load(file) as arrays:
        return arrays["frames"], bool(arrays["success"])


def _picture(rows: dict[str, list[tuple[np.ndarray, bool]]], i: int) -> np.ndarray:
    """A row of episodes for each policy, below its name; what has ended stays as it was."""
    parts = []
    for label, row in rows.items():
        bar = Image.new("RGB", (SIZE * len(row), BAR), "white")
        solved = sum(success and i >= len(frames) - 1 for frames, success in row)
        text = f"{label}: {solved} of {len(row)} solved"
        ImageDraw.Draw(bar).text((6, 4), text, "black", font_size=14)
        images = [_framed(frames[min(i, len(frames) - 1)], i, frames, s) for frames, s in row]
        parts += [np.asarray(bar), np.concatenate(images, axis=1)]
    return np.concatenate(parts)


def _framed(picture: np.ndarray, i: int, frames: np.ndarray, success: bool) -> np.ndarray:
    """A picture, in a green frame once its episode is solved."""
    if not (success and i >= len(frames) - 1):
        return picture
    framed = Image.fromarray(picture)
    ImageDraw.Draw(framed).rectangle((0, 0, SIZE - 1, SIZE - 1), outline="#00A060", width=4)
    return np.asarray(framed)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Settings, description=__doc__))
