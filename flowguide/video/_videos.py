"""Videos of paired episodes, side by side: which ones."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector.utils import CloudpickleWrapper

from .._agent.act import act, default_batch_size
from .._agent.agents import Agent
from .._agent.cross import check_guidances
from .._agent.finished import check_descriptions
from .._agent.guided import Guided, put_together
from .._agent.runs import load_runs
from .._checks import as_positive_int
from .._results.conditions import Condition, UNGUIDED
from .._results.episodes import Episode
from .._results.statistics import rank
from .._rollout.by_name import spec_of
from .._rollout.make_player import player_spaces
from .._rollout.rules import rescaling, Rules
from .._system.files import as_file_name
from ._film import Film, Shot
from ._process import in_process

MAX_PANELS = 4


def record_videos(
    runs: Sequence[str | os.PathLike],
    guidances: Mapping[str, Any],
    episodes: Sequence[Episode],
    count: int,
    folder: str | os.PathLike,
    *,
    train_seed: int | None = None,
    frames: int = 80,
    size: int = 320,
    on_message: Callable[[str], Any] = print,
) -> list[Path]:
    """Plays some evaluated episodes again, and films each under several conditions side by side.

    The panels are the unguided policy and, of each curve (`Condition.series`), the condition with
    the highest success; the best curves if there are more than three. Episodes that the best of
    them gained come first, then those that it lost, then the others, so the videos are a choice:
    they show what guidance changes, and nothing of how often.

    A process of its own renders, because MuJoCo decides how when it is imported. Where that does
    not work, `on_message` says why, and there are no videos. A replay that ends otherwise than the
    evaluation is reported, and marked in the video.

    **Arguments:**

    - `runs`: folders of `flowguide train`, which played the episodes.
    - `guidances`: by their labels, as `evaluate_runs` took them.
    - `episodes`: what it returned, or some of it.
    - `count`: at most so many episodes, a video each.
    - `folder`: gets `<task>_seed_<n>.mp4`; made if missing.
    - `train_seed`: whose episodes; by default the first.
    - `frames`: at most so many of each episode, before its last one is held.
    - `size`: pixels, the height of a panel and the width of most.
    - `on_message`: called with each sentence for the user.

    **Returns:**

    The files.

    **Raises:**

    `ValueError` for episodes that the runs or the guidances did not play, or without one that all
    panels share.
    """
    check_guidances(guidances)
    check_descriptions(guidances, episodes, "What is to be filmed")
    count, frames = as_positive_int("count", count), as_positive_int("frames", frames)
    size = as_positive_int("size", size)
    panels, left_out = choose_panels(episodes)
    seeds = sorted({episode.train_seed for episode in episodes})
    train_seed = seeds[0] if train_seed is None else train_seed
    mine = [episode for episode in episodes if episode.train_seed == train_seed]
    chosen = choose_episodes(mine, panels)
    if not chosen:
        raise ValueError(
            f"Of training seed {train_seed} there is no episode that all of "
            f"{', '.join(map(str, panels))} played without an error; there are the training seeds "
            f"{seeds}."
        )
    guidances = {UNGUIDED: None, **guidances}
    missing = [str(panel) for panel in panels if panel.label not in guidances]
    if missing:
        raise ValueError(
            f"The guidances of {', '.join(missing)} are missing: expected those that played the "
            f"episodes, got {list(guidances)}."
        )
    film, agent = _film(runs, mine[0])
    mapped = None
    if film.rules.rescale:
        mapped = rescaling(agent.policy, player_spaces(film.environment, film.rules)[1])
    guided = {c.label: put_together(agent, c.label, guidances[c.label], mapped) for c in panels}
    shots = _shots(Path(folder).expanduser(), chosen[:count])
    film = dataclasses.replace(film, shots=shots, frames=frames, size=size)
    on_message(_chosen(panels, left_out, chosen, len(shots)))
    finished: list[Path] = []

    def receive(kind: str, text: str) -> None:
        if kind == "file":
            finished.append(Path(text))
        else:
            on_message(text)

    problem = in_process(film.record, receive, lambda *asked: _choose(guided, *asked))
    if problem:
        on_message(f"No videos: {problem}")
    return finished


def _choose(
    guided: Mapping[str, Guided], label: str, observations: Any, seed: int, decision: int
) -> np.ndarray:
    """The action that the evaluation chose there: same noise, same batch size."""
    actions, _ = act(
        *([guided[label]], observations, [seed], [decision]), batch_size=default_batch_size()
    )
    return actions[0]


def _film(runs: Sequence[str | os.PathLike], episode: Episode) -> tuple[Film, Agent]:
    """And the agent that played the episode."""
    loaded = load_runs(runs, episode.training, episode.task)
    agent = next((a for a in loaded.agents if a.train_seed == episode.train_seed), None)
    if agent is None or agent.model != episode.model:
        raise ValueError(
            f"The runs {', '.join(map(str, runs))} did not play these episodes: those are of "
            f"training seed {episode.train_seed} with the parameters {episode.model!r}."
        )
    rules = Rules(goal_conditioned=loaded.goal_conditioned, **episode.rules)
    return Film(episode.task, rules, spec=_spec(episode.task)), agent


def _spec(environment: str) -> CloudpickleWrapper | None:
    spec = spec_of(environment)
    return None if spec is None else CloudpickleWrapper(spec)


def _shots(folder: Path, chosen: Sequence[tuple[str, list[Episode]]]) -> list[Shot]:
    folder.mkdir(parents=True, exist_ok=True)
    shots = []
    for change, pairs in chosen:
        name = as_file_name(pairs[0].task)
        file = folder / f"{name}_seed_{pairs[0].episode_seed}.mp4"
        shots.append(Shot(file, f"{change} by {pairs[1].condition}" if change else "", pairs))
    return shots


def video_problem(
    runs: Sequence[str | os.PathLike], *, training: str = "", environment: str | None = None
) -> str | None:
    """Why no videos can be made on this machine, and what to do; None if they can.

    It renders one frame, which takes some seconds: ask before a long evaluation.

    **Arguments:**

    - `runs`, `training`, `environment`: as in `evaluate_runs`.

    **Raises:**

    What `evaluate_runs` raises for runs that it cannot play.
    """
    loaded = load_runs(runs, training, environment)
    film = Film(loaded.environment, spec=_spec(loaded.environment))
    return in_process(film.check, lambda kind, text: None)


def choose_panels(episodes: Sequence[Episode]) -> tuple[list[Condition], list[Condition]]:
    """The conditions that are worth a panel: unguided, and the best of each curve.

    **Arguments:**

    - `episodes`: of one task and one way of training. All training seeds count.

    **Returns:**

    The panels, unguided first, and the best conditions of the curves for which there is no room.

    **Raises:**

    `ValueError` for no episodes, or those of several tasks or ways of training.
    """
    kinds = sorted({(episode.task, episode.training) for episode in episodes})
    if len(kinds) != 1:
        raise ValueError(f"Expected the episodes of one task and one way of training, got {kinds}.")
    ranks = {c: rank(c, episodes) for c in sorted({e.condition for e in episodes})}
    best: dict[str, Condition] = {}
    for condition in sorted(ranks, key=lambda c: ranks[c], reverse=True):
        best.setdefault(condition.series, condition)
    # In falling order: the first is the best.
    unguided = [c for c in best.values() if c.label == UNGUIDED]
    others = [c for c in best.values() if c.label != UNGUIDED]
    room = MAX_PANELS - len(unguided)
    return [*unguided, *others[:room]], others[room:]


def choose_episodes(
    episodes: Sequence[Episode], panels: Sequence[Condition]
) -> list[tuple[str, list[Episode]]]:
    """The episodes that all panels played, in the order in which they are worth a video.

    **Arguments:**

    - `episodes`: of one training seed.
    - `panels`: what `choose_panels` returned: the second is compared with the first.

    **Returns:**

    For each episode seed what became of it (`"gained"`, `"lost"`, or `""` where the two agree) and
    the episode of each panel; gained ones first, then those that were lost.
    """
    by_key = {(e.condition, e.episode_seed): e for e in episodes if e.error is None}
    seeds = sorted({e.episode_seed for e in episodes})
    played = [
        [by_key[panel, seed] for panel in panels]
        for seed in seeds
        if all((panel, seed) in by_key for panel in panels)
    ]
    chosen = [(_change(pairs), pairs) for pairs in played]
    return sorted(chosen, key=lambda each: ("gained", "lost", "").index(each[0]))


def _change(pairs: Sequence[Episode]) -> str:
    if len(pairs) < 2 or pairs[0].success == pairs[1].success:
        return ""
    return "gained" if pairs[1].success else "lost"


def _chosen(
    panels: Sequence[Condition],
    left_out: Sequence[Condition],
    chosen: Sequence[tuple[str, list[Episode]]],
    count: int,
) -> str:
    kinds = [kind for kind, _ in chosen]
    videos = f"{count} video{'s' if count > 1 else ''}"
    sentence = f"{videos}, of {len(chosen)} episodes. Panels: {'; '.join(map(str, panels))}."
    if left_out:
        sentence += f" No room for {'; '.join(map(str, left_out))}."
    if len(panels) > 1:
        gained, lost = kinds.count("gained"), kinds.count("lost")
        sentence += f" Against {panels[0]}, {panels[1]} gained {gained} and lost {lost} of them."
    return sentence
