"""From the settings of a run to its learner and its data."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import optax

from .. import nn
from .._critic import Pessimism
from .._guidance import AbstractGuidance, best_of_n
from .._guide import METHODS
from .._policy import FlowPolicy
from .._save import load
from ..data import (
    AbstractSampler,
    CRITIC_GOALS,
    Dataset,
    from_arrays,
    GoalWindows,
    is_goal_conditioned,
    load_ogbench,
    load_ogbench_file,
    ogbench_slices,
    PerLearner,
    POLICY_GOALS,
    SliceStream,
    Windows,
)
from ._bootstrapped import Bootstrapped
from ._flow_matching import FlowMatching
from ._iql import IQL
from ._learner import AbstractLearner, Jointly
from ._noise_conditioned import NoiseConditioned
from ._regression import ReturnRegression
from ._settings import Settings

# Critics that are regressed on returns to the end, named as `Windows` names those.
RETURNS = ("monte_carlo", "success_to_go")


class Data(eqx.Module):
    """What a run learns from.

    **Attributes:**

    - `train`: where batches come from, a sampler or a `SliceStream`.
    - `validation`: the sampler of validation batches.
    - `example`: the dataset (or one slice of it) that sizes are read from.
    """

    train: AbstractSampler | SliceStream
    validation: AbstractSampler
    example: Dataset


def load_data(settings: Settings) -> Data:
    """The task's data, on the device. Errors are those of `load_ogbench` and `Windows`."""
    make = partial(_make_sampler, settings)
    options = {"bootstrap_through_success": settings.bootstrap_through_success}
    folder = settings.dataset_dir.expanduser()
    if not settings.slices:
        train, validation = load_ogbench(settings.task, folder, **options)
        return Data(make(train), make(validation), train)
    files, validation_files = ogbench_slices(folder)
    load_file = partial(load_ogbench_file, settings.task, **options)
    stream = SliceStream(files, load_file, make, every=settings.slice_every, seed=settings.seed)
    # One slice of a hundred says enough, where none is kept apart for it.
    held_out = from_arrays(**load_file((validation_files or files)[0]))
    return Data(stream, make(held_out), held_out)


def _make_sampler(settings: Settings, dataset: Dataset) -> AbstractSampler:
    horizon, discount = settings.horizon, settings.discount
    if is_goal_conditioned(settings.task):
        ratios = {"policy": POLICY_GOALS, "critic": CRITIC_GOALS}
        samplers: dict[str, AbstractSampler] = {
            name: GoalWindows(dataset, horizon, discount, ratios=ratios[name])
            for name in learner_names(settings)
        }
        return PerLearner(samplers)
    returns: Any = settings.critic if settings.critic in RETURNS else "n_step"
    return Windows(dataset, horizon, discount, returns=returns)


def learner_names(settings: Settings) -> list[str]:
    """What a run learns: a policy unless it is frozen, a critic unless there is none."""
    names = ["policy"] if settings.frozen is None else []
    return names if settings.critic == "none" else [*names, "critic"]


def make_learner(settings: Settings, dataset: Dataset, frozen: tuple[Any, Any]) -> Jointly:
    """The learner of a run, for data like these and the policy and critic that are frozen."""
    observation_size = dataset.observations.shape[1]
    if is_goal_conditioned(settings.task):
        goals = dataset.observations if dataset.goals is None else dataset.goals
        observation_size += goals.shape[1]
    action_shape = (settings.horizon, dataset.actions.shape[1])
    network = {"hidden": settings.hidden, "compute_dtype": settings.compute_dtype}
    optimiser = make_optimiser(settings)
    num_steps = settings.flow_steps if settings.times == "grid" else None

    def make_velocity(key):
        return nn.VelocityMLP(observation_size, action_shape, **network, key=key)

    def make_critic(key, noisy=False):
        return nn.critic_ensemble(
            settings.num_critics,
            observation_size,
            action_shape,
            **network,
            reduction="min" if settings.pessimism is None else Pessimism(settings.pessimism),
            # See `nn.critic_ensemble`: a few separate members are faster on a CPU.
            stacked=jax.default_backend() != "cpu" or settings.num_critics > 2,
            noisy=noisy,
            key=key,
        )

    def make_value(key):
        return nn.ValueMLP(observation_size, **network, key=key)

    policy, critic = frozen
    rate = settings.target_rate
    makers: dict[str, Callable[[], AbstractLearner]] = {
        "iql": lambda: IQL(make_critic, make_value, settings.expectile, rate, optimiser),
        "bootstrapped": lambda: Bootstrapped(
            make_critic, policy, target_guidance(settings), rate, optimiser
        ),
        "monte_carlo": lambda: ReturnRegression(make_critic, optimiser),
        "success_to_go": lambda: ReturnRegression(make_critic, optimiser),
        "robust": lambda: NoiseConditioned(
            critic, partial(make_critic, noisy=True), optimiser, num_steps
        ),
    }
    learners: dict[str, AbstractLearner] = {}
    for name in learner_names(settings):
        if name == "policy":
            learners[name] = FlowMatching(
                make_velocity, optimiser, num_steps, settings.average_rate
            )
        else:
            learners[name] = makers[settings.critic]()
    return Jointly(learners)


