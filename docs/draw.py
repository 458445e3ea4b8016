"""Draws the two pictures that explain, which measure nothing.

python docs/draw.py --out docs/images
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.patches import FancyBboxPatch

import flowguide
from flowguide.diagnose import MixtureVelocity
from flowguide.plot import new_figure, save_picture, WIDTH

VELOCITY = MixtureVelocity(jnp.array([[-1.2, -0.6], [0.1, 1.2], [1.2, -0.5]]), 0.13)
BEST = jnp.array([1.0, -0.2])
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.45"
HEADING: Any = {"fontsize": 9, "weight": "bold", "va": "center"}


def critic(observation, action):
    return -jnp.sum((action - BEST) ** 2)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where the pictures go."""

    out: Path = Path("docs/images")
    """The folder."""


def main(settings: Settings) -> None:
    settings.out.mkdir(parents=True, exist_ok=True)
    for name, figure in (("idea", idea()), ("inside", inside())):
        light, dark = save_picture(figure, settings.out / f"{name}.svg")
        print(f"Wrote {light} and {dark.name}.")


def idea() -> Any:
    policy = flowguide.FlowPolicy(VELOCITY, (2,), num_steps=50, low=-3.0, high=3.0)
    guided = flowguide.guide(policy, critic, "qgf", weight=0.7)
    noise = jax.random.normal(jax.random.key(3), (60, 2))
    figure = new_figure(WIDTH, 5.1)
    places: Any = [["policy", "guided"], ["step", "step"]]
    panels = figure.subplot_mosaic(places, height_ratios=(1, 1))
    for axes, which, color, title in (
        (panels["policy"], policy, GREY, "the frozen policy"),
        (panels["guided"], guided, BLUE, "guided: same noise, same networks"),
    ):
        paths = np.asarray(jax.vmap(lambda n, which=which: which.trace(n, None).actions)(noise))
        # One line with gaps, which makes files small.
        gap = np.full((len(paths), 1, 2), np.nan)
        line = np.concatenate([paths, gap], axis=1).reshape(-1, 2)
        axes.plot(*line.T, color=color, linewidth=0.5, alpha=0.6)
        axes.plot(*paths[:, -1].T, ".", color=color, markersize=5)
        axes.set_title(title, fontsize=9)
    _one_step(panels["step"])
    grid = np.linspace(-2.6, 2.6, 101)
    at = jnp.asarray(np.stack(np.meshgrid(grid, grid), axis=-1))
    values = jax.vmap(jax.vmap(lambda a: critic(None, a)))(at)
    for axes in panels.values():
        axes.contour(grid, grid, values, levels=12, colors=ORANGE, linewidths=0.5, alpha=0.45)
        axes.plot(*BEST, "*", color=ORANGE, markersize=11)
        axes.set(xlim=(-2.4, 2.4), ylim=(-2.2, 2.2), xticks=[], yticks=[], aspect="equal")
    panels["step"].set(xlim=(-1.75, 1.65), ylim=(-0.75, 0.75))
    return figure


def _one_step(axes: Any) -> None:
    """One noisy action, its estimate, and the critic's gradient there, which moves it."""
    t, noisy = 0.6, jnp.array([-1.1, 0.3])
    speed = VELOCITY(t, noisy, None)
    clean = noisy + (1 - t) * speed
    gradient = 0.25 * jax.grad(critic, argnums=1)(None, clean)
    ahead = 0.22 * speed

    def arrow(start, step, color, style="-"):
        end = np.asarray(start + step)
        options = {"arrowstyle": "-|>", "color": color, "linestyle": style, "linewidth": 1.6}
        axes.annotate("", end, np.asarray(start), arrowprops=options | {"shrinkA": 0, "shrinkB": 0})

    arrow(noisy, (1 - t) * speed, GREY, ":")
    arrow(noisy, ahead, GREY)
    arrow(clean, gradient, ORANGE)
    arrow(noisy, gradient, ORANGE)
    arrow(noisy, ahead + gradient, BLUE)
    for point, text, shift, color in (
        (noisy, "noisy action aₜ", (-42, 9), "black"),
        (clean, "clean action â = aₜ + (1 − t) v", (-62, -16), "black"),
        (noisy + ahead, "v", (-12, -2), GREY),
        (clean + 0.55 * gradient, "∇Q(â)", (0, -14), ORANGE),
        (noisy + gradient, "the same, moved to aₜ", (-48, 9), ORANGE),
        (noisy + ahead + gradient, "v + w ∇Q(â)", (6, -6), BLUE),
    ):
        axes.annotate(text, point, shift, textcoords="offset points", fontsize=9, color=color)
    for point in (noisy, clean):
        axes.plot(*point, "o", color="black", markersize=5)
    axes.set_title("one step of qgf: the critic is asked about the clean action", fontsize=9)


