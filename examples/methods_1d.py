"""Every method of the catalogue in one dimension, beside the policy that it is meant to sample.

    python examples/methods_1d.py --out runs/pictures

The flow is the exact one to three modes, and the critic is an ensemble of two, which disagree away
from the data. Each panel has the unguided policy, the tilted one where a method aims at it, and the
actions of the method. Nothing is trained.
"""

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from scipy.stats import wasserstein_distance
from trained import save

import flowguide
from flowguide.diagnose import MixtureVelocity
from flowguide.plot import add_legend, add_title, finish_axes, name_outer, new_panels

LOW, HIGH, STEPS = -4.0, 4.0, 50
FIELD = MixtureVelocity()


def member(slope: float) -> flowguide.Critic:
    """The squared distance to 1, with waves where there are no data."""

    def critic(observation, action):
        distance = jnp.min(jnp.abs(action - FIELD.modes))
        is_unknown = jax.nn.sigmoid(20 * (distance - 0.45))
        return -jnp.sum((action - 1.0) ** 2) + is_unknown * slope * jnp.sum(jnp.sin(6 * action))

    return critic


CRITIC = flowguide.Ensemble([member(1.0), member(-1.0)], "mean")


class Labelled(eqx.Module):
    """What a conditioned field learns: good actions are those of the two modes nearest to 1."""

    anything: MixtureVelocity = FIELD
    good: MixtureVelocity = dataclasses.field(default_factory=lambda: MixtureVelocity((0.0, 1.0)))

    def __call__(self, t, action, observation):
        _, label = observation
        fields = self.good(t, action, None), self.anything(t, action, None)
        return jnp.where(label == 1, *fields)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is drawn."""

    out: Path = Path("docs/images")
    """Where the picture goes."""

    actions: int = 4000
    """Actions of each method, all from the same noise."""

    weight: float = 0.5
    """Weight of the gradient methods; the tilted policy is `p(a) exp(weight * Q(a))`."""


def guidances(weight: float) -> dict[str, Any]:
    """Each method of `flowguide.guide`, as it is shown."""
    gradients = (
        *("ood", "qgf", "qgf_regularised", "qgf_jacobian", "qgf_orthogonal"),
        *("posterior", "qpilots", "ode", "bptt"),
    )
    found: dict[str, Any] = {name: getattr(flowguide, name)(weight) for name in gradients}
    return {
        **found,
        "guided_action_flow": flowguide.guided_action_flow(1 / weight),
        "trust_region": flowguide.trust_region(flowguide.qgf(weight), radius=0.5),
        "cfg": flowguide.cfg(1.5),
        "best_of_n": flowguide.best_of_n(4),
        "beam": flowguide.beam(4, levels=(0.5,)),
        "noise_ascent": flowguide.noise_ascent(0.05, steps=4, keep_length=False),
        "grad_step": flowguide.grad_step(0.05, steps=4),
    }


def main(settings: Settings) -> None:
    grid = np.linspace(LOW, HIGH, 2001)
    values = np.asarray(jax.vmap(lambda a: CRITIC(None, a[None]))(jnp.asarray(grid, float)))
    plain = FIELD.density(grid)
    tilted = plain * np.exp(settings.weight * (values - values.max()))
    plain, tilted = (density / np.trapezoid(density, grid) for density in (plain, tilted))

    found = guidances(settings.weight)
    # Words are few, so that three fit side by side, and the last two places have the legend.
    figure, panels = new_panels(len(found) + 1, columns=3, height=1.05, sharex=True, sharey=True)
    print(f"{'method':>20} {'mean Q':>8} {'distance to tilted':>19}")
    for (name, guidance), axes in zip({"unguided": None, **found}.items(), panels, strict=True):
        ends = sample(guidance, settings.actions)
        # An eye needs fewer points than a sum.
        few = grid[::8], plain[::8], tilted[::8]
        axes.fill_between(*few[:2], color="0.85", linewidth=0, label="the policy")
        axes.plot(*few[::2], color="#D55E00", linewidth=1, label="the policy, tilted by Q")
        bins: Any = np.linspace(-3, 3, 121)
        axes.hist(ends, bins, density=True, histtype="step", color="#0072B2", label="actions")
        axes.set_title(name, fontsize=9)
        axes.set(xlim=(-3, 3), ylim=(0, 3.2), xlabel="action", ylabel="density")
        finish_axes(axes, is_rate=False)
        value = np.mean(np.asarray(jax.vmap(lambda a: CRITIC(None, a[None]))(jnp.asarray(ends))))
        distance = wasserstein_distance(ends, grid, None, tilted)
        print(f"{name:>20} {value:8.3f} {distance:19.3f}")
    name_outer(panels)
    add_legend(figure, panels)
    add_title(figure, f"{settings.actions:,} actions of each method, from the same noise", "")
    save(figure, settings.out, "methods_1d")


def sample(guidance: Any, count: int) -> np.ndarray:
    """Finished actions of a guidance, or of the unguided policy."""
    is_labelled = type(guidance).__name__ == "ClassifierFree"
    field = flowguide.ClassifierFreeVelocity(Labelled()) if is_labelled else FIELD
    policy: Any = flowguide.FlowPolicy(field, (1,), num_steps=STEPS, low=LOW, high=HIGH)
    if guidance is not None:
        policy = flowguide.guide(policy, CRITIC, guidance)
    # The first noise is the same for all methods, however many more of them there are.
    inner = policy.noise_shape[:-1]
    noise = jax.random.normal(jax.random.key(0), (int(np.prod(inner)), count, 1))
    noise = jnp.moveaxis(noise, 0, 1).reshape(count, *policy.noise_shape)
    return np.asarray(jax.jit(jax.vmap(lambda n: policy.from_noise(n, None)))(noise))[:, 0]


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
