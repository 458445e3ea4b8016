from collections.abc import Callable
from typing import Any

from .._run_folder import RunFolder
from ..ogbench import is_goal_conditioned
from ..train import TrainState
from ._metrics import Metrics
from ._prepare import Prepared


def evaluate_along(
    prepared: Prepared,
    folder: RunFolder,
    state: TrainState,
    step: int,
    metrics: Metrics,
    on_message: Callable[[str], Any],
) -> None:
    """Plays paired episodes with what has been learnt so far, and draws success along training."""
    from ..evaluate import Agent, cross, evaluate
    from ..plot import plot_along_training
    from ..results import read_episodes, summarise, write_episodes

    settings = prepared.settings
    weights = settings.evaluate_weights if settings.critic != "none" else ()
    guidances = cross([settings.method] if weights else [], weights=weights)
    episode_seeds = range(settings.evaluate_episodes)
    folder.evaluations.mkdir(exist_ok=True)
    for seed, (policy, critic) in zip(prepared.seeds, prepared.models(state), strict=True):
        file = folder.evaluations / f"seed_{seed}_update_{step:09d}.jsonl"
        agent = Agent(policy, critic, seed)
        # What was played before the process was killed would be the same again, if this machine
        # rounds as that one did.
        finished = [
            episode
            for episode in read_episodes(file)
            if episode.condition.label in guidances
            and episode.episode_seed in episode_seeds
            and episode.model == agent.model
        ]
        played = evaluate(
            agent,
            settings.task,
            guidances,
            episode_seeds,
            goal_conditioned=is_goal_conditioned(settings.task),
            finished=finished,
        )
        episodes = [*finished, *played]
        successes = summarise(episodes)
        rates = {f"success/{condition}": rate.rate for condition, rate in successes.items()}
        metrics.write(step, seed, {**rates, "episodes": float(settings.evaluate_episodes)})
        listed = ", ".join(f"{condition} {rate}" for condition, rate in successes.items())
        on_message(
            f"Update {step:,}, seed {seed}, success in {settings.evaluate_episodes} episodes with "
            f"95% intervals: {listed}."
        )
        try:
            write_episodes(file, episodes)
            plot_along_training(folder.evaluations, folder.success_picture, settings.task)
        except OSError as error:
            on_message(f"The episodes of update {step:,} could not be written: {error}")
