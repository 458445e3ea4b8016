import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from .._critic import Critic
from .._policy import FlowPolicy
from .._results.means import Means, means
from ..plot import add_legend, add_title, finish_axes, method_style, name_outer, new_panels
from ._guidances import count_of, guided_flow, named_guidances

SIZES = (0.1, 0.3, 1.0)
# Observations that are differentiated at a time.
_BLOCK = 16


@dataclasses.dataclass(frozen=True)
class NoiseSensitivity:
    """How far a gradient turns when the noisy action moves a little.

    **Attributes:**

    - `names`: of the guidances, G of them.
    - `times`: of the steps of the flow, shape `(T,)`.
    - `sizes`: standard deviations of the noise that was added, shape `(S,)`.
    - `cosine`: between the gradient before and after, `Means` over observations, of shape
        `(G, T, S)`. 1 is the same direction, 0 any.
    """

    names: tuple[str, ...]
    times: np.ndarray
    sizes: np.ndarray
    cosine: Means

    def plot(self) -> Any:
        """A matplotlib figure: one panel for each size of noise, cosines against time."""
        figure, panels = new_panels(len(self.sizes), sharey=True)
        for j, (axes, size) in enumerate(zip(panels, self.sizes, strict=True)):
            for i, name in enumerate(self.names):
                cosine = self.cosine[i, :, j]
                color, marker = method_style(name, i)
                axes.plot(
                    *(self.times, cosine.value),
                    color=color,
                    marker=marker,
                    markersize=3.5,
                    linewidth=1.4,
                    label=name,
                )
                axes.fill_between(
                    self.times, cosine.low, cosine.high, color=color, alpha=0.15, linewidth=0
                )
            axes.set_title(f"noise of {size:g}", fontsize=9)
            axes.set(xlabel="time of the flow", ylabel="cosine of gradients")
            finish_axes(axes, is_rate=False)
            axes.set_ylim(min(0.0, float(np.nanmin(self.cosine.low))) - 0.05, 1.05)
        name_outer(panels)
        add_legend(figure, panels)
        add_title(figure, "Noise sensitivity of the guidance", f"{self.cosine}, 95% intervals")
        return figure


def noise_sensitivity(
    policy: FlowPolicy,
    critic: Critic,
    observations: PyTree,
    guidances: Mapping[str, Any] | Sequence[str] = ("qgf", "qgf_jacobian", "ode", "bptt", "ood"),
    *,
    sizes: Sequence[float] = SIZES,
    num_noises: int = 8,
    key: PRNGKeyArray,
) -> NoiseSensitivity:
    r"""The cosine between $g(a_t)$ and $g(a_t + \epsilon)$ along the flow's own paths.

    $g$ is what a guidance adds to the velocity, and $\epsilon \sim N(0, \sigma^2 I)$. A gradient
    that turns when its point moves by less than a step says little about where to go.

    **Arguments:**

    - `policy`: the unguided flow policy, on whose paths the noisy actions lie.
    - `critic`: any critic that the guidances take.
    - `observations`: some that the policy meets, each leaf with a leading axis.
    - `guidances`: names, or gradient guidances by the names in the figure.
    - `sizes`: $\sigma$ of the added noise, in units of the action.
    - `num_noises`: how often it is drawn at each point.
    - `key`: of the paths and the noise, the same for all guidances.

    **Returns:**

    A `NoiseSensitivity`. Gradients of length 0, which have no direction, do not count.

    **Raises:**

    `ValueError` for an unknown name, or a guidance that adds no gradient.

    Source: figure 3 of QGF (arXiv 2606.11087).
    """
    flows = {
        name: guided_flow(policy, critic, guidance, name)
        for name, guidance in named_guidances(guidances).items()
    }
    keys = jr.split(key, count_of(observations))
    deviations = jnp.asarray(sizes, float)
    curves = [
        _cosines(policy, flow, observations, keys, deviations, num_noises)
        for flow in flows.values()
    ]
    times = np.asarray(curves[0][0][0])
    cosine = means(np.stack([np.asarray(cosines) for _, cosines in curves], axis=1))
    return NoiseSensitivity(tuple(flows), times, np.asarray(sizes, float), cosine)


@eqx.filter_jit
def _cosines(
    policy: FlowPolicy,
    flow: FlowPolicy,
    observations: PyTree,
    keys: Array,
    sizes: Array,
    num_noises: int,
) -> tuple[Array, Array]:
    """Times `(N, T)` and cosines `(N, T, S)`, each the mean over the noises."""

    def at_observation(inputs):
        observation, key = inputs
        path_key, noise_key = jr.split(key)
        path = policy.trace(jr.normal(path_key, policy.noise_shape), observation)
        prepared = flow.prepare(observation)
        # No step starts at the last point.
        times, actions = path.times[:-1], path.actions[:-1]

        def gradient(t, action):
            return flow.step(t, action, prepared).guidance.ravel()

        def at_point(t, action, key):
            before = gradient(t, action)

            def turned(size, key):
                after = gradient(t, action + size * jr.normal(key, action.shape))
                return jnp.dot(before, after) / jnp.linalg.norm(before) / jnp.linalg.norm(after)

            draws = jr.split(key, (len(sizes), num_noises))
            cosines = jax.vmap(jax.vmap(turned, (None, 0)), (0, 0))(sizes, draws)
            return jnp.nanmean(cosines, axis=1)

        return times, jax.vmap(at_point)(times, actions, jr.split(noise_key, len(times)))

    return jax.lax.map(at_observation, (observations, keys), batch_size=_BLOCK)
