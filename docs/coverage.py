"""How often the intervals of a report hold the truth, in simulated data.

python docs/coverage.py
"""

import dataclasses

import numpy as np
import tyro

from flowguide.results import (
    compare,
    Condition,
    Episode,
    interquartile_mean,
)

# Pairs, and the chances that one is gained and that it is lost.
PAIRS = [(10, 0.1, 0.0), (20, 0.98, 0.0), (20, 0.3, 0.1), (50, 0.3, 0.1), (50, 0.9, 0.0)]
# Episode seeds, and how often three training seeds do the same in one; 0.1 are gained, none lost.
ALIKE = [(count, alike) for count in (20, 50) for alike in (0.0, 0.5, 1.0)]
TASKS, SEEDS, DEVIATION = (4, 20), (2, 3, 5, 10), 0.1


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much is simulated."""

    data_sets: int = 400
    """Of each case."""


def main(settings: Settings) -> None:
    print("pairs gained lost: share of the intervals of a difference that hold the truth")
    for case in PAIRS:
        print(*case, f"{_differences(*case, settings.data_sets):.0%}")
    print("episode seeds, alike: the same of three training seeds")
    for count, alike in ALIKE:
        share = _differences(count, 0.1, 0.0, settings.data_sets, alike=alike, train_seeds=3)
        print(count, alike, f"{share:.0%}")
    print("tasks seeds: the same of an interquartile mean")
    for tasks in TASKS:
        for seeds in SEEDS:
            print(tasks, seeds, f"{_interquartile_means(tasks, seeds, settings.data_sets):.0%}")


def _differences(
    count: int,
    gained: float,
    lost: float,
    data_sets: int,
    *,
    alike: float = 1.0,
    train_seeds: int = 1,
) -> float:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(data_sets):
        own = generator.random((train_seeds, count))
        drawn = np.where(generator.random((train_seeds, count)) < alike, own[:1], own)
        before, after = drawn > 1 - lost, drawn < gained
        found = compare([*_played("unguided", before), *_played("guided", after)])[1].difference
        assert found is not None
        held += found.low - 1e-9 <= gained - lost <= found.high + 1e-9
    return held / data_sets


def _played(label: str, outcomes: np.ndarray) -> list[Episode]:
    condition = Condition(label)
    return [
        Episode(condition, train_seed, seed, bool(success), float(success), 1)
        for (train_seed, seed), success in np.ndenumerate(outcomes)
    ]


def _interquartile_means(tasks: int, seeds: int, data_sets: int) -> float:
    """Of tasks that differ in how hard they are, with scores that scatter by `DEVIATION`."""
    generator = np.random.default_rng(0)
    means = np.linspace(0.2, 0.8, tasks)

    def scores(count: int) -> dict[str, np.ndarray]:
        drawn = means[:, None] + DEVIATION * generator.normal(size=(tasks, count))
        return {str(task): each for task, each in enumerate(drawn)}

    everything = np.sort(np.concatenate([*scores(5000).values()]))
    truth = np.mean(everything[len(everything) // 4 : -(len(everything) // 4)])
    found = [interquartile_mean(scores(seeds)) for _ in range(data_sets)]
    return float(np.mean([each.low <= truth <= each.high for each in found]))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
