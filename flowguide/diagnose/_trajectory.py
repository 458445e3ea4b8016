import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._policy import AbstractPolicy, Trace
from ..plot import add_legend, add_title, finish_axes, method_style, new_panels

MAX_ENTRIES = 2


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """The paths of one noise to its action, by policy.

    **Attributes:**

    - `traces`: a `flowguide.Trace` for each policy, by name, of NumPy arrays.
    """

    traces: Mapping[str, Trace]

    def plot(self) -> Any:
        """A matplotlib figure: the action's entries, the guidance and the value along the flow.

        Of actions with more than 2 entries the 2 that differ most between the paths are shown.
        """
        entries = self._entries()
        figure, panels = new_panels(2 * len(entries) + 2, height=1.7, sharex=True)
        *action_axes, guidance_axes, value_axes = panels
        for i, (name, trace) in enumerate(self.traces.items()):
            color, marker = method_style(name, i)
            look = {"color": color, "marker": marker, "markersize": 3, "linewidth": 1.2}
            look["label"] = name
            flat = np.asarray(trace.actions).reshape(len(trace.times), -1)[:, entries]
            clean = np.asarray(trace.clean_actions).reshape(len(trace.times), -1)[:, entries]
            for j in range(len(entries)):
                action_axes[2 * j].plot(trace.times, flat[:, j], **look)
                action_axes[2 * j + 1].plot(trace.times, clean[:, j], **look)
            shares = _lengths(trace.guidance) / _lengths(trace.velocities)
            guidance_axes.plot(trace.times, shares, **look)
            value_axes.plot(trace.times, trace.values, **look)
        for j, entry in enumerate(entries):
            action_axes[2 * j].set_title(f"entry {entry}: noisy action", fontsize=9)
            action_axes[2 * j + 1].set_title("where the critic is asked", fontsize=9)
        guidance_axes.set_title("length of guidance / velocity", fontsize=9)
        value_axes.set_title("the critic's value there", fontsize=9)
        for axes in panels:
            finish_axes(axes, is_rate=False)
        for axes in panels[-2:]:
            axes.set_xlabel("time of the flow")
        add_legend(figure, panels)
        size = np.asarray(next(iter(self.traces.values())).action).size
        below = f"{len(entries)} of {size} entries: those that end furthest apart"
        add_title(figure, "From noise to an action", below)
        return figure

    def _entries(self) -> list[int]:
        """The entries of the action that are drawn."""
        ends = np.stack([np.asarray(trace.action).ravel() for trace in self.traces.values()])
        spread = np.ptp(ends, axis=0)
        return sorted(np.argsort(-spread, kind="stable")[:MAX_ENTRIES].tolist())


def _lengths(vectors: Any) -> np.ndarray:
    vectors = np.asarray(vectors)
    return np.linalg.norm(vectors.reshape(len(vectors), -1), axis=1)


def trajectory(
    policies: Mapping[str, AbstractPolicy], noise: Float[Array, "*noise"], observation: PyTree
) -> Trajectory:
    """The path from one noise to an action, step by step, for several policies.

    **Arguments:**

    - `policies`: by name, guided or not, of one `noise_shape`.
    - `noise`: where all paths start.
    - `observation`: one observation.

    **Returns:**

    A `Trajectory`.

    **Raises:**

    `ValueError` for no policy, or noise of another shape than a policy's.
    """
    if not policies:
        raise ValueError("Expected at least one policy, got none.")
    noise = jnp.asarray(noise)
    # One by one: a tree of all would be in the order of their names.
    traces = {
        name: jax.tree.map(np.asarray, each.trace(noise, observation))
        for name, each in policies.items()
    }
    return Trajectory(traces)
