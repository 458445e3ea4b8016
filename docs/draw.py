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
from matplotlib.figure import Figure

import flowguide
from flowguide.diagnose import MixtureVelocity

VELOCITY = MixtureVelocity(jnp.array([[-1.2, -0.6], [0.1, 1.2], [1.2, -0.5]]), 0.13)
BEST = jnp.array([1.0, -0.2])
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.45"


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
        figure.savefig(settings.out / f"{name}.png")
        print(f"Wrote {settings.out / name}.png.")


def new_figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def idea() -> Any:
    policy = flowguide.FlowPolicy(VELOCITY, (2,), num_steps=50, low=-3.0, high=3.0)
    guided = flowguide.guide(policy, critic, "qgf", weight=0.7)
    noise = jax.random.normal(jax.random.key(3), (60, 2))
    figure = new_figure(11.5, 4.1)
    panels = figure.subplots(1, 3)
    for axes, which, color, title in (
        (panels[0], policy, GREY, "the frozen policy: noise becomes actions of the data"),
        (panels[2], guided, BLUE, "guided: the same noise, the same networks"),
    ):
        paths = np.asarray(jax.vmap(lambda n, which=which: which.trace(n, None).actions)(noise))
        axes.plot(*paths.transpose(2, 1, 0), color=color, linewidth=0.6, alpha=0.6)
        axes.plot(*paths[:, -1].T, ".", color=color, markersize=6)
        axes.set_title(title, fontsize=9.5)
    _one_step(panels[1])
    grid = np.linspace(-2.6, 2.6, 101)
    at = jnp.asarray(np.stack(np.meshgrid(grid, grid), axis=-1))
    values = jax.vmap(jax.vmap(lambda a: critic(None, a)))(at)
    for axes in panels:
        axes.contour(grid, grid, values, levels=12, colors=ORANGE, linewidths=0.5, alpha=0.45)
        axes.plot(*BEST, "*", color=ORANGE, markersize=11)
        axes.set(xlim=(-2.4, 2.4), ylim=(-2.2, 2.2), xticks=[], yticks=[], aspect="equal")
    panels[1].set(xlim=(-1.5, 1.25), ylim=(-1.4, 1.12))
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
        (noisy, "noisy action $a_t$", (-32, 9), "black"),
        (clean, "$\\hat a = a_t + (1 - t)\\,v$", (-22, -17), "black"),
        (noisy + ahead, "$v$", (-13, -2), GREY),
        (clean + 0.55 * gradient, "$\\nabla Q(\\hat a)$", (0, -16), ORANGE),
        (noisy + gradient, "the same, moved to $a_t$", (-70, 8), ORANGE),
        (noisy + ahead + gradient, "$v + w\\,\\nabla Q(\\hat a)$", (5, -5), BLUE),
    ):
        axes.annotate(text, point, shift, textcoords="offset points", fontsize=9, color=color)
    for point in (noisy, clean):
        axes.plot(*point, "o", color="black", markersize=5)
    axes.set_title("one step of qgf: ask the critic about the clean action", fontsize=9.5)


def inside() -> Any:
    from matplotlib.patches import FancyBboxPatch

    figure = new_figure(11.5, 5.6)
    axes = figure.subplots()
    axes.set(xlim=(0, 115), ylim=(0, 56))
    axes.set_axis_off()

    def box(x, y, width, height, title, text="", color="#E8EEF7", edge=BLUE):
        style = "round,pad=0.3,rounding_size=0.8"
        axes.add_patch(
            FancyBboxPatch((x, y), width, height, style, facecolor=color, edgecolor=edge)
        )
        middle = x + width / 2
        top = y + height - 1.2 if text else y + height / 2
        align = "top" if text else "center"
        axes.text(middle, top, title, ha="center", va=align, fontsize=9.5, weight="bold")
        if text:
            axes.text(middle, y + height - 4.4, text, ha="center", va="top", fontsize=8.2)

    def arrow(start, end, color="0.3", bend=0.0):
        style = f"arc3,rad={bend}"
        options = {"arrowstyle": "-|>", "color": color, "connectionstyle": style, "linewidth": 1.4}
        axes.annotate("", end, start, arrowprops=options)

    # The modules, each a plain value away from the next.
    modules = (
        ("flowguide.data", "datasets, batches\nof windows"),
        ("flowguide.train", "policy: cloning;\ncritic: IQL, ..."),
        ("flowguide", "guide(policy, critic)\n-> policy"),
        ("flowguide.evaluate", "paired episodes\nof any guidance"),
        ("flowguide.report", "results: intervals,\ntables, pictures"),
    )
    for i, (name, text) in enumerate(modules):
        box(1 + 23 * i, 45, 19, 9.5, name, text)
        if i:
            arrow((23 * i - 2.4, 49.7), (23 * i + 0.6, 49.7))
    axes.text(1, 40.6, "The way of an action", fontsize=10.5, weight="bold")

    yellow, line = "#FBF3E4", "#B7791F"
    box(1, 17, 13, 8, "noise", "of noise_shape", yellow, line)
    box(19, 5, 75, 33, "", color="#F7F7F7", edge="0.6")
    title = "FlowPolicy.from_noise: diffrax.diffeqsolve, one step for each time"
    axes.text(56.5, 36.5, title, ha="center", va="top", fontsize=9.5, weight="bold")
    box(99, 17, 15, 8, "action", "clipped to bounds", yellow, line)
    arrow((14.4, 21), (18.6, 21))
    arrow((94.4, 21), (98.6, 21))

    box(22, 17, 14, 9, "velocity", "$v(t, a_t, o)$\nyours, frozen")
    box(41, 24, 14, 8.5, "estimate", "$\\hat a$: where the\ncritic is asked")
    box(59, 24, 14, 8.5, "critic", "$\\nabla Q(o, \\hat a)$\nyours, frozen")
    box(77, 24, 14, 8.5, "Jacobian", "dropped, exact,\nin between")
    box(77, 8, 14, 9.5, "shaping, gate,\nweight(t)", "", "#E8EEF7")
    box(50, 8, 18, 9.5, "guided velocity", "$v + w\\,J^\\top\\nabla Q$\nand a step")
    arrow((36.4, 24), (40.6, 27.5))
    arrow((55.4, 28.2), (58.6, 28.2))
    arrow((73.4, 28.2), (76.6, 28.2))
    arrow((84, 23.6), (84, 17.9))
    arrow((76.6, 12.7), (68.4, 12.7))
    arrow((36.4, 18), (49.6, 14))
    arrow((49.6, 10), (29, 16.6), bend=-0.25)
    axes.text(31, 7.6, "next step", fontsize=8.2, color="0.3")
    axes.text(
        57.5,
        1.2,
        "best_of_n, beam, noise_ascent, grad_step, trust_region wrap from_noise; "
        "gradient methods add to the velocity. Both give a policy again.",
        ha="center",
        fontsize=8.4,
        color="0.3",
    )
    return figure


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
