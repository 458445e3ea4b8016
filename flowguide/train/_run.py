import dataclasses
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._checks import as_positive_int
from .._files import replace_file
from .._progress import progress_bar
from .._save import save, seed_folder
from .._versions import versions
from ..data import is_goal_conditioned, SliceStream
from ._checkpoints import Checkpoints
from ._learner import Jointly
from ._loop import init, Report, train, TrainState
from ._metrics import Metrics
from ._recipe import (
    check,
    Data,
    load_data,
    load_frozen,
    make_learner,
    make_policy,
    watched_losses,
)
from ._settings import Settings, WATCHING

SETTINGS_FILE = "settings.json"
METRICS_FILE = "metrics.jsonl"
FINISHED_FILE = "finished.json"
CHECKPOINTS = "checkpoints"
EVALUATIONS = "evaluations"


def run(
    settings: Settings,
    out: str | os.PathLike,
    *,
    tell: Callable[[str], Any] = print,
    shown: bool = True,
) -> Path:
    """Trains what the settings say, into a folder. Called again, it goes on from what is there.

    Killed at any moment and called again with the same settings, it ends with the same parameters,
    bit for bit on one machine, as if it had never been killed.

    **Arguments:**

    - `settings`: everything that the result follows from.
    - `out`: the folder of the run. It gets `settings.json`, `metrics.jsonl`, `checkpoints/` and,
        for each seed, `seed_N/`, from where `flowguide.load(out)` takes policy and critic.
    - `tell`: called with each sentence that is to be shown.
    - `shown`: whether there is a progress bar.

    **Returns:**

    The folder.

    **Raises:**

    `ValueError` for settings that contradict each other or the folder's earlier ones;
    `FloatingPointError` when a loss or a parameter is not finite, naming the update, the learner
    and the last good checkpoint.
    """
    check(settings)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    seeds = list(range(settings.seed, settings.seed + as_positive_int("seeds", settings.seeds)))
    _claim(out, settings)
    if _is_finished(out, settings):
        tell(f"{out} is finished already: flowguide.load({str(out)!r}) has its policy and critic.")
        return out
    frozen = load_frozen(settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        data = load_data(settings)
    for warning in caught:
        tell(f"Warning: {warning.message}")
    tell(describe(settings, data))
    learner = make_learner(settings, data.example, frozen)
    key: Any = jnp.stack([jr.key(seed) for seed in seeds]) if len(seeds) > 1 else jr.key(seeds[0])
    watched = watched_losses(settings)
    state = init(learner, key, keep_best=watched)
    checkpoints = Checkpoints(out / CHECKPOINTS, keep=settings.keep_checkpoints, tell=tell)
    key_data = jr.key_data(key)
    found = checkpoints.restore((state, key_data))
    if found is not None:
        step, (state, _) = found
        tell(f"Going on from the checkpoint at update {step:,}.")
    else:
        step = 0
    metrics = Metrics(
        out / METRICS_FILE,
        step=step,
        trackers=settings.track,
        settings=to_json(settings),
        tell=tell,
    )
    try:
        with progress_bar("updates", shown=shown) as bar:
            task = bar.add_task("train", total=settings.steps, completed=step, note="")
            since = time.perf_counter(), step

            def on_report(report: Report) -> None:
                nonlocal since
                now = time.perf_counter()
                speed = (report.step - since[1]) / (now - since[0])
                _write_metrics(metrics, report, seeds, speed)
                bar.update(task, completed=report.step, note=_note(report))
                if settings.evaluate_every and report.step % settings.evaluate_every == 0:
                    models = _models(settings, learner, report.state, frozen)
                    _evaluate(settings, out, models, report.step, seeds, metrics, tell)
                if report.step % settings.checkpoint_every == 0 or report.step == settings.steps:
                    _refuse_non_finite(report)
                    checkpoints.save(report.step, (report.state, key_data))
                # What was spent on evaluation and checkpoints is no time of the next updates.
                since = time.perf_counter(), report.step

            state = train(
                learner,
                data.train,
                steps=settings.steps,
                batch_size=settings.batch_size,
                key=key,
                log_every=settings.log_every,
                validation=data.validation,
                keep_best=watched,
                state=state,
                on_report=on_report,
            )
    except FloatingPointError as error:
        latest = checkpoints.latest
        last = (
            "There is no checkpoint before it."
            if latest is None
            else f"The last good checkpoint is update {latest:,}, in {checkpoints.folder}."
        )
        raise FloatingPointError(f"{error} {last}") from error
    finally:
        checkpoints.close()
        if isinstance(data.train, SliceStream):
            data.train.close()
    for seed, (policy, critic) in zip(
        seeds, _models(settings, learner, state, frozen), strict=True
    ):
        save(seed_folder(out, seed), policy, critic)
    _write_json(out / FINISHED_FILE, {"steps": settings.steps, "seeds": seeds})
    return out


def describe(settings: Settings, data: Data) -> str:
    """One sentence about the data, with the share of successes where there is a task."""
    dataset = data.example
    sentence = f"{settings.task}: {len(dataset):,} rows in {dataset.num_episodes:,} episodes"
    if isinstance(data.train, SliceStream):
        sentence = f"{settings.task}: {len(data.train)} slices; the one held out has " + (
            sentence.removeprefix(f"{settings.task}: ")
        )
    if dataset.rewards is not None:
        # Not the masks: `bootstrap_through_success` takes successes out. OGBench's reward is 0
        # where the task is solved and negative elsewhere.
        share = float(jnp.mean(dataset.rewards == 0))
        sentence += f", {share:.2%} of the rows are successes"
    return sentence + "."


def to_json(settings: Settings) -> dict[str, Any]:
    return json.loads(json.dumps(dataclasses.asdict(settings), default=str))


def _write_json(file: Path, value: Any) -> None:
    replace_file(file, lambda path: path.write_text(json.dumps(value, indent=2) + "\n"))


def _claim(out: Path, settings: Settings) -> None:
    """Refuses a folder that holds a run of other settings: the two must not be mixed.

    More updates at a constant learning rate are the same run, prolonged.
    """
    file = out / SETTINGS_FILE
    given = to_json(settings)
    if file.exists():
        earlier = json.loads(file.read_text())
        free = WATCHING | ({"steps"} if settings.schedule == "constant" else set())
        changed = [name for name in given if name not in free and earlier.get(name) != given[name]]
        if changed:
            shown = ", ".join(f"{n} was {earlier.get(n)!r}, is {given[n]!r}" for n in changed)
            raise ValueError(
                f"{out} holds a run with other settings: {shown}. Choose another --out, or delete "
                "the folder."
            )
        if earlier["steps"] > given["steps"]:
            raise ValueError(
                f"{out} holds a run of {earlier['steps']:,} steps, more than {given['steps']:,}. "
                "Choose another --out."
            )
    _write_json(file, {**given, "versions": versions()})


def _is_finished(out: Path, settings: Settings) -> bool:
    file = out / FINISHED_FILE
    return file.exists() and json.loads(file.read_text())["steps"] == settings.steps


def _models(
    settings: Settings, learner: Jointly, state: TrainState, frozen: tuple[Any, Any]
) -> list[tuple[Any, Any]]:
    """The policy and the critic of each seed."""
    result = state.result(learner)

    def of_seed(index: int) -> Any:
        return jax.tree.map(lambda x: x[index] if eqx.is_array(x) else x, result)

    results = [result] if settings.seeds == 1 else map(of_seed, range(settings.seeds))
    return [
        (
            make_policy(settings, found["policy"]) if "policy" in found else frozen[0],
            found.get("critic"),
        )
        for found in results
    ]


def _write_metrics(metrics: Metrics, report: Report, seeds: list[int], speed: float) -> None:
    for index, seed in enumerate(seeds):
        values = {
            prefix + name: float(value if value.ndim == 0 else value[index])
            for prefix, found in (("", report.losses), ("validation/", report.validation))
            for name, value in found.items()
        }
        metrics.write(report.step, seed, {**values, "updates_per_second": speed})


def _note(report: Report) -> str:
    """One loss of each learner, averaged over the seeds: a line is short."""
    losses = {
        name.partition("/")[0]: np.mean(value)
        for name, value in sorted(report.losses.items(), reverse=True)
    }
    return ", ".join(f"{name} {value:.3g}" for name, value in sorted(losses.items()))


@eqx.filter_jit
def _is_finite(state: Any) -> jax.Array:
    arrays = jax.tree.leaves(eqx.filter(state, eqx.is_inexact_array))
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(array)) for array in arrays]))


