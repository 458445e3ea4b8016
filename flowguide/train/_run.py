import contextlib
import dataclasses
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._files import replace_file
from .._locks import locked
from .._progress import progress_bar
from .._random import seed_key
from .._run_folder import FINISHED_FILE, seed_folder
from .._save import save
from .._versions import versions
from ..data import is_goal_conditioned, SliceStream
from ._checkpoints import Checkpoints
from ._learner import Jointly
from ._loop import init, Report, train, TrainState
from ._metrics import check_trackers, Metrics
from ._recipe import make_learner, make_policy, watched_losses
from ._settings import check, Settings, WATCHING
from ._sources import check_frozen, Data, Frozen, load_data, load_frozen

SETTINGS_FILE = "settings.json"
METRICS_FILE = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
EVALUATIONS = "evaluations"
NUM_OBSERVATIONS = 256


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

    `ValueError` for settings that make no sense or differ from the folder's earlier ones; what
    `load_ogbench` raises; `RuntimeError` while another process trains in the folder;
    `FloatingPointError` when a loss or a parameter is not finite, naming the update, the learner
    and the last good checkpoint.
    """
    check(settings)
    check_trackers(settings.track)
    out = Path(out).expanduser()
    _compare(out, to_json(settings), settings)
    if _is_finished(out, settings):
        tell(f"{out} is finished already: flowguide.load({str(out)!r}) has its policy and critic.")
        return out
    seeds = list(range(settings.seed, settings.seed + settings.seeds))
    frozen = load_frozen(settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        data = load_data(settings)
    for message in sorted({str(warning.message) for warning in caught}):
        tell(f"Warning: {message}")
    tell(describe(settings, data))
    check_frozen(settings, frozen, data.example)
    claim = {
        **to_json(settings),
        "data_sha256": data.sha256,
        "frozen_sha256": frozen.sha256,
        # See `nn.critic_ensemble`: a few separate members are faster on a CPU. A run that goes on
        # on another machine keeps the form that it has.
        "stacked": jax.default_backend() != "cpu" or settings.num_critics > 2,
    }
    claim["stacked"] = _compare(out, claim, settings).get("stacked", claim["stacked"])
    learner = make_learner(
        settings, data.example, (frozen.policy, frozen.critic), stacked=claim["stacked"]
    )
    key: Any = (
        jnp.stack([seed_key(seed) for seed in seeds]) if len(seeds) > 1 else seed_key(seeds[0])
    )
    watched = watched_losses(settings)
    state = init(learner, key, keep_best=watched)
    out.mkdir(parents=True, exist_ok=True)
    with _alone_in(out), contextlib.ExitStack() as stack:
        if isinstance(data.train, SliceStream):
            stack.callback(data.train.close)
        checkpoints = Checkpoints(out / CHECKPOINTS, keep=settings.keep_checkpoints, tell=tell)
        stack.callback(checkpoints.close)
        found = checkpoints.restore((state, jr.key_data(key)))
        step = 0
        if found is not None:
            step, (state, _) = found
            tell(f"Going on from the checkpoint at update {step:,}.")
        _write_json(out / SETTINGS_FILE, {**claim, **_versions(out, step, tell)})
        metrics = Metrics(
            out / METRICS_FILE, step=step, trackers=settings.track, settings=claim, tell=tell
        )
        stack.callback(metrics.close)
        bar = stack.enter_context(progress_bar("updates", shown=shown))
        task = bar.add_task("train", total=settings.steps, completed=step, note="")
        since = time.perf_counter(), step

        def on_report(report: Report) -> None:
            nonlocal since
            speed = (report.step - since[1]) / (time.perf_counter() - since[0])
            _write_metrics(metrics, report, seeds, speed)
            bar.update(task, completed=report.step, note=_note(report))

        def on_stop(step: int, state: TrainState) -> None:
            nonlocal since
            if settings.evaluate_every and step % settings.evaluate_every == 0:
                models = _models(settings, learner, state, frozen)
                _evaluate(settings, out, models, step, seeds, metrics, tell)
            if step % settings.checkpoint_every == 0 or step == settings.steps:
                _check_parameters(step, state)
                checkpoints.save(step, (state, jr.key_data(key)))
            # What was spent on evaluation and checkpoints is no time of the next updates.
            since = time.perf_counter(), step

        try:
            state = train(
                learner,
                data.train,
                steps=settings.steps,
                batch_size=settings.batch_size,
                key=key,
                log_every=settings.log_every,
                stop_every=settings.stop_every,
                validation=data.validation,
                keep_best=watched,
                state=state,
                on_report=on_report,
                on_stop=on_stop,
            )
        except FloatingPointError as error:
            last = "There is no checkpoint before it."
            if checkpoints.latest is not None:
                last = (
                    f"The last good checkpoint is update {checkpoints.latest:,}, in "
                    f"{checkpoints.folder}."
                )
            raise FloatingPointError(f"{error} {last}") from error
        models = _models(settings, learner, state, frozen)
        for seed, (policy, critic) in zip(seeds, models, strict=True):
            observations = _some_observations(data)
            save(seed_folder(out, seed), policy, critic, observations=observations)
        _write_json(out / FINISHED_FILE, {"steps": settings.steps, "seeds": seeds})
    return out


@contextlib.contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Refuses to train where another process does: they would tidy each other's files away."""
    with locked(out / "lock", wait=False) as is_alone:
        if not is_alone:
            raise RuntimeError(f"Another process is training in {out}.")
        yield


