"""One-dimensional guidance: what each gradient does to the paths from noise to action.

After the one-dimensional example of QGF (arXiv 2606.11087, figure 2). Gaussian noise flows to a
mixture of three modes, and the critic is the negative squared distance to one of them. The velocity
field is the exact one of the mixture, so nothing is trained and nothing is approximated.

    python examples/guidance_1d.py --out guidance_1d.png
    python examples/guidance_1d.py --methods qgf posterior ode --out others.png
"""

import dataclasses
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import flowguide
from flowguide.diagnose import MixtureVelocity

VELOCITY = MixtureVelocity()
MODES, MODE_STD = np.asarray(VELOCITY.modes), float(VELOCITY.std)
BEST_ACTION = 1.0
WEIGHTS = (0.3, 1.0, 3.0)
SHOWN_PATHS = 120


def critic(observation: None, action: Float[Array, "1"]) -> Float[Array, ""]:
    del observation
    return -jnp.sum((action - BEST_ACTION) ** 2)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Draws the paths and the finished actions of each method at each weight."""

    out: Path = Path("guidance_1d.png")
    """Where the picture goes."""

    methods: tuple[str, ...] = ("bptt", "ood", "qgf")
    """Gradient methods, a row for each."""

    actions: int = 4000
    """Actions for each histogram; the first 120 are drawn as paths."""

    steps: int = 50
    """Euler steps."""

    seed: int = 0
    """Seed of the noise; all panels start from the same noise."""


def main(settings: Settings) -> None:
    policy = flowguide.FlowPolicy(VELOCITY, (1,), num_steps=settings.steps, low=-4.0, high=4.0)
    noise = jax.random.normal(jax.random.key(settings.seed), (settings.actions, 1))

    @jax.jit
    def unguided(noise):
        return jax.vmap(lambda n: policy.trace(n, None))(noise)

    panels = {"unguided": unguided(noise)}
    for method in settings.methods:

        @jax.jit
        def guided(noise, weight, method=method):
            one = flowguide.guide(policy, critic, method, weight=weight)
            return jax.vmap(lambda n: one.trace(n, None))(noise)

        for weight in WEIGHTS:
            panels[f"{method} {weight:g}"] = guided(noise, weight)

    figure = Figure(figsize=(12, 0.9 + 2.25 * len(settings.methods)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    layout = [["unguided", *(f"{m} {w:g}" for w in WEIGHTS)] for m in settings.methods]
    axes: Any = figure.subplot_mosaic(cast(Any, layout), sharex=True, sharey=True)
    print(f"{'method':>12} {'mean Q':>9} {'|a - a*| < 0.3':>15} {'off the modes':>14}")
    for name, trace in panels.items():
        times, actions = np.asarray(trace.times), np.asarray(trace.actions)[..., 0]
        ends = np.asarray(trace.action)[:, 0]
        draw(axes[name], times, actions, ends)
        title(axes[name], name)
        # How far guidance pushed actions off the data: more than 4 deviations from every mode.
        off_data = np.abs(ends[:, None] - MODES).min(axis=1) > 4 * MODE_STD
        value = -np.mean((ends - BEST_ACTION) ** 2)
        near = np.mean(np.abs(ends - BEST_ACTION) < 0.3)
        print(f"{name:>12} {value:9.3f} {near:15.1%} {off_data.mean():14.1%}")
    for method in settings.methods:
        axes[f"{method} {WEIGHTS[0]:g}"].set_ylabel("action")
    for weight in WEIGHTS:
        axes[f"{settings.methods[-1]} {weight:g}"].set_xlabel("time of the flow")
    axes["unguided"].set(xlabel="time of the flow", ylabel="action")
    figure.suptitle(
        "Paths from the same noise to three modes, guided towards a* = 1 (dashed); "
        "at the right of each panel, where they end"
    )
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(settings.out)
    print(f"Wrote {settings.out}.")


def title(axes: Axes, name: str) -> None:
    method, _, weight = name.partition(" ")
    axes.set_title(f"{method}, w = {weight}" if weight else method, fontsize=10)


def draw(axes: Axes, times: np.ndarray, actions: np.ndarray, ends: np.ndarray) -> None:
    # A path is coloured by the mode that it ends nearest to.
    nearest = np.abs(ends[:, None] - MODES).argmin(axis=1)
    colors = np.array(["#D55E00", "0.55", "#0072B2"])
    for path_times, path, mode in zip(
        times[:SHOWN_PATHS], actions[:SHOWN_PATHS], nearest[:SHOWN_PATHS], strict=True
    ):
        axes.plot(path_times, path, color=colors[mode], linewidth=0.6, alpha=0.5)
    axes.axhline(BEST_ACTION, color="black", linestyle="--", linewidth=0.9)
    counts, edges = np.histogram(ends, bins=np.linspace(-4, 4, 121), density=True)
    width = 0.35 * counts / counts.max()
    axes.barh(edges[:-1], width, np.diff(edges), left=1.03, align="edge", color="0.25")
    axes.set(xlim=(0, 1.42), ylim=(-3.2, 3.2), xticks=[0, 0.5, 1])
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