def _refuse_non_finite(report: Report) -> None:
    """A checkpoint of such parameters would be no good one: every run from it would fail."""
    for name, state in report.state.learner.items():
        if not _is_finite(state):
            raise FloatingPointError(
                f"A parameter of the learner {name!r} is not finite after update {report.step:,}, "
                "though its losses were."
            )


def _evaluate(
    settings: Settings,
    out: Path,
    models: list[tuple[Any, Any]],
    step: int,
    seeds: list[int],
    metrics: Metrics,
    tell: Callable[[str], Any],
) -> None:
    """Plays paired episodes with what has been learnt so far, and draws success along training."""
    from ..evaluate import (
        Condition,
        evaluate,
        plot_along_training,
        read_episodes,
        summarise,
        write_episodes,
    )

    method = "robust_q" if settings.critic == "robust" else "qgf"
    weights = settings.evaluate_weights if settings.critic != "none" else ()
    conditions = [Condition(), *(Condition(method, weight) for weight in weights)]
    folder = out / EVALUATIONS
    folder.mkdir(exist_ok=True)
    for seed, (policy, critic) in zip(seeds, models, strict=True):
        file = folder / f"seed_{seed}_update_{step:09d}.jsonl"
        # Played before the process was killed, and the same again.
        episodes = read_episodes(file)
        if not episodes:
            episodes = evaluate(
                policy,
                critic,
                settings.task,
                conditions,
                range(settings.evaluate_episodes),
                train_seed=seed,
                num_envs=min(settings.evaluate_episodes, 16),
                goal_conditioned=is_goal_conditioned(settings.task),
            )
            write_episodes(file, episodes)
        found = summarise(episodes)
        rates = {f"success/{condition}": rate.rate for condition, rate in found.items()}
        metrics.write(step, seed, {**rates, "episodes": float(settings.evaluate_episodes)})
        shown = ", ".join(f"{condition} {rate}" for condition, rate in found.items())
        tell(
            f"Update {step:,}, seed {seed}, success in {settings.evaluate_episodes} episodes with "
            f"95% intervals: {shown}."
        )
    plot_along_training(folder, out / "success.png", settings.task)
