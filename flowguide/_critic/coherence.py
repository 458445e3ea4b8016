import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._dtypes import solve_dtype
from .._near import did_you_mean
from .._pytree import PyTree
from .arithmetic import CriticArithmetic

# Of what is left of 1 within the overlap, which falls on a line from 1 to 0.
SCHEDULES: dict[str, Callable[[Array], Array]] = {
    "exp": lambda left: left * jnp.expm1(left) / (math.e - 1),
    "linear": lambda left: left,
    "ones": jnp.ones_like,
    "zeros": jnp.zeros_like,
}


class Coherence(CriticArithmetic):
    r"""How well a chunk of actions goes on with the previous one; see `flowguide.coherence`.

    $$Q(o, a) = -\tfrac12 \sum_i w_i \lVert a_i - a^{\text{prev}}_i \rVert^2$$

    **Attributes:**

    - `previous_chunk`: what is left of the chunk before, shape `(T, *action)`.
    - `weights`: of its steps, shape `(T,)`.
    """

    previous_chunk: Float[Array, "T *action"]
    weights: Float[Array, " T"]

    def __call__(self, observation: PyTree, action: Float[Array, "H *action"]) -> Float[Array, ""]:
        del observation
        previous = self.previous_chunk
        overlap = len(previous)
        if action.shape[1:] != previous.shape[1:] or len(action) < overlap:
            raise ValueError(
                f"previous_chunk has shape {previous.shape}, but the policy's chunks have shape "
                f"{action.shape}: expected as many or fewer steps of the same actions."
            )
        dtype = solve_dtype(action.dtype)
        difference = action[:overlap].astype(dtype) - previous.astype(dtype)
        squares = jnp.sum(difference**2, tuple(range(1, action.ndim)))
        value = -0.5 * jnp.sum(self.weights.astype(dtype) * squares)
        return value.astype(action.dtype)


def coherence(
    previous_chunk: ArrayLike,
    *,
    delay: ArrayLike = 0,
    horizon: ArrayLike | None = None,
    schedule: str = "exp",
) -> Coherence:
    """Real-time chunking as a critic: the next chunk goes on with the one that is being played.

    Row i of `previous_chunk` is what the previous chunk had planned for the moment at which row i
    of the new one is due. The first `delay` of them are played while the new chunk is computed, and
    weigh 1; from `horizon` on nothing is asked; between, the weight falls.

    ```python
    keep = flowguide.coherence(left, delay=1, horizon=3)
    weight = flowguide.RealTimeWeight(cap=5)
    flowguide.guide(policy, keep, "qgf_jacobian", weight=weight)  # RTC
    weight = flowguide.RealTimeWeight(cap=10)
    flowguide.guide(policy, keep, "qgf", weight=weight)  # LeRobot's
    flowguide.guide(policy, keep, "best_of_n", n=16)  # backward coherence
    ```

    A new chunk, delay or horizon compiles nothing. Without a previous chunk: any of the right
    shape, with `horizon=0`.

    **Arguments:**

    - `previous_chunk`: shape `(T, *action)`, in the policy's units, with at most as many steps as
        the policy's chunks.
    - `delay`: how many actions are played before the new chunk is there, at least 0.
    - `horizon`: from which step on the new chunk is free, at most T; None for T. With a `delay` of
        as many steps or more, all before it weigh 1.
    - `schedule`: how the weight falls from the delay to the horizon: `"exp"`, as in the paper,
        `"linear"`, `"ones"` (not at all), `"zeros"` (at once).

    **Raises:**

    `ValueError` for another schedule, or numbers of steps that make no sense.

    Source: Black, Galliker and Levine, "Real-Time Execution of Action Chunking Flow Policies"
    (arXiv 2506.07339), equation 5 for the weights; Liu et al., "Bidirectional Decoding" (arXiv
    2408.17355) for the choice among samples.
    """
    previous: Any = jnp.asarray(previous_chunk)
    if previous.ndim < 1 or not jnp.issubdtype(previous.dtype, jnp.floating):
        raise ValueError(
            "previous_chunk must be an array of floats of shape (T, *action), got shape "
            f"{previous.shape} and dtype {previous.dtype}."
        )
    if schedule not in SCHEDULES:
        hint = did_you_mean(str(schedule), SCHEDULES, count=1)
        raise ValueError(f"schedule must be one of {list(SCHEDULES)}, got {schedule!r}.{hint}")
    count = len(previous)
    end = _steps("horizon", count if horizon is None else horizon, count)
    start = jnp.minimum(_steps("delay", delay, None), end)
    step = jnp.arange(count)
    left = 1 - (step - start + 1) / (end - start + 1)
    falling = SCHEDULES[schedule](left.astype(previous.dtype))
    weights = jnp.where(step < start, jnp.ones_like(falling), falling)
    return Coherence(previous, jnp.where(step < end, weights, jnp.zeros_like(falling)))


def _steps(name: str, steps: ArrayLike, most: int | None) -> Array:
    """A number of steps, checked now where it is known and when it is computed where it is not."""
    number = jnp.asarray(steps)
    if number.shape != () or not jnp.issubdtype(number.dtype, jnp.integer):
        raise ValueError(f"{name} must be one integer, got {steps!r}.")
    limit = "at least 0" if most is None else f"in [0, {most}], the steps of previous_chunk"
    is_wrong = (number < 0) | (False if most is None else number > most)
    return eqx.error_if(number, is_wrong, f"{name} must be {limit}.")
