"""From the settings of a run to what it learns from: data, and what is frozen."""

import dataclasses
import hashlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._fingerprint import fingerprint
from .._run_folder import RunFolder
from .._save import load
from ..data import (
    AbstractSampler,
    CRITIC_GOALS,
    Dataset,
    from_arrays,
    GoalWindows,
    PerLearner,
    POLICY_GOALS,
    SliceStream,
    Windows,
)
from ..ogbench import (
    dataset_name,
    is_goal_conditioned,
    load_ogbench_arrays,
    load_ogbench_file,
    ogbench_dataset,
    ogbench_slices,
    warn_of_no_success,
)
from ._settings import learner_names, OF_CRITICS, RETURNS, Settings

# Of a slice: as many as OGBench's own validation files have.
VALIDATION_EPISODES = 100


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run learns from.

    **Attributes:**

    - `train`: where batches come from, a sampler or a `SliceStream`.
    - `validation`: the sampler of validation batches.
    - `example`: the training data, or of a `SliceStream` the validation data: for sizes.
    - `sha256`: of the training data (of slices: of their names and sizes), to know them again.
    """

    train: AbstractSampler | SliceStream
    validation: AbstractSampler
    example: Dataset
    sha256: str


def load_data(settings: Settings) -> Data:
    """The task's data, on the device. Errors are those of `load_ogbench` and `Windows`."""
    make = partial(_make_sampler, settings)
    options = {
        "bootstrap_through_success": settings.bootstrap_through_success,
        "sparse_rewards": settings.sparse_rewards,
    }
    folder = settings.dataset_dir.expanduser()
    if not settings.slices:
        loaded = load_ogbench_arrays(settings.task, folder, **options)
        digest = hashlib.sha256()
        # Here, and not where they are learnt from: they would come back from the device.
        for rows in (loaded[0][1]["observations"], loaded[0][1]["actions"]):
            digest.update(np.ascontiguousarray(rows, np.float32).data)
        train, validation = (ogbench_dataset(settings.task, *each) for each in loaded)
        return Data(make(train), make(validation), train, digest.hexdigest())
    # Without the version: published folders put more than the dataset's name before it.
    prefix = dataset_name(settings.task).rpartition("-")[0]
    files, validation_files = ogbench_slices(folder, prefix)
    if not validation_files:
        *files, last = files
        validation_files = [last]
        if not files:
            raise ValueError(
                f"{folder} holds one slice: expected one to train on and one to hold out, or a "
                "file ending in -val.npz."
            )
    load_file = partial(load_ogbench_file, settings.task, **options)
    # In this thread: the first file of a task builds its environment.
    arrays = load_file(validation_files[0])
    warn_of_no_success(settings.task, validation_files[0], arrays)
    held_out = from_arrays(**_first_episodes(arrays, VALIDATION_EPISODES))
    stream = SliceStream(files, load_file, make, every=settings.slice_every)
    names = "".join(f"{file.name} {file.stat().st_size}\n" for file in files)
    return Data(stream, make(held_out), held_out, hashlib.sha256(names.encode()).hexdigest())


def _first_episodes(arrays: dict[str, Any], count: int) -> dict[str, Any]:
    stop = np.flatnonzero(arrays["ends"])[:count][-1] + 1
    return {name: array[:stop] for name, array in arrays.items()}


def _make_sampler(settings: Settings, dataset: Dataset) -> AbstractSampler:
    discount, names = settings.discount, learner_names(settings)
    horizons = dict.fromkeys(names, settings.horizon)
    if settings.critic_horizon is not None:
        horizons["critic"] = settings.critic_horizon
    if is_goal_conditioned(settings.task):
        ratios = {"policy": POLICY_GOALS, "critic": CRITIC_GOALS}
        samplers: dict[str, AbstractSampler] = {
            name: GoalWindows(dataset, horizons[name], discount, ratios=ratios[name])
            for name in names
        }
        return PerLearner(samplers)
    if len(set(horizons.values())) > 1:
        return PerLearner({name: Windows(dataset, horizons[name], discount) for name in names})
    returns: Any = settings.critic if settings.critic in RETURNS else "n_step"
    is_sarsa = settings.critic == "sarsa"
    (horizon,) = set(horizons.values())
    return Windows(dataset, horizon, discount, returns=returns, next_actions=is_sarsa)


def sizes(settings: Settings, dataset: Dataset) -> tuple[int, tuple[int, int]]:
    """The size of the observation (with its goal, if there is one) and the shape of the action."""
    observation_size = dataset.observations.shape[1]
    if is_goal_conditioned(settings.task):
        goals = dataset.observations if dataset.goals is None else dataset.goals
        observation_size += goals.shape[1]
    return observation_size, (settings.horizon, dataset.actions.shape[1])


@dataclasses.dataclass(frozen=True)
class Frozen:
    """The policy and the critic of the run that is frozen; None where there is none.

    **Attributes:**

    - `policy`, `critic`: as `flowguide.load` gives them.
    - `sha256`: of their arrays, to know them again.
    """

    policy: Any = None
    critic: Any = None
    sha256: str | None = None


def load_frozen(settings: Settings) -> Frozen:
    """What `settings.frozen` names.

    **Raises:**

    `ValueError` where there is no one policy, or no critic for a learner that needs one;
    `FileNotFoundError` where nothing is.
    """
    if settings.frozen is None:
        return Frozen()
    folder = settings.frozen.expanduser()
    seeds = RunFolder(folder).seeds()
    if len(seeds) > 1:
        raise ValueError(
            f"{folder} holds the training seeds {seeds}: name one, such as "
            f"--frozen {folder / f'seed_{seeds[0]}'}."
        )
    policy, critic = load(folder)
    if policy is None:
        raise ValueError(f"{folder} holds no policy.")
    asking = {
        f"--critic {settings.critic}": settings.critic in OF_CRITICS,
        f"--learner {settings.learner}": settings.learner != "cloning",
    }
    for option, is_asked in asking.items():
        if is_asked and critic is None:
            raise ValueError(f"{option} learns from a critic, and {folder} holds none.")
    return Frozen(policy, critic, fingerprint(policy, critic))


def check_frozen(settings: Settings, frozen: Frozen, dataset: Dataset) -> None:
    """Refuses a frozen policy or critic that cannot act on these data, with a `ValueError`."""
    if frozen.policy is None:
        return
    observation_size, action_shape = sizes(settings, dataset)
    observation, action = jnp.zeros(observation_size), jnp.zeros(action_shape)
    if frozen.policy.action_shape != action_shape:
        raise ValueError(
            f"The policy in {settings.frozen} has actions of shape {frozen.policy.action_shape}, "
            f"and those of {settings.task} at --horizon {settings.horizon} have {action_shape}."
        )
    try:
        jax.eval_shape(frozen.policy.from_noise, action, observation)
        if frozen.critic is not None and (
            settings.critic in OF_CRITICS or settings.learner != "cloning"
        ):
            jax.eval_shape(frozen.critic, observation, action)
    except Exception as error:
        raise ValueError(
            f"What is in {settings.frozen} cannot act on an observation of {settings.task}, which "
            f"has {observation_size} numbers"
            f"{' with its goal' if is_goal_conditioned(settings.task) else ''}: {error}"
        ) from error
