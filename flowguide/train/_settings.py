import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ._metrics import Tracker

CriticKind = Literal["iql", "bootstrapped", "monte_carlo", "success_to_go", "robust", "none"]


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
    """What the critic learns: iql (the best actions in the data); bootstrapped (the frozen policy's
    own value, or the guided policy's); monte_carlo (the returns that episodes had); success_to_go
    (discount ** steps until success); robust (a frozen critic's values, from noisy actions);
    none (a policy alone)."""

    frozen: Path | None = None
    """A finished run whose policy is used as it is, so that only a critic is trained: the policy of
    a dataset serves all its tasks. Needed by bootstrapped, and by robust for its critic too."""

    expectile: float = 0.9
    """IQL's expectile, in (0, 1): towards 1 the best action in the data, 0.5 the mean."""

    num_critics: int = 2
    """Critics in the ensemble."""

    pessimism: float | None = None
    """Rho: the ensemble counts as mean - rho * std. By default it counts as its minimum."""

    target_rate: float = 0.005
    """How fast target critics follow, for each update."""

    target_method: Literal["unguided", "qgf", "ood"] = "unguided"
    """Guidance of the next actions that a bootstrapped critic learns from."""

    target_weight: float = 0.1
    """Its weight."""

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

    track: tuple[Tracker, ...] = ()
    """Trackers that metrics go to, besides metrics.jsonl: wandb, tensorboard, trackio."""


# What says how a run is watched and where its data lie. All else decides what it learns.
WATCHING = {
    "dataset_dir",
    "checkpoint_every",
    "keep_checkpoints",
    "evaluate_every",
    "evaluate_episodes",
    "evaluate_weights",
    "track",
}
