"""Times S training seeds in one program against S runs, one after the other.

python benchmarks/seeds.py --seeds 1 2 4 8
"""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import tyro
from measure import interleaved, print_machine
from training import make_learner, make_windows, updater

from flowguide.train import init


@dataclasses.dataclass(frozen=True)
class Settings:
    """The network and the numbers of seeds."""

    network: str = "256x3"
    """Hidden sizes, as WIDTHxDEPTH; the paper's are 1024x4."""

    batch_size: int = 256
    """Windows in a batch, for each seed; the paper's is 1024."""

    seeds: tuple[int, ...] = (1, 2, 4)
    """Numbers of seeds."""

    updates: int = 20
    """Updates in each compiled call."""

    seconds: float = 60.0
    """Seconds of measuring in all."""


def main(settings: Settings) -> None:
    print_machine()
    width, depth = (int(number) for number in settings.network.split("x"))
    windows = make_windows()

    def runner(seeds: int):
        # As `flowguide train` does: separate critics where that is faster.
        stacked = jax.default_backend() != "cpu"
        learner = make_learner((width,) * depth, stacked=stacked)
        key = jax.random.split(jax.random.key(0), seeds) if seeds > 1 else jax.random.key(0)
        state = init(learner, key)
        memory = sum(x.nbytes for x in jax.tree.leaves(eqx.filter(state.learner, eqx.is_array)))
        run = updater(learner, windows, key, state, settings.updates, settings.batch_size)
        return run, memory

    made = {seeds: runner(seeds) for seeds in sorted({1, *settings.seeds})}
    times = interleaved({str(s): run for s, (run, _) in made.items()}, settings.seconds)
    alone = times["1"]
    print(f"hidden {settings.network}, batch {settings.batch_size}, {len(alone)} rounds")
    print(f"{'seeds':>6} {'ms an update':>13} {'of S runs':>10} {'state, MiB':>11}")
    for seeds, (_, memory) in made.items():
        found = times[str(seeds)]
        print(
            f"{seeds:6d} {np.median(found) / settings.updates * 1e3:13.2f} "
            f"{np.median(found / alone) / seeds:10.2f} {memory / 2**20:11.0f}"
        )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
