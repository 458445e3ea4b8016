import atexit
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from .._checks import as_positive_int
from .._random import seed_key
from ..data import AbstractSampler, SliceStream
from ._best import Best, init_best, keep_better
from ._learner import AbstractLearner
from ._updates import advance, over_seeds, Seeds, split_keys, typed, validate

PROGRESS_SECONDS = 0.5


class TrainState(eqx.Module):
    """Everything that training carries from one update to the next.

    With S seeds every array but `step` has a leading axis of size S.

    **Attributes:**

    - `step`: the number of updates done, shape `()`. The batch, the noise and the slice of the data
        of each update follow from the key and this number alone: it is the data cursor too.
    - `learner`: the learner's state.
    - `best`: what did best on validation data, for each loss that is watched.
    """

    step: Int[Array, ""]
    learner: Any
    best: dict[str, Best]

    def result(self, learner: AbstractLearner) -> PyTree:
        """What was learnt: where a validation loss was watched the best, elsewhere the last."""
        results = learner.result(self.learner)
        for loss, best in self.best.items():
            name = _learner_of(loss)
            results = best.result if name is None else {**results, name: best.result}
        return results


@dataclasses.dataclass(frozen=True)
class Report:
    """What `train` says to its caller from time to time.

    **Attributes:**

    - `step`: the number of updates done.
    - `losses`: means over the updates since the last report, by name; arrays of shape `()`, or
        `(S,)` with S seeds.
    - `validation`: the same on validation data; empty without.
    - `state`: to be saved or evaluated at once: the next update consumes it.
    """

    step: int
    losses: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    state: TrainState

    def __str__(self) -> str:
        """One line, so that `train(..., on_report=print)` shows how it goes."""
        named = (("", self.losses), ("validation ", self.validation))
        losses = [
            f"{kind}{name} {np.mean(value):.4g}"
            for kind, several in named
            for name, value in sorted(several.items())
        ]
        return f"update {self.step:,}: {', '.join(losses)}"


def init(learner: AbstractLearner, key: Seeds, *, keep_best: Sequence[str] = ()) -> TrainState:
    """The state before the first update: what `train` begins with, and what a checkpoint restores.

    **Arguments:**

    - `learner`, `key`, `keep_best`: as for `train`.

    **Returns:**

    A `TrainState` of update 0; of several keys, with a leading axis on every array.

    **Raises:**

    `ValueError` for a loss to be kept the best by that is of no learner.
    """
    key = typed(key)
    keys = split_keys(key)[0]
    state = eqx.filter_jit(over_seeds(lambda k: learner.init(k), key))(keys)
    result = learner.result(state)
    for loss in keep_best:
        name = _learner_of(loss)
        if name is not None and (not isinstance(result, dict) or name not in result):
            known = sorted(result) if isinstance(result, dict) else "none by name"
            raise ValueError(f"keep_best: {loss!r} is of no learner here, which are {known}.")
    best = {loss: init_best(_part(result, loss), key.shape) for loss in keep_best}
    return TrainState(jnp.zeros((), jnp.int32), state, best)


