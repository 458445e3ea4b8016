import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._agent.cross import check_guidances
from .._agent.finished import check_descriptions, check_same, versions_note
from .._agent.guided import conditions_of
from .._agent.runs import load_runs, Runs
from .._checks import as_positive_int
from .._random import as_seed
from .._results.dropped import dropped_note
from .._results.episodes import Episode, read_episodes, write_episodes
from .._rollout.rules import Rules, SuccessAt
from .._system.locks import alone_with
from .._system.progress import progress_bar
from .._system.versions import versions
from ._evaluate import play, Pool
from ._twice import is_about_environment


def evaluate_runs(
    runs: Sequence[str | os.PathLike],
    guidances: Mapping[str, Any],
    episodes: int,
    out: str | os.PathLike,
    *,
    first_episode_seed: int = 0,
    training: str = "",
    environment: str | None = None,
    replan: int | None = None,
    max_episode_steps: int | None = None,
    success_at: SuccessAt = "end",
    rescale: bool = False,
    num_envs: int | None = None,
    timeout: float = 120.0,
    on_message: Callable[[str], Any] = print,
    progress: bool = True,
) -> list[Episode]:
    """Plays episodes with the agents of training runs, into a file. Called again, what is missing.

    **Arguments:**

    - `runs`: folders of `flowguide train`, of one task; all training seeds of each are played.
    - `guidances`: what to compare: labels and guidances, as in `evaluate`.
    - `episodes`: how many of each agent and label.
    - `out`: a file of JSON Lines, one for each episode; other episodes in it stay, with the
        versions that played them.
    - `first_episode_seed`: episodes have the seeds from this one on, all below 2**31.
    - `training`: recorded with each episode, where several ways of training are compared.
    - `environment`: what is played; by default the runs' task.
    - `replan`, `max_episode_steps`, `success_at`, `rescale`, `num_envs`, `timeout`: as in
        `evaluate`.
    - `on_message`: called with each sentence for the user.
    - `progress`: whether there is a progress bar.

    **Returns:**

    The episodes that were asked for, in order.

    **Raises:**

    `ValueError` for no episodes, if the runs have different tasks or the same training seeds, or if
    the file holds episodes of another policy or critic, of another guidance or by other rules under
    the same name; `RuntimeError` while another process plays into the file; what `flowguide.load`
    and `evaluate` raise.
    """
    episodes = as_positive_int("episodes", episodes)
    first = as_seed("first_episode_seed", first_episode_seed, episodes)
    loaded = load_runs(runs, training, environment)
    return play_into(
        Path(out).expanduser(),
        loaded,
        guidances,
        range(first, first + episodes),
        Rules(replan, loaded.goal_conditioned, max_episode_steps, success_at, rescale),
        num_envs=num_envs,
        timeout=timeout,
        on_message=on_message,
        progress=progress,
    )


def play_into(
    file: Path,
    runs: Runs,
    guidances: Mapping[str, Any],
    episode_seeds: Sequence[int],
    rules: Rules,
    *,
    num_envs: int | None,
    timeout: float,
    on_message: Callable[[str], Any],
    progress: bool,
    pool: Pool | None = None,
) -> list[Episode]:
    """What `evaluate_runs` does, with runs that are loaded."""
    if file.is_dir():
        raise IsADirectoryError(
            f"{file} is a folder: expected a file for the episodes, such as "
            f"{file / 'results.jsonl'}."
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    with alone_with(file, "playing into"):
        agents, task, _ = runs
        episodes = read_episodes(file)
        check_guidances(guidances)
        conditions = conditions_of(guidances)
        mine = check_same(str(file), episodes, agents, task, rules)
        check_descriptions(guidances, mine, str(file))
        asked = dict.fromkeys(
            Episode(condition, agent.train_seed, seed, None, 0.0, 0, task, agent.training).key
            for agent in agents
            for condition in conditions.values()
            for seed in episode_seeds
        )
        note = versions_note(mine, versions())
        if note:
            on_message(f"Warning: {file}: {note}")
        # Errors that are tried again are left out, and so is the half line of a killed process.
        kept = {each.key: each for each in episodes if each.error is None or each.key not in asked}
        write_episodes(file, kept.values())
        finished = [kept[key] for key in asked if key in kept]
        on_message(
            f"{task}: {len(agents)} training {'seed' if len(agents) == 1 else 'seeds'} x "
            f"{len(conditions)} {'condition' if len(conditions) == 1 else 'conditions'} x "
            f"{len(episode_seeds)} {'episode' if len(episode_seeds) == 1 else 'episodes'}; "
            f"{len(finished):,} of "
            f"{len(asked):,} are there already."
        )
        is_done = len(finished) == len(asked)
        with (
            progress_bar("episodes", enabled=progress and not is_done) as bar,
            file.open("a") as lines,
        ):
            row = bar.add_task("play", total=len(asked), completed=len(finished), note="playing")

            def on_episode(episode: Episode) -> None:
                lines.write(episode.to_json() + "\n")
                lines.flush()
                bar.update(row, advance=1, note=str(episode.condition))

            played = play(
                *(agents, task, guidances, episode_seeds, rules),
                num_envs=num_envs,
                timeout=timeout,
                batch_size=None,
                finished=finished,
                on_episode=on_episode,
                on_doubt=lambda doubt: on_message(f"Warning: {doubt}"),
                pool=pool,
            )
        kept |= {episode.key: episode for episode in played}
        for key in asked if played else ():
            # A doubt about the environment holds for what was played before, too.
            new = [
                d for d in played[0].doubts if is_about_environment(d) and d not in kept[key].doubts
            ]
            kept[key] = dataclasses.replace(kept[key], doubts=(*kept[key].doubts, *new))
        write_episodes(file, kept.values())
        _report_errors(played, on_message)
        note = dropped_note(played)
        if note:
            on_message(f"Warning: {note}")
        return [kept[key] for key in asked]


def _report_errors(played: Sequence[Episode], on_message: Callable[[str], Any]) -> None:
    errors = [episode for episode in played if episode.error is not None]
    for episode in errors[:10]:
        on_message(
            f"Error: {episode.condition}, training seed {episode.train_seed}, episode seed "
            f"{episode.episode_seed}: {episode.error}"
        )
    if errors:
        on_message(
            f"{len(errors)} of {len(played)} episodes ended with an error and count for nothing; "
            "the same command plays them again."
        )
