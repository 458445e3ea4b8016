"""From the settings of a run to its learner."""

from collections.abc import Callable
from functools import partial
from typing import Any

import optax

from .. import nn
from .._catalogue import method_named
from .._critic import Pessimism
from .._guidance import AbstractGuidance, best_of_n
from .._policy import FlowPolicy
from ..data import Dataset
from ..train import (
    AbstractLearner,
    AGF,
    Bootstrapped,
    DecoupledIQL,
    DSRL,
    EDP,
    FAWAC,
    FlowMatching,
    FQL,
    IQL,
    Jointly,
    NoiseConditioned,
    QAM,
    ReturnRegression,
)
from ._settings import learner_names, RETURNS, Settings
from ._sources import sizes


def make_learner(
    settings: Settings, dataset: Dataset, frozen: tuple[Any, Any], *, stacked: bool
) -> Jointly:
    """The learner of a run, for data like these and the policy and critic that are frozen.

    `stacked` is the form of the critic's ensemble; see `nn.critic_ensemble`.
    """
    observation_size, action_shape = sizes(settings, dataset)
    network = {"hidden": settings.hidden, "compute_dtype": settings.compute_dtype}
    optimiser = make_optimiser(settings)
    num_steps = settings.flow_steps if settings.times == "grid" else None

    def make_velocity(key):
        return nn.VelocityMLP(observation_size, action_shape, **network, key=key)

    def make_critic(key, noisy=False, horizon=None):
        return nn.critic_ensemble(
            settings.num_critics,
            observation_size,
            (horizon or settings.horizon, *action_shape[1:]),
            **network,
            reduction="min" if settings.pessimism is None else Pessimism(settings.pessimism),
            stacked=stacked,
            noisy=noisy,
            key=key,
        )

    def make_value(key):
        return nn.ValueMLP(observation_size, **network, key=key)

    def make_actor(key):
        scale = settings.learner_coefficient
        return nn.NoiseActor(observation_size, action_shape, **network, scale=scale, key=key)

    policy, critic = frozen
    rate = settings.target_rate

    def iql() -> AbstractLearner:
        learner = IQL(make_critic, make_value, settings.expectile, rate, optimiser)
        if settings.critic_horizon is None:
            return learner
        make_chunk_critic = partial(make_critic, horizon=settings.critic_horizon)
        expectile = settings.distil_expectile
        return DecoupledIQL(make_chunk_critic, learner, settings.horizon, expectile)

    def frozen_steps() -> int | None:
        return policy.num_steps if settings.times == "grid" else None

    makers: dict[str, Callable[[], AbstractLearner]] = {
        "iql": iql,
        "sarsa": lambda: Bootstrapped(make_critic, None, None, rate, optimiser),
        "bootstrapped": lambda: Bootstrapped(
            make_critic, policy, target_guidance(settings), rate, optimiser
        ),
        "monte_carlo": lambda: ReturnRegression(make_critic, optimiser),
        "success_to_go": lambda: ReturnRegression(make_critic, optimiser),
        "robust": lambda: NoiseConditioned(
            *(critic, partial(make_critic, noisy=True), optimiser, frozen_steps())
        ),
        "agf": lambda: AGF(make_velocity, policy, critic, optimiser=optimiser),
    }
    coefficient = settings.learner_coefficient
    policies: dict[str, Callable[[], AbstractLearner]] = {
        "cloning": lambda: FlowMatching(make_velocity, optimiser, num_steps, settings.average_rate),
        "edp": lambda: EDP(
            *(make_velocity, critic, coefficient, optimiser, num_steps, policy.low, policy.high)
        ),
        "fql": lambda: FQL(make_velocity, policy, critic, coefficient, optimiser),
        "fawac": lambda: FAWAC(
            *(make_velocity, policy, critic, coefficient), optimiser=optimiser, num_steps=num_steps
        ),
        "dsrl": lambda: DSRL(make_actor, make_critic, policy, critic, optimiser=optimiser),
        "qam": lambda: QAM(policy, critic, coefficient, optimiser),
    }
    learners: dict[str, AbstractLearner] = {}
    for name in learner_names(settings):
        if name == "policy":
            learners[name] = policies[settings.learner]()
        else:
            learners[name] = makers[settings.critic]()
    return Jointly(learners)


def target_guidance(settings: Settings) -> list[AbstractGuidance] | None:
    """The guidance that a bootstrapped critic's next actions are sampled with."""
    chosen: list[Any] = []
    if settings.target_method != "unguided":
        weight = {} if settings.target_weight is None else {"weight": settings.target_weight}
        chosen.append(method_named(settings.target_method).make(**weight))
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
    """The flow policy of a learnt velocity field; what is a policy already stays one."""
    if isinstance(velocity, FlowPolicy):
        return velocity
    return FlowPolicy(velocity, velocity.action_shape, num_steps=settings.flow_steps)
