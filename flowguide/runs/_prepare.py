"""From the settings of a run to what is trained, before anything is written."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._random import seed_key
from .._run_folder import RunFolder
from ..data import SliceStream
from ..train import Jointly, TrainState
from ._claim import make_claim
from ._recipe import make_learner, make_policy
from ._settings import Settings
from ._sources import check_frozen, Data, Frozen, load_data, load_frozen

NUM_OBSERVATIONS = 256


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What a run trains.

    **Attributes:**

    - `settings`: what was asked for.
    - `claim`: all that the result follows from, as `settings.json` keeps it.
    - `data`: what is learnt from.
    - `frozen`: what is not trained.
    - `learner`: what is.
    """

    settings: Settings
    claim: dict[str, Any]
    data: Data
    frozen: Frozen
    learner: Jointly

    @property
    def seeds(self) -> list[int]:
        """The training seeds."""
        return list(range(self.settings.seed, self.settings.seed + self.settings.seeds))

    @property
    def key(self) -> Any:
        """One key, or one for each of several seeds."""
        keys = [seed_key(seed) for seed in self.seeds]
        return jnp.stack(keys) if len(keys) > 1 else keys[0]

    def models(self, state: TrainState) -> list[tuple[Any, Any]]:
        """The policy and the critic of each seed, as they are in a state."""

        def of_seed(index: int) -> TrainState:
            # Of the state: what was learnt may hold what is frozen, which all seeds have alike.
            arrays, rest = eqx.partition((state.learner, state.best), eqx.is_array)
            one = eqx.combine(jax.tree.map(lambda x: x[index], arrays), rest)
            return TrainState(state.step, *one)

        count = len(self.seeds)
        states = [state] if count == 1 else map(of_seed, range(count))
        results = [each.result(self.learner) for each in states]
        return [
            (
                make_policy(self.settings, learnt["policy"])
                if "policy" in learnt
                else self.frozen.policy,
                learnt.get("critic", self.frozen.critic),
            )
            for learnt in results
        ]

    def some_observations(self) -> jax.Array:
        """Of the validation data, for what is measured later: it needs no dataset then."""
        batch = self.data.validation.sample(seed_key(0), NUM_OBSERVATIONS)
        batches = batch if isinstance(batch, dict) else {"all": batch}
        # Of goal-conditioned learners each has goals of its own: those that the policy is asked
        # for.
        return batches.get("policy", next(iter(batches.values()))).observation


def prepare(settings: Settings, folder: RunFolder, on_message: Callable[[str], Any]) -> Prepared:
    """Loads what the settings name.

    **Raises:**

    What `run` raises before it trains.
    """
    frozen = load_frozen(settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        data = load_data(settings)
    for message in sorted({str(warning.message) for warning in caught}):
        on_message(f"Warning: {message}")
    on_message(describe(settings, data))
    check_frozen(settings, frozen, data.example)
    claim = make_claim(settings, folder, data.sha256, frozen.sha256)
    models = frozen.policy, frozen.critic
    learner = make_learner(settings, data.example, models, stacked=claim["stacked"])
    return Prepared(settings, claim, data, frozen, learner)


def describe(settings: Settings, data: Data) -> str:
    """One sentence about the data, with the share of successes where there is a task."""
    dataset = data.example
    sentence = f"{len(dataset):,} rows in {dataset.num_episodes:,} episodes"
    if isinstance(data.train, SliceStream):
        sentence = f"{len(data.train)} slices; the one held out has {sentence}"
    if dataset.rewards is not None:
        # Not the masks: `bootstrap_through_success` takes successes out. OGBench's reward is 0
        # where the task is solved and negative elsewhere.
        share = float(jnp.mean(dataset.rewards == 0))
        sentence += f", {share:.2%} of the rows are successes"
    return f"{settings.task}: {sentence}."
