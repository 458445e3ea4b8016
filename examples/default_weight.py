"""Which weight should guidance have when nobody says? Rules and numbers, on the same episodes.

    python examples/default_weight.py --runs runs/small

plays `qgf` under each rule with the policies and critics of examples/ogbench/small.toml, and prints
a table: success on each task, over all of them, and what an action costs. Started
again, it plays what is missing.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from trained import Common, critic_run, CUBE, PUZZLE, trained

import flowguide
from flowguide.evaluate import evaluate_runs
from flowguide.results import compare, Comparison

NUM_ACTIONS = 4
TASKS = (
    CUBE,
    PUZZLE,
    "pointmaze-medium-navigate-singletask-task1-v0",
    "scene-play-singletask-task1-v0",
    "cube-single-play-singletask-task2-v0",
    "puzzle-3x3-play-singletask-task2-v0",
)


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """What is played."""

    tasks: tuple[str, ...] = TASKS
    """OGBench tasks."""

    episodes: int = 10
    """Of each training seed and rule."""


class HalfWay(flowguide.AbstractWeight):
    """A weight between the unit of the task and that of the observation: their geometric mean."""

    here: flowguide.Kappa
    task: flowguide.Kappa

    def bind(self, policy: Any, critic: Any) -> "HalfWay":
        return HalfWay(self.here, self.task.bind(policy, critic))

    def prepare(self, flow: Any, critic: Any) -> "HalfWay":
        return HalfWay(self.here.prepare(flow, critic), self.task)

    def cost(self, flow: Any) -> flowguide.Cost:
        return self.here.cost(flow)

    def __call__(self, point: flowguide.WeightPoint) -> Any:
        return (self.here(point) * self.task(point)) ** 0.5

    @property
    def unit(self) -> str:
        return "half way"

    @property
    def number(self) -> Any:
        return self.here.kappa


class Trusted(flowguide.AbstractWeight):
    """A `Kappa` at the observation that counts only what the critic's members agree on.

    Of the variance of the values over a few actions, that of the members' differences is noise: the
    weight is shrunk by its share, to 0 where there is nothing else.
    """

    kappa: jax.Array
    unit_here: jax.Array | None = None

    def prepare(self, flow: Any, critic: Any) -> "Trusted":
        noises = jax.random.normal(jax.random.key(0), (NUM_ACTIONS, *flow.action_shape))
        actions = jax.vmap(flow.finish)(noises)
        members = jax.vmap(lambda a: critic.members(flow.observation, a))(actions)
        values = members.mean(axis=1)
        count = members.shape[1]
        variance = values.var(ddof=1)
        noise = (members - values[:, None]).var(axis=0, ddof=1).sum() / (count * (count - 1))
        share = jnp.clip(1 - noise / jnp.where(variance > 0, variance, 1), 0, 1)
        spread = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1)), jnp.inf)
        return Trusted(self.kappa, share * actions.var(axis=0, ddof=1).mean() / spread)

    def cost(self, flow: Any) -> flowguide.Cost:
        return NUM_ACTIONS * (flow.action + flowguide.Cost(critic_values=1))

    def __call__(self, point: flowguide.WeightPoint) -> Any:
        assert self.unit_here is not None
        return self.kappa * self.unit_here

    @property
    def unit(self) -> str:
        return "trusted"

    @property
    def number(self) -> Any:
        return self.kappa


def rules(some: Any) -> dict[str, Any]:
    """The guidances by their labels; a task's unit is measured from `some` observations."""
    kappa, relative = flowguide.Kappa, flowguide.Relative
    weights: dict[str, Any] = {
        **{f"raw {w:g}": w for w in (0.03, 0.1, 0.3, 1.0)},
        **{f"kappa {k:g}": kappa(k, some) for k in (3, 5)},
        **{f"local {k:g}": kappa(k) for k in (3, 5, 10)},
        "local 5, 8 actions": kappa(5, num_actions=8),
        "half way 5": HalfWay(kappa(5), kappa(5, some)),
        "trusted 5": Trusted(jnp.float32(5)),
        **{f"relative {a:g}": relative(a) for a in (0.1, 0.2, 0.3, 0.4)},
        "relative 0.2, first skipped": relative(0.2, True),
    }
    guidances = {f"qgf {label}": flowguide.qgf(weight) for label, weight in weights.items()}
    return {"unguided": None, "best of 4": flowguide.best_of_n(4), **guidances}


def table(found: dict[str, list[Comparison]], costs: dict[str, int]) -> list[str]:
    """The lines of a Markdown table: a condition each, and its success on each task."""
    names = [task.replace("-singletask", "").removesuffix("-v0") for task in found]
    head = ["condition", *names, "all", "forward passes"]
    lines = [_line(head), _line(["---"] * len(head))]
    by_task = [{str(row.condition): row for row in rows} for rows in found.values()]
    for label in by_task[0]:
        rates: Sequence[Any] = [rows[label].success for rows in by_task]
        solved, count = sum(round(r.rate * r.count) for r in rates), sum(r.count for r in rates)
        cells = [f"{rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}]" for rate in rates]
        lines.append(_line([label, *cells, f"{solved} of {count}", str(costs[label])]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(settings: Settings) -> None:
    found: dict[str, list[Comparison]] = {}
    costs: dict[str, int] = {}
    for task in settings.tasks:
        agents = trained(task, settings.seeds, settings.runs)
        guidances = rules(agents[0].observations)
        for label, guidance in guidances.items():
            policy = agents[0].policy
            guided = policy if guidance is None else guidance(policy, agents[0].critic)
            costs[label] = guided.cost().forwards()
        folders = [critic_run(settings.runs, task, seed) for seed in settings.seeds]
        file = settings.runs / "default_weight" / f"{task}.jsonl"
        file.parent.mkdir(exist_ok=True)
        played = evaluate_runs(folders, guidances, settings.episodes, file, progress=False)
        found[task] = compare(played)
    print("\n".join(table(found, costs)))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
