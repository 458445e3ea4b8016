"""Which guidance samples what it is meant to sample? In one dimension the answer is known.

python examples/tilted.py --out runs/pictures
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import tyro
from trained import save

import flowguide
from flowguide.diagnose import tilted_distance


def quadratic(observation, action):
    """Right everywhere, also about noise: the critic of examples/guidance_1d.py."""
    return -jnp.sum((action - 1.0) ** 2)


def learnt(observation, action):
    """The same near the data, and waves elsewhere: what a network says of what it never saw."""
    distance = jnp.min(jnp.abs(action - jnp.array([-2.0, 0.0, 1.0])))
    is_unknown = jax.nn.sigmoid(20 * (distance - 0.45))
    return quadratic(observation, action) + is_unknown * 3 * jnp.sum(jnp.sin(6 * action))


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is drawn."""

    out: Path = Path("docs/images")
    """Where the pictures go."""

    samples: int = 2000
    """Actions for each of 8 repetitions."""


METHODS = {
    **{name: getattr(flowguide, name) for name in ("qgf", "qgf_jacobian", "ode", "bptt", "ood")},
    "posterior": flowguide.posterior,
    "qgf_jacobian (1-t)/t": lambda w: flowguide.qgf_jacobian(flowguide.ScoreWeight(w)),
}


def main(settings: Settings) -> None:
    for critic in (quadratic, learnt):
        found = tilted_distance(
            critic, METHODS, num_samples=settings.samples, key=jax.random.key(0)
        )
        print(f"{critic.__name__} critic: Wasserstein distance to the exactly tilted policy")
        print(f"{'weight':>22}" + "".join(f"{w:>21g}" for w in found.weights))
        rows = [(name, found.distance[i]) for i, name in enumerate(found.names)]
        for name, row in [*rows, ("unguided", found.unguided), ("exact", found.exact)]:
            cells = zip(row.value, row.low, row.high, strict=True)
            print(f"{name:>22}" + "".join(f"  {v:.3f} [{a:.3f}, {b:.3f}]" for v, a, b in cells))
        save(found.plot(), settings.out, f"tilted_{critic.__name__}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
