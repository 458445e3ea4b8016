import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from .._agent.agents import Agent
from .._agent.cross import check_guidances
from .._agent.guided import conditions_of, Guided, put_together
from .._critic import Critic, value_of
from .._policy import AbstractPolicy, FlowPolicy, raw_observation
from .._results.conditions import Condition, UNGUIDED, units_of
from .._results.means import Means, means
from .._results.statistics import Estimate
from ..plot import (
    add_legend,
    add_title,
    draw_compute,
    draw_curves,
    finish_axes,
    new_panels,
    split_costs,
    split_curves,
    Styles,
)
from ._guidances import count_of


@dataclasses.dataclass(frozen=True)
class ValueOptimisation:
    """What the critic says of finished actions, by guidance, weight and compute.

    **Attributes:**

    - `conditions`: C of them, unguided first.
    - `value`: the critic's value of the finished action, `Means` of shape `(C,)`.
    - `gain`: that less the value of the unguided action from the same noise: 0 for unguided.
    - `forwards`: what an action costs, in forward passes of one network, shape `(C,)`; NaN where
        that is not known.
    - `clipped`: the share of the entries of actions that lie on a bound, shape `(C,)`.
    """

    conditions: tuple[Condition, ...]
    value: Means
    gain: Means
    forwards: np.ndarray
    clipped: np.ndarray

    def plot(self) -> Any:
        """A matplotlib figure: the gain against the weight, and against compute.

        Weights stand beside the points of compute, as of `flowguide.plot.draw_compute`.
        """
        styles = Styles(self.conditions)
        gains = {c: _estimate(self.gain[i]) for i, c in enumerate(self.conditions)}
        spent = zip(self.conditions, self.forwards, strict=True)
        costs = {c: (int(cost), gains[c]) for c, cost in spent if not np.isnan(cost)}
        # Those without a weight are points of compute, which says as much of them as a line.
        curves = [
            (unit, {c: gains[c] for c in shown})
            for unit in units_of(self.conditions)
            for shown in split_curves(
                (c for c in self.conditions if c.has_weight), unit, styles
            ).values()
        ]
        groups = split_costs(costs, styles)
        figure, panels = new_panels(len(curves) + len(groups), columns=1, sharey=True)
        for axes, (unit, points) in zip(panels, curves, strict=False):
            draw_curves(axes, points, unit, styles)
        for axes, group in zip(panels[len(curves) :], groups, strict=True):
            draw_compute(axes, costs, styles, group)
        for axes in panels:
            finish_axes(axes, is_rate=False)
            axes.set_ylabel("gain in value")
        panels[-1].set_xlabel("cost of one action, in forward passes of one network")
        add_legend(figure, panels, each=True)
        below = f"{self.value}, 95% intervals; beside points, their weights"
        add_title(figure, "What the critic says of finished actions", below)
        return figure


def _estimate(gain: Means) -> Estimate:
    return Estimate(float(gain.value), float(gain.low), float(gain.high), int(gain.count))


def value_optimisation(
    policy: FlowPolicy,
    critic: Critic,
    observations: PyTree,
    guidances: Mapping[str, Any],
    *,
    key: PRNGKeyArray,
) -> ValueOptimisation:
    """How far each guidance raises the critic's own value, and at what cost.

    A high value is no success: `flowguide.diagnose.exploitation` asks what it is worth.

    **Arguments:**

    - `policy`, `critic`: the frozen pair.
    - `observations`: some that the policy meets, each leaf with a leading axis.
    - `guidances`: as of an evaluation, such as `flowguide.evaluate.cross(["qgf", "ood"],
        weights=[0.1, 1.0])`. The unguided policy is always there.
    - `key`: of the noise, which all conditions share.

    **Returns:**

    A `ValueOptimisation`. Costs are counted for critics as large as the velocity's network.

    **Raises:**

    `ValueError` for a guidance that cannot guide the pair.

    Source: figures 4 and 6 of QGF (arXiv 2606.11087).
    """
    guided = guided_by(policy, critic, guidances)
    actions, values = finished(guided, critic, observations, key=key)
    conditions = tuple(actions)
    costs = {each.condition: each.cost for each in guided}
    value = np.stack([values[c] for c in conditions], axis=1)
    low, high = policy.bounds
    return ValueOptimisation(
        conditions,
        means(value),
        means(value - value[:, :1]),
        np.array([np.nan if x is None else x.forwards() for x in map(costs.get, conditions)]),
        np.array([np.mean((actions[c] <= low) | (actions[c] >= high)) for c in conditions]),
    )


def guided_by(policy: FlowPolicy, critic: Critic, guidances: Mapping[str, Any]) -> list[Guided]:
    """The policy under each guidance, and unguided."""
    check_guidances(guidances)
    agent = Agent(policy, critic)
    everything = {UNGUIDED: None, **guidances}
    labels = sorted(conditions_of(everything).items(), key=lambda item: item[1])
    return [put_together(agent, label, everything[label]) for label, _ in labels]


def finished(
    guided: Sequence[Guided], critic: Critic, observations: PyTree, *, key: PRNGKeyArray
) -> tuple[dict[Condition, np.ndarray], dict[Condition, np.ndarray]]:
    """Actions `(N, *action)` of each condition from the same noise, and their values `(N,)`."""
    keys = jr.split(key, count_of(observations))
    actions, values = {}, {}
    for each in guided:
        results = _act(each.policy, critic, observations, keys)
        actions[each.condition], values[each.condition] = map(np.asarray, results)
    return actions, values


@eqx.filter_jit
def _act(
    guided: AbstractPolicy, critic: Critic, observations: PyTree, keys: Array
) -> tuple[Array, Array]:
    def one(observation, key):
        # With best of n, the first candidate starts from the noise that the others have.
        prepared = guided.prepare(observation)
        action = guided(prepared, key=key)
        return action, value_of(critic, raw_observation(prepared), action)

    return jax.vmap(one)(observations, keys)