def load_frozen(settings: Settings) -> tuple[Any, Any]:
    """The policy and the critic of the run that is frozen; None where there is none.

    **Raises:**

    `ValueError` where a critic needs a part that is not there.
    """
    if settings.frozen is None:
        return None, None
    policy, critic = load(settings.frozen)
    if policy is None:
        raise ValueError(f"{settings.frozen} holds no policy.")
    if settings.critic == "robust" and critic is None:
        raise ValueError(f"--critic robust learns from a critic, and {settings.frozen} holds none.")
    if policy.action_shape[0] != settings.horizon:
        raise ValueError(
            f"The policy in {settings.frozen} acts in chunks of {policy.action_shape[0]} actions, "
            f"and --horizon is {settings.horizon}: they have to be the same."
        )
    return policy, critic


def target_guidance(settings: Settings) -> list[AbstractGuidance] | None:
    """The guidance that a bootstrapped critic's next actions are sampled with."""
    chosen: list[Any] = []
    if settings.target_method != "unguided":
        chosen.append(METHODS[settings.target_method](settings.target_weight))
    if settings.target_best_of_n > 1:
        chosen.append(best_of_n(settings.target_best_of_n))
    return chosen or None


def make_optimiser(settings: Settings) -> optax.GradientTransformation:
    """Adam with the schedule and the clipping of the settings."""
    rate: Any = settings.learning_rate
    warmup = settings.warmup_steps
    if settings.schedule == "cosine":
        rate = optax.cosine_decay_schedule(rate, max(settings.steps - warmup, 1))
    if warmup:
        rise = optax.linear_schedule(0.0, settings.learning_rate, warmup)
        after: Any = rate if callable(rate) else optax.constant_schedule(rate)
        rate = optax.join_schedules([rise, after], [warmup])
    adam = optax.adam(rate)
    if settings.clip_norm is None:
        return adam
    return optax.chain(optax.clip_by_global_norm(settings.clip_norm), adam)


def watched_losses(settings: Settings) -> tuple[str, ...]:
    """The validation losses whose best result is kept."""
    is_best = settings.keep == "best" or (settings.keep == "auto" and settings.critic in RETURNS)
    if not is_best or settings.critic == "none":
        return ()
    return ("critic/critic_loss" if settings.critic == "iql" else "critic/loss",)


def make_policy(settings: Settings, velocity: Any) -> FlowPolicy:
    """The flow policy of a learnt velocity field."""
    return FlowPolicy(velocity, velocity.action_shape, num_steps=settings.flow_steps)


def check(settings: Settings) -> None:
    """Refuses settings that contradict each other, before anything is loaded.

    **Raises:**

    `ValueError`.
    """
    if settings.frozen is None and settings.critic in ("bootstrapped", "robust"):
        raise ValueError(
            f"--critic {settings.critic} learns from a finished run: --frozen names its folder. "
            "`flowguide train TASK --critic none --out RUN` trains a policy alone, --critic iql a "
            "policy and a critic."
        )
    if settings.frozen is not None and settings.critic == "none":
        raise ValueError("--frozen with --critic none leaves nothing to learn.")
    if is_goal_conditioned(settings.task) and settings.critic not in ("iql", "none"):
        raise ValueError(
            f"{settings.task!r} names no single task, so it is learnt with hindsight goals, for "
            f"which --critic {settings.critic} is not defined: expected iql or none, or a name "
            "with a task, such as 'cube-single-play-singletask-task1-v0'."
        )
    for name in ("checkpoint_every", "evaluate_every"):
        interval = getattr(settings, name)
        if interval is not None and (interval < 1 or interval % settings.log_every):
            raise ValueError(
                f"{name} must be a multiple of log_every ({settings.log_every}), got {interval}."
            )
    if settings.target_rate and settings.pessimism is not None and settings.num_critics < 2:
        raise ValueError("--pessimism needs --num-critics of at least 2: one has no spread.")
