import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from .._critic import Critic, value_of
from .._policy import FlowPolicy, raw_observation
from .._results.compare import Comparison
from .._results.conditions import Condition, is_choice, method_of, UNGUIDED, units_of, weight_text
from .._results.means import Means, means
from .._results.statistics import Estimate
from .._results.tables import amount, html, Mark, mark, markdown, Table
from ..plot import add_legend, add_title, draw_curves, finish_axes, new_figure, Styles, WIDTH
from ._guidances import count_of
from ._value_optimisation import finished, guided_by

NUM_UNGUIDED = 64
MARKERS = "osD^vP"


@dataclasses.dataclass(frozen=True)
class OverOptimisation:
    """What the critic that guides gains, beside what a judge says of the same actions.

    Where the critic's value goes on rising and the judge's falls, its errors are optimised.

    **Attributes:**

    - `conditions`: C of them, unguided first.
    - `gain`: of the critic that guides, less its value of the unguided action from the same noise,
        `Means` over observations of shape `(C,)`.
    - `judged`: the same of the judge.
    - `to_policy`: the distance (Euclidean, of whole chunks) to the nearest of `num_unguided` other
        actions of the unguided policy there, shape `(C,)`.
    - `value`, `judged_value`: the values themselves, shape `(C,)`.
    - `num_unguided`: how many there are.
    """

    conditions: tuple[Condition, ...]
    gain: Means
    judged: Means
    to_policy: Means
    value: Means
    judged_value: Means
    num_unguided: int

    def __str__(self) -> str:
        """A table, in Markdown; bold where the judge sees a difference from unguided."""
        return markdown(self._table())

    def _repr_html_(self) -> str:
        return html(self._table())

    def plot(self, rows: Sequence[Comparison] = ()) -> Any:
        """A matplotlib figure: both gains and the distance, against n and against the weight.

        **Arguments:**

        - `rows`: of `flowguide.results.compare`, of the same labels: their success is drawn below.
        """
        drawn = [
            (self._points(self.gain), "gain: the critic that guides"),
            (self._points(self.judged), "gain: the judge"),
            (self._points(self.to_policy), "distance to the policy"),
        ]
        success = {r.condition: r.success for r in rows if r.condition in set(self.conditions)}
        if success:
            drawn.append((success, "success"))
        styles = Styles(self.conditions)
        columns: list[str | None] = [*units_of(self.conditions)]
        if _by_number(self.conditions) or not columns:
            columns.insert(0, None)
        figure = new_figure(WIDTH, 1.9 * len(drawn) + 0.6)
        panels = figure.subplots(
            len(drawn), len(columns), sharex="col", sharey="row", squeeze=False
        )
        for i, ((points, name), line) in enumerate(zip(drawn, panels, strict=True)):
            for axes, unit in zip(line, columns, strict=True):
                if unit is None:
                    _draw_numbers(axes, points, styles)
                else:
                    draw_curves(axes, points, unit, styles)
                finish_axes(axes, is_rate=name == "success")
                if i + 1 < len(drawn):
                    axes.set_xlabel("")
            line[0].set_ylabel(name)
        add_legend(figure, panels.ravel())
        below = f"{self.gain}, 95% intervals, same noise"
        add_title(figure, "Over-optimisation of the critic", below)
        return figure

    def _points(self, found: Means) -> dict[Condition, Any]:
        return {c: _estimate(found[i]) for i, c in enumerate(self.conditions)}

    def _table(self) -> Table:
        columns = ("condition", "the critic's gain", "the judge's gain", "distance to the policy")
        rows = [
            (
                str(condition),
                *(amount(_estimate(x[i]), "+") for x in (self.gain, self.judged)),
                amount(_estimate(self.to_policy[i])),
            )
            for i, condition in enumerate(self.conditions)
        ]
        marks: list[Mark] = [mark(_estimate(self.judged[i])) for i in range(len(rows))]
        return Table("", columns, rows, tuple(marks))