def inside() -> Any:
    figure = new_figure(WIDTH, 6.7)
    axes = figure.subplots()
    axes.set(xlim=(0, 104), ylim=(-22, 112))
    axes.set_axis_off()
    _modules(axes)
    _way_of_an_action(axes)
    return figure


def _modules(axes: Any) -> None:
    axes.text(1, 108, "The modules, each a plain value away from the next", **HEADING)
    modules = (
        ("flowguide.data", "datasets, and batches of windows"),
        ("flowguide.train", "a policy: cloning; a critic: IQL, ..."),
        ("flowguide", "guide(policy, critic) -> policy"),
        ("flowguide.evaluate", "paired episodes of any guidance"),
        ("flowguide.report", "results: intervals, tables, pictures"),
    )
    for i, (name, text) in enumerate(modules):
        y = 97 - 10 * i
        _box(axes, 1, y, 37, 7, name)
        axes.text(42, y + 3.5, text, va="center", fontsize=8)
        if i:
            _arrow(axes, (19.5, y + 9.8), (19.5, y + 7.3))


def _way_of_an_action(axes: Any) -> None:
    axes.text(1, 48, "The way of an action", **HEADING)
    yellow = {"color": "#FBF3E4", "edge": "#B7791F"}
    _box(axes, 40, 42, 62, 7, "noise, of noise_shape", **yellow)
    _arrow(axes, (71, 41.7), (71, 38.5))
    _box(axes, 1, -5, 102, 43, "", color="#F4F4F4", edge="0.6")
    title = "FlowPolicy.from_noise: one step for each time of the flow"
    axes.text(52, 35, title, ha="center", va="center", fontsize=8, weight="bold")
    _arrow(axes, (71, -5.3), (71, -8.5))
    _box(axes, 40, -16, 62, 7, "action, clipped to its bounds", **yellow)

    _box(axes, 3, 18, 28, 13, "velocity", "v(t, aₜ, o)\nyours, frozen")
    _box(axes, 38, 18, 28, 13, "estimate", "â: where the\ncritic is asked")
    _box(axes, 73, 18, 28, 13, "critic", "∇Q(o, â)\nyours, frozen")
    _box(axes, 73, -3, 28, 13, "Jacobian J", "dropped, exact\nor in between")
    _box(axes, 38, -3, 28, 13, "weight w(t)", "and shaping,\nand a gate")
    _box(axes, 3, -3, 28, 13, "guided velocity", "v + w Jᵀ∇Q\nand a step")
    for start, end in (
        ((31.4, 24.5), (37.6, 24.5)),
        ((66.4, 24.5), (72.6, 24.5)),
        ((87, 17.6), (87, 10.4)),
        ((72.6, 3.5), (66.4, 3.5)),
        ((37.6, 3.5), (31.4, 3.5)),
        ((24, 17.6), (24, 10.4)),
        ((9, 10.4), (9, 17.6)),
    ):
        _arrow(axes, start, end)
    axes.text(25.5, 14, "v", va="center", fontsize=8, color="0.3")
    axes.text(10.5, 14, "next step", va="center", fontsize=8, color="0.3")


def _box(axes: Any, x, y, width, height, title, text="", color="#E8EEF7", edge=BLUE) -> None:
    style = "round,pad=0.3,rounding_size=0.8"
    look: Any = {"facecolor": color, "edgecolor": edge}
    axes.add_patch(FancyBboxPatch((x, y), width, height, style, **look))
    middle, top = x + width / 2, y + height
    place = (middle, top - 1) if text else (middle, y + height / 2)
    align = "top" if text else "center"
    axes.text(*place, title, ha="center", va=align, fontsize=8, weight="bold")
    axes.text(middle, top - 4.6, text, ha="center", va="top", fontsize=8)


def _arrow(axes: Any, start, end) -> None:
    options = {"arrowstyle": "-|>", "color": "0.3", "linewidth": 1.2}
    axes.annotate("", end, start, arrowprops=options | {"shrinkA": 0, "shrinkB": 0})


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
