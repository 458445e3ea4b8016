"""One-dimensional guidance: what each gradient does to the paths from noise to action.

After the one-dimensional example of QGF (arXiv 2606.11087, figure 2). Gaussian noise flows to a
mixture of three modes, and the critic is the negative squared distance to one of them. The velocity
field is the exact one of the mixture, so nothing is trained and nothing is approximated.

    python examples/guidance_1d.py --out guidance_1d.svg
    python examples/guidance_1d.py --methods qgf posterior ode --out others.svg
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

import flowguide
from flowguide.diagnose import MixtureVelocity
from flowguide.plot import add_title, new_figure, save_picture, WIDTH

VELOCITY = MixtureVelocity()
MODES, MODE_STD = np.asarray(VELOCITY.modes), float(VELOCITY.std)
BEST_ACTION = 1.0
WEIGHTS = (0.3, 1.0, 3.0)
COLORS = dict(zip(("#D55E00", "0.55", "#0072B2"), MODES, strict=True))
ENDS = "0.25"
SHOWN_PATHS = 50


def critic(observation: None, action: Float[Array, "1"]) -> Float[Array, ""]:
    del observation
    return -jnp.sum((action - BEST_ACTION) ** 2)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Draws the paths and the finished actions of each method at each weight."""

    out: Path = Path("guidance_1d.svg")
    """Where the picture goes; its dark twin stands beside it."""

    methods: tuple[str, ...] = ("bptt", "ood", "qgf")
    """Gradient methods, a row for each."""

    actions: int = 4000
    """Actions for each histogram; the first 50 are drawn as paths."""

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

    rows = len(settings.methods) + 1
    figure = new_figure(WIDTH, 0.7 + 1.2 * rows)
    grid = figure.subplots(rows, len(WEIGHTS), sharex=True, sharey=True)
    for spare in grid[0, 1:]:
        spare.set_axis_off()
    names = [f"{m} {w:g}" for m in settings.methods for w in WEIGHTS]
    axes: dict[str, Any] = dict(zip(names, grid[1:].flat, strict=True)) | {"unguided": grid[0, 0]}
    print(f"{'method':>12} {'mean Q':>9} {'|a - a*| < 0.3':>15} {'off the modes':>14}")
    for name, trace in panels.items():
        times, actions = np.asarray(trace.times), np.asarray(trace.actions)[..., 0]
        ends = np.asarray(trace.action)[:, 0]
        draw(axes[name], times, actions, ends)
        # How far guidance pushed actions off the data: more than 4 deviations from every mode.
        off_data = np.abs(ends[:, None] - MODES).min(axis=1) > 4 * MODE_STD
        value = -np.mean((ends - BEST_ACTION) ** 2)
        near = np.mean(np.abs(ends - BEST_ACTION) < 0.3)
        print(f"{name:>12} {value:9.3f} {near:15.1%} {off_data.mean():14.1%}")
    for name, row in zip(("unguided", *settings.methods), grid[:, 0], strict=True):
        row.set_ylabel(name, fontsize=9)
    for weight, top, bottom in zip(WEIGHTS, grid[1], grid[-1], strict=True):
        top.set_title(f"w = {weight:g}", fontsize=9)
        bottom.set_xlabel("time", fontsize=9)
    key = [Line2D([], [], color=color, label=f"ends at {mode:g}") for color, mode in COLORS.items()]
    key += [
        Line2D([], [], color="black", linestyle="--", linewidth=0.9, label="best action, a* = 1")
    ]
    key += [Patch(color=ENDS, label="where all actions end")]
    legend = grid[0, 1].legend(handles=key, fontsize=8, frameon=False, loc="upper left")
    # It spans two columns, which stay as wide as the others.
    legend.set_in_layout(False)
    add_title(figure, "Paths of an action from noise, guided towards a* = 1", "")
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    written = save_picture(figure, settings.out)
    print(f"Wrote {' and '.join(map(str, written))}.")


def draw(axes: Axes, times: np.ndarray, actions: np.ndarray, ends: np.ndarray) -> None:
    # A path is coloured by the mode that it ends nearest to. Those of a mode are one line, with
    # gaps, which makes files small.
    nearest = np.abs(ends[:SHOWN_PATHS, None] - MODES).argmin(axis=1)
    gap = np.full((SHOWN_PATHS, 1), np.nan)
    paths = [np.hstack([each[:SHOWN_PATHS], gap]) for each in (times, actions)]
    for mode, color in enumerate(COLORS):
        axes.plot(*(x[nearest == mode].ravel() for x in paths), color=color, linewidth=0.5)
    axes.axhline(BEST_ACTION, color="black", linestyle="--", linewidth=0.9)
    counts, edges = np.histogram(ends, bins=np.linspace(-4, 4, 121), density=True)
    width = 0.35 * counts / counts.max()
    look = {"orientation": "horizontal", "fill": True, "color": ENDS}
    axes.stairs(1.03 + width, edges, baseline=1.03, **look)
    axes.set(xlim=(0, 1.42), ylim=(-3.2, 3.2), xticks=[0, 0.5, 1], yticks=[-2, 0, 1])
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