def over_optimisation(
    policy: FlowPolicy,
    critic: Critic,
    judge: Critic,
    observations: PyTree,
    guidances: Mapping[str, Any],
    *,
    num_unguided: int = NUM_UNGUIDED,
    key: PRNGKeyArray,
) -> OverOptimisation:
    """Whether more guidance, or a choice among more actions, is still better.

    ```python
    from flowguide.diagnose import over_optimisation
    from flowguide.evaluate import cross

    several = cross(["qgf", "best_of_n"], local=[1, 5, 25], best_of_n=[1, 4])
    key = jax.random.key(0)
    print(over_optimisation(policy, critic_a, critic_b, some, several, key=key))
    ```

    **Arguments:**

    - `policy`: the frozen policy.
    - `critic`: the one that guides and chooses.
    - `judge`: a critic that does neither: a critic of another training seed or of other episodes,
        or a true value. The members of an ensemble that guides are no judges of it.
    - `observations`: some that the policy meets, each leaf with a leading axis.
    - `guidances`: as of an evaluation; see `flowguide.diagnose.value_optimisation`.
    - `num_unguided`: how many unguided actions the distance is measured from, at each observation.
    - `key`: of all noise; conditions share theirs.

    **Returns:**

    An `OverOptimisation`.

    **Raises:**

    `ValueError` for a guidance that cannot guide the pair.
    """
    noise_key, own_key = jr.split(key)
    guided = guided_by(policy, critic, guidances)
    actions, values = finished(guided, critic, observations, key=noise_key)
    conditions = tuple(actions)
    keys = jr.split(own_key, count_of(observations))
    own = np.asarray(_own(policy, observations, keys, num_unguided))

    def to_policy(chosen: np.ndarray) -> np.ndarray:
        apart = (chosen[:, None] - own).reshape(*own.shape[:2], -1)
        return np.linalg.norm(apart, axis=-1).min(1)

    def stacked(of: Callable[[Condition], Any]) -> np.ndarray:
        return np.stack([np.asarray(of(c)) for c in conditions], axis=1)

    value = stacked(lambda c: values[c])
    judged = stacked(lambda c: _judged(policy, judge, observations, actions[c]))
    return OverOptimisation(
        conditions,
        means(value - value[:, :1]),
        means(judged - judged[:, :1]),
        means(stacked(lambda c: to_policy(actions[c]))),
        means(value),
        means(judged),
        num_unguided,
    )


@eqx.filter_jit
def _own(policy: FlowPolicy, observations: PyTree, keys: Array, count: int) -> Array:
    def one(inputs):
        observation, key = inputs
        prepared = policy.prepare(observation)
        return jax.vmap(lambda k: policy(prepared, key=k))(jr.split(key, count))

    return jax.lax.map(one, (observations, keys), batch_size=8)


@eqx.filter_jit
def _judged(policy: FlowPolicy, judge: Critic, observations: PyTree, actions: Any) -> Array:
    def one(observation, action):
        return value_of(judge, raw_observation(policy.prepare(observation)), action)

    return jax.vmap(one)(observations, actions)


def _estimate(found: Means) -> Estimate:
    return Estimate(float(found.value), float(found.low), float(found.high), int(found.count))


def _number_of(condition: Condition) -> tuple[str, int]:
    """What the actions are of which one is chosen, and how many there are."""
    if is_choice(condition):
        return UNGUIDED, int(condition.label.split()[-1])
    method, n = method_of(condition.curve)
    if condition.weight is not None:
        method = f"{method} {weight_text(condition.weight, condition.unit)}"
    return method, n


def _by_number(conditions: Sequence[Condition]) -> dict[str, dict[int, Condition]]:
    """Of each method, those that are the best of different numbers of its actions."""
    found: dict[str, dict[int, Condition]] = {}
    for condition in conditions:
        method, n = _number_of(condition)
        found.setdefault(method, {})[n] = condition
    return {method: of_n for method, of_n in found.items() if len(of_n) > 1}


def _draw_numbers(axes: Any, points: Mapping[Condition, Any], styles: Styles) -> None:
    numbers = set()
    by_number = _by_number(sorted(points))
    # Of one method at several weights the colour is the same.
    for (method, of_n), marker in zip(by_number.items(), itertools.cycle(MARKERS), strict=False):
        several = [(n, points[c], c) for n, c in sorted(of_n.items()) if points[c] is not None]
        condition = several[0][2]
        low = [x.value - x.low for _, x, _ in several]
        high = [x.high - x.value for _, x, _ in several]
        axes.errorbar(
            *([n for n, _, _ in several], [x.value for _, x, _ in several], [low, high]),
            color=styles.color(condition) if styles.has(condition) else "black",
            marker=marker,
            markersize=5,
            capsize=3,
            label=f"{method}, best of n",
        )
        numbers |= set(of_n)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(numbers), [str(n) for n in sorted(numbers)])
    axes.set_xlabel("actions to choose from")