def train(
    learner: AbstractLearner,
    data: AbstractSampler | SliceStream,
    *,
    steps: int,
    batch_size: int = 256,
    key: Seeds,
    log_every: int = 1000,
    validation: AbstractSampler | None = None,
    keep_best: Sequence[str] = (),
    state: TrainState | None = None,
    on_report: Callable[[Report], None] | None = None,
    stop_every: int | None = None,
    on_stop: Callable[[int, TrainState], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> TrainState:
    """Trains a learner from data on the device: batches are drawn inside one compiled loop.

    **Arguments:**

    - `learner`: what to train; a `Jointly` for several.
    - `data`: where batches come from.
    - `steps`: the number of updates in all, those of `state` included.
    - `batch_size`: windows in each.
    - `key`: the same key gives the same result. An array of S keys trains S seeds in one program,
        each on its own batches.
    - `log_every`: updates between two reports; the host is met only there, where a `SliceStream`
        goes on to its next slice, and for `on_progress`.
    - `validation`: where the validation losses of each report come from, 8 batches that stay the
        same.
    - `keep_best`: names of losses, such as `"critic/loss"`; the result of that learner is then the
        one with the lowest validation loss.
    - `state`: where to go on from, such as a report's state; consumed.
    - `on_report`: called with a `Report` at every multiple of `log_every`, and at the end; such as
        `print`.
    - `stop_every`: updates between two calls of `on_stop`, such as for checkpoints; by default
        `log_every`.
    - `on_stop`: called with the number of updates and the state, after `on_report` if both are due,
        and at the end.
    - `on_progress`: called with the number of updates done about twice a second, and first when all
        is compiled. It changes no parameter, and of mean losses perhaps the last digit.

    **Returns:**

    The final `TrainState`; its `result(learner)` is what was learnt.

    **Raises:**

    `FloatingPointError` naming the loss and the update at which a loss was not finite.
    `ValueError` for numbers that make no sense, or a loss to watch without validation data.
    """
    steps = as_positive_int("steps", steps)
    batch_size = as_positive_int("batch_size", batch_size)
    log_every = as_positive_int("log_every", log_every)
    stop_every = log_every if stop_every is None else as_positive_int("stop_every", stop_every)
    intervals = [log_every, *([] if on_stop is None else [stop_every])]
    if isinstance(data, SliceStream):
        intervals.append(data.every)
    if state is not None and keep_best and set(keep_best) != set(state.best):
        raise ValueError(
            f"keep_best={list(keep_best)!r}, but the state keeps {sorted(state.best)}."
        )
    if (keep_best or (state is not None and state.best)) and validation is None:
        raise ValueError(
            "What is best is judged by validation losses: validation data are missing."
        )
    key = typed(key)
    if state is None:
        state = init(learner, key, keep_best=keep_best)
    update_keys = split_keys(key)[1]
    done = int(state.step)
    sums: list[tuple[int, dict[str, Array]]] = []
    pace = steps if on_progress is None else 1
    is_compiled = False
    while done < steps:
        stop = min(
            *(steps, done + pace), *((done // interval + 1) * interval for interval in intervals)
        )
        sampler = data.at(done) if isinstance(data, SliceStream) else data
        numbers = jnp.asarray(done), jnp.asarray(stop)
        began = time.perf_counter()
        new, summed, bad = advance(
            (learner, sampler, update_keys), state.learner, *numbers, batch_size
        )
        _running[:] = jax.tree.leaves(bad)
        state = TrainState(jnp.asarray(stop), new, state.best)
        _refuse_non_finite(bad, sampler, batch_size)
        sums.append((stop - done, summed))
        if on_progress is not None:
            on_progress(stop)
            if is_compiled:
                each = (time.perf_counter() - began) / (stop - done)
                pace = max(1, int(PROGRESS_SECONDS / each))
            is_compiled = True
        done = stop
        is_due = not done % stop_every or done == steps
        if done % log_every and done < steps:
            if on_stop is not None and is_due:
                on_stop(done, state)
            continue
        losses, held_out = _mean(sums), {}
        sums.clear()
        if validation is not None:
            held_out = validate((learner, validation), new, batch_size, key.shape)
            for name, value in held_out.items():
                if not np.all(np.isfinite(value)):
                    raise FloatingPointError(
                        f"The validation loss {name!r}{_of_learner(name)} is not finite after "
                        f"update {done}, though the training losses are."
                    )
            state = _keep_best(learner, state, held_out)
        if on_report is not None:
            validated = {name: np.asarray(value) for name, value in held_out.items()}
            on_report(Report(done, losses, validated, state))
        if on_stop is not None and is_due:
            on_stop(done, state)
    return state


# Of the updates that were started last: Python must not end while they run, as it would after a
# Ctrl-C.
_running: list[Array] = []


@atexit.register
def _wait() -> None:
    jax.block_until_ready(_running)


def _keep_best(
    learner: AbstractLearner, state: TrainState, validation: dict[str, Array]
) -> TrainState:
    for loss in state.best:
        if loss not in validation:
            raise ValueError(f"keep_best: no loss is called {loss!r}, only {sorted(validation)}.")
    result = learner.result(state.learner)
    best = {
        loss: keep_better(old, _part(result, loss), validation[loss], state.step)
        for loss, old in state.best.items()
    }
    return TrainState(state.step, state.learner, best)


def _refuse_non_finite(bad: dict[str, Array], sampler: AbstractSampler, batch_size: int) -> None:
    for name, updates in ((name, np.asarray(value)) for name, value in bad.items()):
        if np.any(updates >= 0):
            first = np.min(updates[updates >= 0])
            seeds = "" if not updates.ndim else f", seed {np.flatnonzero(updates == first)[0]}"
            raise FloatingPointError(
                f"The loss {name!r}{_of_learner(name)} is not finite at update {first + 1}{seeds}. "
                f"{_advice(sampler, batch_size)}"
            )


def _advice(sampler: AbstractSampler, batch_size: int) -> str:
    """What to do about a loss that is not finite: perhaps the data are not, either."""
    leaves = jax.tree_util.tree_leaves_with_path(sampler.sample(seed_key(0), batch_size))
    bad = [path for path, leaf in leaves if not np.all(np.isfinite(leaf))]
    if not bad:
        return "A smaller learning rate or clipped gradients (optax.clip_by_global_norm) may help."
    names = ", ".join(jax.tree_util.keystr(path, simple=True, separator=".") for path in bad)
    return (
        f"The batches themselves have values that are not finite: {names}. A dataset without "
        "rewards and masks has no task, so that a policy can learn from it and no critic can."
    )


def _learner_of(loss: str) -> str | None:
    """The learner that a loss of a `Jointly` belongs to."""
    name, slash, _ = loss.partition("/")
    return name if slash else None


def _of_learner(loss: str) -> str:
    name = _learner_of(loss)
    return f" of the learner {name!r}" if name else ""


def _part(result: Any, loss: str) -> PyTree:
    name = _learner_of(loss)
    return result if name is None else result[name]


def _mean(sums: list[tuple[int, dict[str, Array]]]) -> dict[str, np.ndarray]:
    """The mean losses over all updates, from the means of some of them."""
    count = sum(number for number, _ in sums)
    names = sums[0][1]
    return {
        name: np.asarray(sum(number / count * np.asarray(means[name]) for number, means in sums))
        for name in names
    }
