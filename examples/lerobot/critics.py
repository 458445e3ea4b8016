"""Critics of a policy's own episodes: what they see, and how they learn."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import flowguide as fg
from flowguide import nn, train
from flowguide.data import Dataset, split_episodes, Windows

from .clone import PLAY

IMAGE = "observation.image"
DISCOUNT = 0.97


def look(
    flow: fg.FlowPolicy, seen: dict[str, np.ndarray], data: Dataset, every: int
) -> dict[str, np.ndarray]:
    """The policy's features where windows begin, and zeros elsewhere."""

    @jax.jit
    def of(batch: dict[str, jax.Array]) -> jax.Array:
        batch = {**batch, IMAGE: batch[IMAGE].astype(np.float32) / 255}
        return jax.vmap(lambda each: flow.prepare(each).observation["features"])(batch)

    windows = Windows(data, PLAY, every=every)
    rows = np.asarray(windows.starts)[: len(windows)]
    found = []
    for part in np.array_split(rows, -(-len(rows) // 32)):
        # As many in each, so that one program serves.
        padded = np.resize(part, 32)
        found.append(np.asarray(of({n: x[padded] for n, x in seen.items()}))[: len(part)])
    features = np.zeros((len(data), found[0].shape[1]), np.float32)
    features[rows] = np.concatenate(found)
    return {"features": features}


def learn(data: Dataset, seed: int, every: int, folder: Path, say: Callable[[str], Any]) -> Any:
    """A critic of the policy's own success to go, and how well it is calibrated."""
    shown, held_back = split_episodes(data, 1 / 6, seed=seed)
    windows, validation = (
        Windows(each, PLAY, DISCOUNT, returns="success_to_go", every=every)
        for each in (shown, held_back)
    )
    if not (folder / "model.safetensors").exists():
        # Between two chunks there are no features, and their zeros are no data.
        rows = slice(None) if every == 1 else np.asarray(windows.starts)[: len(windows)]
        encode = nn.Standardise({name: x[rows] for name, x in shown.observations.items()})

        def make_critic(key):
            members = nn.critic_ensemble(
                4, encode.size, (PLAY, data.actions.shape[1]), (256, 256), key=key
            )
            return fg.EncodedCritic(members, encode)

        learner = train.ReturnRegression(make_critic)
        state = train.train(
            learner,
            windows,
            steps=4000,
            key=jax.random.key(seed),
            log_every=250,
            validation=validation,
            keep_best=["loss"],
        )
        critic = state.result(learner)
        fg.save(folder, None, critic)
        say(f"critic {seed}: the best of 4,000 updates is {int(state.best['loss'].step):,}")
    _, critic = fg.load(folder)
    calibration = fg.diagnose.critic_calibration(critic, validation)
    say(f"critic {seed} on held-back episodes:\n{calibration}")
    return critic
