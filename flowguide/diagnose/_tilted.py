import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree
from scipy.stats import wasserstein_distance

from .._catalogue import method_named
from .._critic import Critic
from .._guide import guide
from .._policy import FlowPolicy
from .._results.means import Means, means
from ..plot import (
    add_legend,
    add_title,
    finish_axes,
    MAX_IN_PANEL,
    method_style,
    name_outer,
    new_panels,
    scale_weights,
)

METHOD_NAMES = ("qgf", "qgf_jacobian", "ode", "bptt", "ood", "posterior")
# The exact density is summed on so many points.
_GRID = 4001
# Each distance is measured that often, from samples of their own.
_REPEATS = 8
# Modes of the example of QGF's figure 2.
MODES = (-2.0, 0.0, 1.0)
MODE_STD = 0.15


class MixtureVelocity(eqx.Module):
    r"""The exact velocity field from $N(0, I)$ to a mixture of Gaussians.

    For mode k the point $(1 - t)\,\epsilon + t\,a$ is Gaussian with mean $t \mu_k$; the velocity is
    the mean of $a - \epsilon$ given that point, averaged over the modes.

    **Arguments:**

    - `modes`: the means of the Gaussians, shape `(M,)` in one dimension, or `(M, D)`. All are
        equally likely.
    - `std`: the standard deviation of each, in every direction.
    """

    modes: Float[Array, "M *D"]
    std: Float[Array, ""]

    def __init__(self, modes: Sequence[float] | ArrayLike = MODES, std: float = MODE_STD):
        self.modes, self.std = jnp.asarray(modes, float), jnp.asarray(std, float)

    def __call__(
        self, t: Float[ArrayLike, ""], action: Float[Array, " D"], observation: PyTree
    ) -> Float[Array, " D"]:
        del observation
        modes = self.modes.reshape(len(self.modes), -1)
        variance = (1 - t) ** 2 + (t * self.std) ** 2
        distance = action[None] - t * modes
        responsibility = jax.nn.softmax(-jnp.sum(distance**2, axis=1) / (2 * variance))
        target = modes + t * self.std**2 * distance / variance
        noise = (1 - t) * distance / variance
        return jnp.sum(responsibility[:, None] * (target - noise), axis=0)

    def density(self, action: np.ndarray) -> np.ndarray:
        """The density of a mixture in one dimension at points `(P,)`, not normalised."""
        distance = action[:, None] - np.asarray(self.modes, np.float64)
        return np.exp(-(distance**2) / (2 * float(self.std) ** 2)).sum(1)


