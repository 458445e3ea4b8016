"""What is compared: methods, their weights, and the table of what they reach."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flowguide as fg
from flowguide.evaluate import Agent, evaluate, Pool
from flowguide.results import compare, Episode, read_episodes, summarise, write_episodes

from .clone import PLAY


class Evaluation:
    """Episodes of one policy, in tasks by turns, with several critics, kept in files."""

    def __init__(
        self,
        agents: Mapping[int, Agent],
        make: Callable[[], Any],
        folder: Path,
        tasks: Sequence[str],
        num_envs: int | None,
        say: Callable[[str], Any],
    ):
        self.agents, self.make, self.folder, self.say = agents, make, folder, say
        self.tasks, self.num_envs = tasks, num_envs

    def choose(
        self, kappas: Sequence[float], betas: Sequence[float], seeds: range
    ) -> dict[str, Any]:
        """The best weight of each method in these episodes, with the first critic."""
        methods = {
            "qgf": {f"kappa {k:g}": fg.qgf(weight=fg.Kappa(k)) for k in kappas},
            "gaf": {f"beta {b:g}": gated(b) for b in betas},
            "gaf, no gate": {f"beta {b:g}": ungated(b) for b in betas},
        }
        candidates = {
            f"{method}, {weight}": guidance
            for method, several in methods.items()
            for weight, guidance in several.items()
        }
        first = dict([next(iter(self.agents.items()))])
        played = self._play("validation.jsonl", first, {"unguided": None, **candidates}, seeds)
        solved = {c.label: success.rate for c, success in summarise(played).items()}
        best = {}
        for method, several in methods.items():
            labels = {weight: f"{method}, {weight}" for weight in several}
            weight = max(several, key=lambda weight: solved[labels[weight]])
            best[f"{method}, {weight}"] = several[weight]
        self.say("in validation: " + "; ".join(f"{k} {v:.2f}" for k, v in solved.items()))
        return best

    def test(self, best: Mapping[str, Any], seeds: range) -> None:
        """Plays the chosen ones and those without a weight, and prints how they compare."""
        (label, tuned), *_ = best.items()
        arms = {
            "qgf, default": fg.qgf(),
            **best,
            "best of 4": fg.best_of_n(4),
            "best of 16": fg.best_of_n(16),
            f"{label}, best of 4": [tuned, fg.best_of_n(4)],
        }
        # Without guidance no critic is asked: one of them plays for all.
        number, agent = next(iter(self.agents.items()))
        unguided = self._play("unguided.jsonl", {number: agent}, {"unguided": None}, seeds)
        played = self._play("test.jsonl", self.agents, arms, seeds)
        for seed in self.agents:
            played += [dataclasses.replace(e, train_seed=seed) for e in unguided]
        # Of the unguided policy, of the one without the gate, and of what costs about as much.
        ungated_label = next(each for each in best if each.startswith("gaf, no gate"))
        tables = [as_table(played, each) for each in ("unguided", ungated_label, "best of 4")]
        if len(self.tasks) > 1:
            tables.append(by_task(played, self.tasks))
        text = "\n".join(tables)
        (self.folder / "table.md").write_text(text)
        self.say(f"{len(seeds)} episodes with each of {len(self.agents)} critics\n{text}")

    def _play(
        self,
        file: str,
        agents: Mapping[int, Agent],
        guidances: Mapping[str, Any],
        seeds: range,
    ) -> list[Episode]:
        path = self.folder / file
        episodes = read_episodes(path)
        with Pool() as pool:
            for label, guidance in guidances.items():
                episodes += evaluate(
                    list(agents.values()),
                    self.make,
                    {label: guidance},
                    seeds,
                    replan=PLAY,
                    success_at="any",
                    num_envs=self.num_envs,
                    finished=[e for e in episodes if e.condition.label == label],
                    pool=pool,
                )
                write_episodes(path, episodes)
        # An earlier run may have played more.
        return [e for e in episodes if e.condition.label in guidances]


def gated(beta: float) -> Any:
    """Guided Action Flow as its published code has it: the gate is at least 0.1."""
    return fg.guided_action_flow(beta, scale=20.0, floor=0.1)


def ungated(beta: float) -> Any:
    """The same without the gate."""
    return fg.guided_action_flow(beta, scale=0.0)


def as_table(episodes: list[Episode], baseline: str) -> str:
    """A row for each arm: success, and what it gains on the one of this label."""
    conditions = {each.condition.label: each.condition for each in episodes}
    rows = compare(episodes, conditions[baseline])
    lines = [
        f"| against {baseline} | success | gained, lost | difference [95%] "
        "| velocities, critic values, gradients |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        success = row.success
        assert success is not None
        text = f"{success.rate:.3f} [{success.low:.3f}, {success.high:.3f}]"
        cells = [row.condition.label, text, "", "", ""]
        if row.difference is not None:
            d = row.difference
            cells[2:4] = [
                f"{row.gained}, {row.lost}",
                f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]",
            ]
        if row.cost is not None:
            c = row.cost
            cells[4] = f"{c.velocities}, {c.critic_values}, {c.critic_gradients}"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def by_task(episodes: list[Episode], tasks: Sequence[str]) -> str:
    """A row for each arm, and its success in each of the tasks that seeds take by turns."""
    columns = [
        summarise([e for e in episodes if e.episode_seed % len(tasks) == i])
        for i in range(len(tasks))
    ]
    lines = [f"| | {' | '.join(tasks)} |", "|---" * (len(tasks) + 1) + "|"]
    for condition in columns[0]:
        rates = [f"{column[condition].rate:.2f}" for column in columns]
        lines.append(f"| {' | '.join([condition.label, *rates])} |")
    return "\n".join(lines) + "\n"