def describe(settings: Settings, data: Data) -> str:
    """One sentence about the data, with the share of successes where there is a task."""
    dataset = data.example
    sentence = f"{len(dataset):,} rows in {dataset.num_episodes:,} episodes"
    if isinstance(data.train, SliceStream):
        sentence = f"{len(data.train)} slices; the one held out has {sentence}"
    if dataset.rewards is not None:
        # Not the masks: `bootstrap_through_success` takes successes out. OGBench's reward is 0
        # where the task is solved and negative elsewhere.
        share = float(jnp.mean(dataset.rewards == 0))
        sentence += f", {share:.2%} of the rows are successes"
    return f"{settings.task}: {sentence}."


def to_json(settings: Settings) -> dict[str, Any]:
    return json.loads(json.dumps(dataclasses.asdict(settings), default=str))


def _write_json(file: Path, value: Any) -> None:
    replace_file(file, lambda path: path.write_text(json.dumps(value, indent=2) + "\n"))


def _compare(out: Path, given: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The settings of the run that the folder holds, if any; a `ValueError` if it is another run.

    More updates at a constant learning rate are the same run, prolonged.
    """
    file = out / SETTINGS_FILE
    if not file.exists():
        return {}
    earlier = json.loads(file.read_text())
    free = WATCHING | {"stacked"}
    if settings.schedule == "constant":
        free |= {"steps"}
    changed = [name for name in given if name not in free and earlier.get(name) != given[name]]
    if changed:
        shown = ", ".join(
            f"{name} was {earlier.get(name)!r}, is {given[name]!r}" for name in changed
        )
        raise ValueError(
            f"{out} holds a run with other settings: {shown}. Choose another --out, or delete the "
            "folder."
        )
    before, after = earlier["steps"], settings.steps
    # The report at an end that is no multiple would be one that a longer run does not have.
    if before > after or (before < after and before % settings.log_every):
        raise ValueError(
            f"{out} holds a run of {before:,} steps. It can be prolonged if that is a multiple of "
            f"log_every ({settings.log_every:,}), and not be made shorter: got {after:,}. Choose "
            "another --out."
        )
    return earlier


def _versions(out: Path, step: int, tell: Callable[[str], Any]) -> dict[str, Any]:
    """The versions that train from here on, and those that trained up to here, which are told."""
    file = out / SETTINGS_FILE
    earlier = json.loads(file.read_text()) if file.exists() else {}
    before, now = earlier.get("versions", {}), versions()
    past = earlier.get("earlier_versions", [])
    differ = [f"{k} {before.get(k)}, now {v}" for k, v in now.items() if before.get(k) != v]
    if before and differ and step:
        tell(
            f"Warning: other versions trained the first {step:,} updates: {'; '.join(differ)}. The "
            "result is not the same, bit for bit, as that of one of them."
        )
        past = [*past, {"until": step, **before}]
    return {"versions": now, **({"earlier_versions": past} if past else {})}


def _is_finished(out: Path, settings: Settings) -> bool:
    file = out / FINISHED_FILE
    return file.exists() and json.loads(file.read_text())["steps"] == settings.steps


def _models(
    settings: Settings, learner: Jointly, state: TrainState, frozen: Frozen
) -> list[tuple[Any, Any]]:
    """The policy and the critic of each seed."""
    result = state.result(learner)

    def of_seed(index: int) -> Any:
        return jax.tree.map(lambda x: x[index] if eqx.is_array(x) else x, result)

    results = [result] if settings.seeds == 1 else map(of_seed, range(settings.seeds))
    return [
        (
            make_policy(settings, found["policy"]) if "policy" in found else frozen.policy,
            found.get("critic"),
        )
        for found in results
    ]


def _some_observations(data: Data) -> jax.Array:
    """Of the validation data, for what is measured later: it needs no dataset then."""
    batch = data.validation.sample(seed_key(0), NUM_OBSERVATIONS)
    batches = batch if isinstance(batch, dict) else {"all": batch}
    # Of goal-conditioned learners each has goals of its own: those that the policy is asked for.
    return batches.get("policy", next(iter(batches.values()))).observation


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
        Agent,
        cross,
        evaluate,
        plot_along_training,
        read_episodes,
        summarise,
        write_episodes,
    )

    method = "robust_q" if settings.critic == "robust" else "qgf"
    weights = settings.evaluate_weights if settings.critic != "none" else ()
    guidances = cross([method] if weights else [], weights=weights)
    episode_seeds = range(settings.evaluate_episodes)
    folder = out / EVALUATIONS
    folder.mkdir(exist_ok=True)
    for seed, (policy, critic) in zip(seeds, models, strict=True):
        file = folder / f"seed_{seed}_update_{step:09d}.jsonl"
        agent = Agent(policy, critic, seed)
        # What was played before the process was killed would be the same again, if this machine
        # rounds as that one did.
        finished = [
            episode
            for episode in read_episodes(file)
            if episode.condition.label in guidances
            and episode.episode_seed in episode_seeds
            and episode.model == agent.model
        ]
        played = evaluate(
            agent,
            settings.task,
            guidances,
            episode_seeds,
            goal_conditioned=is_goal_conditioned(settings.task),
            finished=finished,
        )
        episodes = [*finished, *played]
        found = summarise(episodes)
        rates = {f"success/{condition}": rate.rate for condition, rate in found.items()}
        metrics.write(step, seed, {**rates, "episodes": float(settings.evaluate_episodes)})
        shown = ", ".join(f"{condition} {rate}" for condition, rate in found.items())
        tell(
            f"Update {step:,}, seed {seed}, success in {settings.evaluate_episodes} episodes with "
            f"95% intervals: {shown}."
        )
        try:
            write_episodes(file, episodes)
            plot_along_training(folder, out / "success.png", settings.task)
        except OSError as error:
            tell(f"The episodes of update {step:,} could not be written: {error}")
