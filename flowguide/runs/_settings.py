import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from .._checks import as_positive_int, as_shape, is_int
from .._random import as_seed
from ..ogbench import is_goal_conditioned
from ._coefficients import check_coefficient, COEFFICIENTS
from ._metrics import Tracker

CriticKind = Literal[
    "iql", "sarsa", "bootstrapped", "monte_carlo", "success_to_go", "robust", "agf", "none"
]
LearnerKind = Literal["cloning", "edp", "fql", "fawac", "dsrl", "qam"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that a training run follows from. Each field is a flag of `flowguide train`."""

    task: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")]
    """An OGBench name. With a task (cube-single-play-singletask-task1-v0) policy and critic learn
    that task; without one (cube-single-play-v0, cube-single-play-oraclerep-v0) they are
    goal-conditioned, with hindsight goals."""

    dataset_dir: Path = Path("~/.ogbench/data")
    """The folder with the dataset's npz files. What is missing is downloaded."""

    slices: bool = False
    """The folder holds a dataset in slices (the 100M sets): they are streamed."""

    slice_every: int = 1000
    """Updates on each slice."""

    steps: int = 100_000
    """Updates."""

    horizon: int = 5
    """Actions in a chunk."""

    hidden: tuple[int, ...] = (512, 512, 512, 512)
    """Hidden sizes of every network."""

    batch_size: int = 256
    """Windows in a batch."""

    discount: float = 0.99
    """Gamma, for each environment step."""

    critic: CriticKind = "iql"
    """What the critic learns: iql (the best actions in the data); sarsa (the data's own next
    actions); bootstrapped (the frozen policy's own value, or the guided policy's); monte_carlo (the
    returns that episodes had); success_to_go (discount ** steps until success); robust (a frozen
    critic's values, from noisy actions); agf (its gradient, as it comes back through the frozen
    policy); none (a policy alone)."""

    learner: LearnerKind = "cloning"
    """How the policy learns: cloning, from the data alone; or from the policy and the critic of a
    finished run (--frozen, with --critic none): edp (valued one step ahead), fql (one step,
    distilled), fawac (cloning by advantage), dsrl (the frozen policy, steered by its noise), qam
    (the policy itself, tuned by adjoint matching)."""

    coefficient: float | None = None
    """Of the learner: edp's weight of cloning (by default 100), fql's alpha (100), for both inf for
    cloning alone; fawac's inverse temperature (1), qam's (10); dsrl's noise scale (1)."""

    frozen: Path | None = None
    """A finished run whose policy is used as it is, so that only a critic is trained: the policy of
    a dataset serves all its tasks. Needed by bootstrapped, and by robust, agf and --learner for its
    critic too."""

    expectile: float = 0.9
    """IQL's expectile, in (0, 1): towards 1 the best action in the data, 0.5 the mean."""

    critic_horizon: int | None = None
    """Of iql: actions in the longer chunks that a second critic values, which the critic of the
    policy's chunks learns from (DQC). By default there is none."""

    distil_expectile: float = 0.5
    """The expectile of what it learns from it, in (0, 1): towards 1 the best that the data did
    after the policy's chunk."""

    num_critics: int = 2
    """Critics in the ensemble."""

    pessimism: float | None = None
    """Rho: the ensemble counts as mean - rho * std, at 0 as its mean. By default it counts as its
    minimum."""

    target_rate: float = 0.005
    """How fast target critics follow, for each update."""

    target_method: Literal["unguided", "qgf", "ood"] = "unguided"
    """Guidance of the next actions that a bootstrapped critic learns from."""

    target_weight: float | None = None
    """Its weight. By default kappa 5 at the observation at hand, as anywhere."""

    target_best_of_n: int = 1
    """How many next actions are sampled, of which the critic chooses one."""

    flow_steps: int = 10
    """Euler steps of the flow policy."""

    times: Literal["uniform", "grid"] = "uniform"
    """Times at which the flow is trained: uniform on [0, 1], or the grid of its Euler steps, as the
    published QGF code does."""

    learning_rate: float = 3e-4
    """Adam's learning rate."""

    warmup_steps: int = 0
    """Updates over which the learning rate rises from 0."""

    schedule: Literal["constant", "cosine"] = "constant"
    """The learning rate after the warm-up; cosine ends at 0."""

    clip_norm: float | None = None
    """Gradients longer than this are scaled down to it."""

    average_rate: float | None = None
    """The policy is a moving average of its weights, which follows them at this rate."""

    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """What hidden layers are computed in; parameters are float32."""

    bootstrap_through_success: bool = False
    """The published 100M pipeline's masks: values are bootstrapped from beyond a success."""

    sparse_rewards: bool = False
    """Rewards of -1 until the task is solved, instead of OGBench's count of what is left to do
    (puzzle, scene)."""

    seeds: int = 1
    """How many seeds are trained, in one program."""

    seed: int = 0
    """The first of them."""

    keep: Literal["auto", "last", "best"] = "auto"
    """Which critic is kept: the last, or the one with the lowest validation loss. auto keeps the
    best of monte_carlo and success_to_go, which overfit, and the last of the others."""

    log_every: int = 1000
    """Updates between two lines of metrics.jsonl, with training and validation losses."""

    checkpoint_every: int = 10_000
    """Updates between two checkpoints, from which the same command goes on."""

    keep_checkpoints: int = 2
    """How many checkpoints are kept."""

    evaluate_every: int | None = None
    """Updates between two evaluations: values can collapse late in training."""

    evaluate_episodes: int = 20
    """Episodes of each condition in one evaluation."""

    evaluate_weights: tuple[float, ...] = (0.1,)
    """Weights of qgf in an evaluation; the unguided policy always plays too."""

    track: Annotated[tuple[Tracker, ...], tyro.conf.arg(help_behavior_hint="")] = ()
    """Trackers that metrics go to, besides metrics.jsonl: wandb, tensorboard."""

    def __post_init__(self):
        for name in ("dataset_dir", "frozen"):
            value = getattr(self, name)
            # tyro builds settings with a mark where a value is still missing.
            if isinstance(value, (str, os.PathLike)):
                object.__setattr__(self, name, Path(value))

    def check(self) -> None:
        """Refuses what makes no sense, before anything is loaded or written.

        **Raises:**

        `ValueError`, naming the setting, what was given and what was expected.
        """
        _check_numbers(self)
        _check_combinations(self)

    def to_json(self) -> dict[str, Any]:
        """As `settings.json` has it: paths are strings, tuples are lists."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=str))

    @property
    def learner_coefficient(self) -> float:
        """What `coefficient` is, by default that of the learner."""
        if self.coefficient is not None:
            return self.coefficient
        return COEFFICIENTS.get(self.learner, float("nan"))

    @property
    def method(self) -> str:
        """The guidance that what is trained is for."""
        return {"robust": "robust_q", "agf": "agf"}.get(self.critic, "qgf")

    @property
    def stop_every(self) -> int:
        """Updates between two moments at which a checkpoint or an evaluation can be due."""
        intervals = (self.checkpoint_every, self.evaluate_every)
        return math.gcd(*(interval for interval in intervals if interval is not None))


# Critics that learn from a finished run's critic.
OF_CRITICS = ("robust", "agf")

# Critics that are regressed on returns to the end, named as `Windows` names those.
RETURNS = ("monte_carlo", "success_to_go")

WATCHING = {
    "dataset_dir",
    "frozen",
    "checkpoint_every",
    "keep_checkpoints",
    "evaluate_every",
    "evaluate_episodes",
    "evaluate_weights",
    "track",
}
"""The settings that say how a run is watched and where its data lie.

All else decides what it learns.
"""


def learner_names(settings: Settings) -> list[str]:
    """What a run learns: a policy unless it is frozen, a critic unless there is none."""
    names = ["policy"] if settings.frozen is None or settings.learner != "cloning" else []
    return names if settings.critic == "none" else [*names, "critic"]


def _check_numbers(settings: Settings) -> None:
    counts = (
        "steps horizon batch_size num_critics flow_steps target_best_of_n seeds slice_every "
        "log_every checkpoint_every keep_checkpoints evaluate_episodes"
    )
    for name in counts.split():
        as_positive_int(name, getattr(settings, name))
    as_shape("hidden", settings.hidden)
    as_seed("seed", settings.seed, settings.seeds)
    if not is_int(settings.warmup_steps) or settings.warmup_steps < 0:
        raise ValueError(
            f"warmup_steps must be an integer of at least 0, got {settings.warmup_steps!r}."
        )
    ranges = {
        "discount": (0, 1, "[0, 1]"),
        "expectile": (1e-9, 1 - 1e-9, "(0, 1)"),
        "distil_expectile": (1e-9, 1 - 1e-9, "(0, 1)"),
        "target_rate": (1e-9, 1, "(0, 1]"),
        "average_rate": (1e-9, 1, "(0, 1]"),
        "learning_rate": (1e-30, float("inf"), "above 0"),
        "clip_norm": (1e-30, float("inf"), "above 0"),
        "pessimism": (0, float("inf"), "at least 0"),
    }
    for name, (low, high, accepted) in ranges.items():
        value = getattr(settings, name)
        # Written so that NaN is refused too.
        if value is not None and not low <= value <= high:
            raise ValueError(
                f"{name} must be {'in ' * (accepted[0] in '([')}{accepted}, got {value}."
            )
    log_every = settings.log_every
    for name in ("checkpoint_every", "evaluate_every"):
        interval = getattr(settings, name)
        if interval is None:
            continue
        if as_positive_int(name, interval) % log_every and log_every % interval:
            raise ValueError(
                f"{name} must be a multiple of log_every ({log_every}), or a part of it, got "
                f"{interval}."
            )
    if settings.schedule == "cosine" and settings.warmup_steps >= settings.steps:
        raise ValueError(
            f"warmup_steps must be less than steps ({settings.steps}), got {settings.warmup_steps}."
        )
    if len(set(settings.evaluate_weights)) < len(settings.evaluate_weights):
        raise ValueError(f"evaluate_weights repeats a weight: {settings.evaluate_weights}.")


def _check_combinations(settings: Settings) -> None:
    critic = settings.critic
    if is_goal_conditioned(settings.task) and critic not in ("iql", "none"):
        raise ValueError(
            f"{settings.task!r} names no single task, so it is learnt with hindsight goals, for "
            f"which --critic {critic} is not defined: expected iql or none, or a name with a task, "
            "such as 'cube-single-play-singletask-task1-v0'."
        )
    if settings.frozen is None and critic in ("bootstrapped", *OF_CRITICS):
        raise ValueError(
            f"--critic {critic} learns from a finished run: --frozen names its folder. "
            "`flowguide train TASK --critic none --out RUN` trains a policy alone, --critic iql a "
            "policy and a critic."
        )
    if settings.critic_horizon is not None:
        if critic != "iql":
            raise ValueError(f"--critic-horizon is one of --critic iql; it is {critic}.")
        longer = as_positive_int("critic_horizon", settings.critic_horizon)
        if longer <= settings.horizon:
            raise ValueError(
                f"critic_horizon must be above horizon ({settings.horizon}), the policy's own "
                f"chunk, got {longer}."
            )
    if settings.learner != "cloning":
        if settings.frozen is None or critic != "none":
            raise ValueError(
                f"--learner {settings.learner} learns a policy from the policy and the critic of a "
                "finished run: expected --frozen RUN and --critic none."
            )
        check_coefficient(settings.learner, settings.learner_coefficient)
        if settings.average_rate is not None:
            raise ValueError("--average-rate is one of --learner cloning.")
    elif settings.coefficient is not None:
        *others, last = COEFFICIENTS
        raise ValueError(
            f"--coefficient is one of --learner {', '.join(others)} and {last}; it is cloning."
        )
    if settings.learner == "cloning" and settings.frozen is not None and critic == "none":
        raise ValueError("--frozen with --critic none leaves nothing to learn.")
    if critic == "success_to_go" and settings.bootstrap_through_success:
        raise ValueError(
            "--critic success_to_go reads successes from the masks, and "
            "--bootstrap-through-success takes them out."
        )
    if settings.sparse_rewards and (
        critic == "success_to_go" or is_goal_conditioned(settings.task)
    ):
        raise ValueError(
            "--sparse-rewards changes the rewards of a task: --critic success_to_go reads none, "
            "and those of hindsight goals are sparse as they are."
        )
    if settings.keep == "best" and critic == "none":
        raise ValueError("--keep best chooses a critic, and --critic none has none.")
    if settings.pessimism is not None and settings.num_critics < 2:
        raise ValueError("--pessimism needs --num-critics of at least 2: one has no spread.")
    is_targeted = settings.target_method != "unguided" or settings.target_best_of_n > 1
    if is_targeted and critic != "bootstrapped":
        raise ValueError(
            "--target-method and --target-best-of-n are about the next actions of --critic "
            f"bootstrapped; it is {critic}."
        )
