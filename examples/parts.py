"""Which part of a guidance matters? Estimate x Jacobian x schedule x normalisation, paired.

    python examples/parts.py --runs runs/small

Every combination meets the same episodes with the same noise, at each weight of its normalisation,
and is compared with `qgf` at a kappa: the one-step estimate, no Jacobian, a constant weight.
Started again, it plays what is missing.
"""

import dataclasses
import itertools
from typing import Any

import tyro
from trained import Common, critic_run, trained

import flowguide
from flowguide.evaluate import evaluate_runs
from flowguide.results import compare

ESTIMATES = {
    "noisy": flowguide.NoisyAction(),
    "one step": flowguide.OneStepEstimate(),
    "posterior": flowguide.PosteriorEstimate(4),
}
JACOBIANS = {"dropped": flowguide.DroppedJacobian(), "exact": flowguide.ExactJacobian()}
SCHEDULES = {"constant": lambda weight: weight, "score": flowguide.ScoreWeight}


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """What is played."""

    kappas: tuple[float, ...] = (3, 10)
    """Weights in units of the task."""

    alphas: tuple[float, ...] = (0.2, 0.5)
    """Weights as shares of the velocity, from the second step on (QPILOTS)."""

    episodes: int = 10
    """Of each training seed and condition."""


def guidances(settings: Settings, observations: Any) -> dict[str, Any]:
    """Each combination by what it is made of."""
    weights = {
        **{f"kappa {kappa:g}": flowguide.Kappa(kappa, observations) for kappa in settings.kappas},
        **{
            f"share {alpha:g}": flowguide.Relative(alpha, skip_first=True)
            for alpha in settings.alphas
        },
    }
    found = {}
    for estimate, jacobian, schedule, weight in itertools.product(
        ESTIMATES, JACOBIANS, SCHEDULES, weights
    ):
        # At the noisy action itself there is no Jacobian, and a share has no schedule: its length
        # is that of the velocity.
        if (estimate == "noisy" and jacobian == "exact") or (
            schedule == "score" and weight.startswith("share")
        ):
            continue
        found[f"{estimate}, {jacobian}, {schedule}, {weight}"] = flowguide.GradientGuidance(
            ESTIMATES[estimate], JACOBIANS[jacobian], SCHEDULES[schedule](weights[weight])
        )
    return {"unguided": None, **found}


def main(settings: Settings) -> None:
    for task in settings.tasks:
        agents = trained(task, settings.seeds, settings.runs)
        folders = [critic_run(settings.runs, task, seed) for seed in settings.seeds]
        file = settings.runs / "parts" / f"{task}.jsonl"
        file.parent.mkdir(exist_ok=True)
        chosen = guidances(settings, agents[0].observations)
        played = evaluate_runs(folders, chosen, settings.episodes, file, progress=False)
        print(f"{task}\n")
        by_label = {each.condition.label: each.condition for each in played}
        for kappa in settings.kappas:
            name = f"one step, dropped, constant, kappa {kappa:g}"
            print(f"Against {name}:\n\n{compare(played, by_label[name])}\n")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
