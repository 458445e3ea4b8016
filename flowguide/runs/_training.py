"""A run from its last checkpoint to its last update, with what is written along the way."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._run_folder import RunFolder
from .._system.progress import COMPILING, progress_bar
from ..data import SliceStream
from ..train import init, Report, train, TrainState
from ._along import evaluate_along
from ._checkpoints import Checkpoints
from ._claim import write_claim
from ._metrics import Metrics
from ._prepare import Prepared
from ._recipe import watched_losses


def train_on(
    prepared: Prepared,
    folder: RunFolder,
    *,
    on_message: Callable[[str], Any],
    progress: bool,
    on_report: Callable[[Report], Any] | None,
) -> TrainState:
    """Trains from the folder's last checkpoint to the end.

    **Arguments:**

    - `prepared`: what is trained.
    - `folder`: this process's alone. It gets the settings, metrics and checkpoints.
    - `on_message`, `progress`, `on_report`: as in `run`.

    **Returns:**

    The last state.

    **Raises:**

    `FloatingPointError` as in `run`.
    """
    settings, key = prepared.settings, prepared.key
    watched = watched_losses(settings)
    state = init(prepared.learner, key, keep_best=watched)
    with contextlib.ExitStack() as stack:
        if isinstance(prepared.data.train, SliceStream):
            stack.callback(prepared.data.train.close)
        checkpoints = Checkpoints(
            folder.checkpoints, keep=settings.keep_checkpoints, on_message=on_message
        )
        stack.callback(checkpoints.close)
        restored = checkpoints.restore((state, jr.key_data(key)))
        step = 0
        if restored is not None:
            step, (state, _) = restored
            on_message(f"Going on from the checkpoint at update {step:,}.")
        write_claim(folder, prepared.claim, step, on_message)
        metrics = Metrics(
            folder.metrics_file,
            step=step,
            trackers=settings.track,
            settings=prepared.claim,
            on_message=on_message,
        )
        stack.callback(metrics.close)
        bar = stack.enter_context(progress_bar("updates", enabled=progress))
        task = bar.add_task("train", total=settings.steps, completed=step, note=COMPILING)
        since = time.perf_counter(), step

        def record(report: Report) -> None:
            nonlocal since
            speed = (report.step - since[1]) / (time.perf_counter() - since[0])
            _write_metrics(metrics, report, prepared.seeds, speed)
            bar.update(task, completed=report.step, note=_note(report))
            if on_report is not None:
                on_report(report)

        def on_progress(step: int) -> None:
            note = bar.tasks[task].fields["note"]
            bar.update(task, completed=step, note="" if note == COMPILING else note)

        def on_stop(step: int, state: TrainState) -> None:
            nonlocal since
            if settings.evaluate_every and step % settings.evaluate_every == 0:
                evaluate_along(prepared, folder, state, step, metrics, on_message)
            if step % settings.checkpoint_every == 0 or step == settings.steps:
                _check_parameters(step, state)
                checkpoints.save(step, (state, jr.key_data(key)))
            # What was spent on evaluation and checkpoints is no time of the next updates.
            since = time.perf_counter(), step

        try:
            return train(
                prepared.learner,
                prepared.data.train,
                steps=settings.steps,
                batch_size=settings.batch_size,
                key=key,
                log_every=settings.log_every,
                stop_every=settings.stop_every,
                validation=prepared.data.validation,
                keep_best=watched,
                state=state,
                on_report=record,
                on_stop=on_stop,
                on_progress=None if bar.disable else on_progress,
            )
        except FloatingPointError as error:
            last = "There is no checkpoint before it."
            if checkpoints.latest is not None:
                last = (
                    f"The last good checkpoint is update {checkpoints.latest:,}, in "
                    f"{checkpoints.folder}."
                )
            raise FloatingPointError(f"{error} {last}") from error


def _write_metrics(metrics: Metrics, report: Report, seeds: list[int], speed: float) -> None:
    for index, seed in enumerate(seeds):
        values = {
            prefix + name: float(value if value.ndim == 0 else value[index])
            for prefix, losses in (("", report.losses), ("validation/", report.validation))
            for name, value in losses.items()
        }
        metrics.write(report.step, seed, {**values, "updates_per_second": speed})


def _note(report: Report) -> str:
    """One loss of each learner, averaged over the seeds: a line is short."""
    losses: dict[str, Any] = {}
    for name, value in sorted(report.losses.items()):
        losses.setdefault(name.partition("/")[0], np.mean(value))
    return ", ".join(f"{name} {value:.3g}" for name, value in losses.items())


@eqx.filter_jit
def _is_finite(state: Any) -> jax.Array:
    arrays = jax.tree.leaves(eqx.filter(state, eqx.is_inexact_array))
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(array)) for array in arrays]))


def _check_parameters(step: int, state: TrainState) -> None:
    """A checkpoint of such parameters would be no good one: every run from it would fail."""
    for name, part in state.learner.items():
        if not _is_finite(part):
            raise FloatingPointError(
                f"A parameter of the learner {name!r}, or of its optimiser, is not finite after "
                f"update {step:,}, though its losses were."
            )