@dataclasses.dataclass(frozen=True)
class TiltedDistance:
    """How far each guidance is from sampling what it is meant to sample.

    **Attributes:**

    - `names`: of the methods, G of them.
    - `weights`: W guidance weights, each for the tilt with `beta = 1 / weight`.
    - `distance`: the Wasserstein-1 distance to the tilted density, `Means` of shape `(G, W)`.
    - `exact`: that of samples of the tilted density itself, shape `(W,)`: no method gets below it.
    - `unguided`: that of unguided actions, shape `(W,)`.
    - `num_samples`: of which each distance is made.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    distance: Means
    exact: Means
    unguided: Means
    num_samples: int

    def plot(self) -> Any:
        """A matplotlib figure: distances against the weight.

        More than five methods have a panel each, with the others in grey.
        """
        several = [[name] for name in self.names]
        if len(self.names) <= MAX_IN_PANEL:
            several = [list(self.names)]
        columns, height = (2, 1.5) if len(several) > 1 else (1, 3.2)
        shared: dict[str, Any] = {"sharex": True, "sharey": True}
        figure, panels = new_panels(len(several), columns=columns, height=height, **shared)
        for axes, names in zip(panels, several, strict=True):
            self._draw(axes, names)
            if len(several) > 1:
                axes.set_title(names[0], fontsize=9)
        name_outer(panels)
        add_legend(figure, panels)
        below = f"{_REPEATS} x {self.num_samples} actions each, 95% intervals"
        add_title(figure, "Distance to the exactly tilted policy", below)
        return figure

    def _draw(self, axes: Any, names: Sequence[str]) -> None:
        for i, name in enumerate(self.names):
            distance = self.distance[i]
            color, marker = method_style(name, i)
            if name not in names:
                axes.plot(self.weights, distance.value, color="0.87", linewidth=1, zorder=0)
                continue
            axes.errorbar(
                *(self.weights, distance.value),
                [distance.value - distance.low, distance.high - distance.value],
                color=color,
                marker=marker,
                markersize=5,
                capsize=2,
                linewidth=1.5,
                label=name,
            )
        for distance, label, line in (
            (self.unguided, "unguided", "--"),
            (self.exact, "exact", ":"),
        ):
            axes.plot(self.weights, distance.value, color="0.45", linestyle=line, label=label)
        scale_weights(axes, list(self.weights))
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set(xlabel="weight, 1 / beta", ylabel="distance")
        finish_axes(axes, is_rate=False)


def tilted_distance(
    critic: Critic,
    methods: Mapping[str, Any] | Sequence[str] = METHOD_NAMES,
    weights: Sequence[float] = (0.1, 0.3, 1.0, 3.0, 10.0),
    *,
    velocity: MixtureVelocity | None = None,
    num_steps: int = 50,
    num_samples: int = 2000,
    bounds: tuple[float, float] = (-4.0, 4.0),
    key: PRNGKeyArray,
) -> TiltedDistance:
    r"""Ranks guidances by truth: where the policy is known, so is $p(a)\, e^{Q(a) / \beta}$.

    The policy is the exact flow of a mixture in one dimension, so that what is left is the error of
    the guidance and of `num_steps` Euler steps. The Wasserstein distance between guided actions
    and the tilted density, which is summed on a grid, is in units of the action.

    **Arguments:**

    - `critic`: any `critic(None, action)` of actions of shape `(1,)`.
    - `methods`: names of methods with a weight, or constructors of guidances, called with the
        weight, by the names in the figure.
    - `weights`: $1 / \beta$.
    - `velocity`: the policy's field; by default three modes, as in QGF's figure 2.
    - `num_steps`: Euler steps.
    - `num_samples`: actions for each of 8 repetitions.
    - `bounds`: of the actions, and of the density.
    - `key`: of the noise, the same for all methods.

    **Returns:**

    A `TiltedDistance`.

    **Raises:**

    `ValueError` for an unknown method.

    Source: the tilted policy is the aim of QGF (arXiv 2606.11087); the distance is ours.
    """
    is_named = not isinstance(methods, Mapping)
    named = {name: method_named(name).make for name in methods} if is_named else dict(methods)
    field = MixtureVelocity() if velocity is None else velocity
    low, high = bounds
    policy = FlowPolicy(field, (1,), num_steps=num_steps, low=low, high=high)
    noise_key, exact_key = jr.split(key)
    noise = jr.normal(noise_key, (_REPEATS, num_samples, 1))
    grid = np.linspace(low, high, _GRID)
    values = np.asarray(jax.vmap(lambda a: critic(None, a[None]))(jnp.asarray(grid, float)))
    uniform = np.asarray(jr.uniform(exact_key, (_REPEATS, num_samples)))

    measured: dict[str, list[np.ndarray]] = {name: [] for name in (*named, "exact", "unguided")}
    free = np.asarray(_sample(policy, noise))
    for weight in weights:
        log_density = np.log(field.density(grid) + 1e-300) + weight * values
        density = np.exp(log_density - log_density.max())
        density /= density.sum()

        def distances(samples: np.ndarray, density: np.ndarray = density) -> np.ndarray:
            return np.array([wasserstein_distance(s, grid, None, density) for s in samples])

        for name, make in named.items():
            guided = guide(policy, critic, make(np.float32(weight)))
            measured[name].append(distances(np.asarray(_sample(guided, noise))))
        measured["exact"].append(distances(np.interp(uniform, np.cumsum(density), grid)))
        measured["unguided"].append(distances(free))
    distance = means(np.stack([np.stack(measured[name], 1) for name in named], axis=1))
    exact, unguided = (means(np.stack(measured[name], 1)) for name in ("exact", "unguided"))
    return TiltedDistance(
        tuple(named), np.asarray(weights, float), distance, exact, unguided, num_samples
    )


@eqx.filter_jit
def _sample(policy: Any, noise: Array) -> Array:
    return jax.vmap(jax.vmap(lambda n: policy.from_noise(n, None)[0]))(noise)
