"""Episodes that are there already: who played them, and how."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from .._describe import describe
from .._results.episodes import Episode
from .._rollout.rules import Rules
from .agents import Agent


def check_same(
    where: str, episodes: Collection[Episode], agents: Sequence[Agent], task: str, rules: Rules
) -> list[Episode]:
    """The episodes of these agents and this task.

    **Arguments:**

    - `where`: they are, for the error.
    - `episodes`: what is there.
    - `agents`, `task`, `rules`: what plays now. Results of earlier versions name no model.

    **Raises:**

    `ValueError` if another policy or critic played some of them under the same name, or by other
    rules.
    """
    models = {(task, agent.training, agent.train_seed): agent.model for agent in agents}
    mine = []
    for episode in episodes:
        model = models.get((episode.task, episode.training, episode.train_seed))
        if model is None:
            continue
        who = f"{where} holds episodes of training seed {episode.train_seed}"
        advice = "Name this one's --training differently, or choose another file."
        if episode.model not in ("", model):
            raise ValueError(
                f"{who} that another policy or critic played (model {episode.model!r}; this one is "
                f"{model!r}): parameters, bounds, steps or solver differ, or flowguide 0.1.0 "
                f"played them. {advice}"
            )
        differ = [
            f"{name} {theirs!r} there, {getattr(rules, name)!r} here"
            for name, theirs in episode.rules.items()
            if theirs != getattr(rules, name)
        ]
        if differ:
            raise ValueError(
                f"{who} that were played by other rules: {'; '.join(differ)}. {advice}"
            )
        mine.append(episode)
    return mine


def check_descriptions(
    guidances: Mapping[str, Any], episodes: Iterable[Episode], where: str
) -> None:
    """Refuses episodes that another guidance played under a label of the mapping.

    **Arguments:**

    - `guidances`: what is asked for.
    - `episodes`: what is there. Those of flowguide 0.1.0 say of no guidance what it was.
    - `where`: they are, for the error.

    **Raises:**

    `ValueError` for one that says something else.
    """
    asked = {label: describe(guidance) for label, guidance in guidances.items()}
    for episode in episodes:
        label = episode.condition.label
        if episode.guidance and asked.get(label, episode.guidance) != episode.guidance:
            raise ValueError(
                f"{where} holds episodes of {episode.guidance} under the label {label!r}, which is "
                f"now the label of {asked[label]}: give one of them another label."
            )


def versions_note(episodes: Iterable[Episode], here: Mapping[str, str | None]) -> str | None:
    """Says that other versions of packages played some episodes; None where they did not."""
    others: dict[str, set[str]] = {}
    count = 0
    for episode in episodes:
        differ = {k: v for k, v in (episode.versions or {}).items() if here.get(k) != v}
        count += bool(differ)
        for name, version in differ.items():
            others.setdefault(name, set()).add(str(version))
    if not count:
        return None
    listed = ", ".join(
        f"{name} {' and '.join(sorted(versions))} (not {here.get(name)})"
        for name, versions in sorted(others.items())
    )
    return (
        f"{count:,} episodes were played by other versions than the rest: {listed}. Numbers can be "
        "rounded in another way there, so episodes of both are no pairs to the last bit."
    )
