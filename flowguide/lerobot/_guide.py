# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import torch
from jaxtyping import Array

from .._critic import coherence
from .._guide import guide as guide_flow
from .._policy import AbstractPolicy, FlowPolicy
from .._pytree import PyTree
from .._replace import changed_flows
from .._weight import RealTimeWeight
from ._critic import critic as critic_of
from ._denoiser import is_guided, REPLACED, shallow_copy
from ._flow_policy import flow_policy, with_features
from ._observations import as_array, observations

P = TypeVar("P")


def guide(
    policy: P,
    critic: Any,
    method: Any = "qgf",
    *,
    critic_features: bool = False,
    critic_horizon: int | None = None,
    critic_units: str = "policy",
    preprocessor: Any = None,
    postprocessor: Any = None,
    backend: str = "callback",
    **options: Any,
) -> P:
    """A LeRobot policy that is guided by a critic, to be used in its place.

    ```python
    guided = flowguide.lerobot.guide(policy, critic, "qgf", weight=0.1)
    action = postprocessor(guided.select_action(preprocessor(observation)))
    ```

    It has the same class and shares every parameter; the given policy is not changed.
    `select_action`, `predict_action_chunk`, its `noise=` and LeRobot's own code before and after
    the denoising loop stay as they are. The loop is flowguide's. With `prev_chunk_left_over=`, and
    `config.rtc_config` enabled, a `flowguide.coherence` is a second critic, as LeRobot's real-time
    chunking has it. `save_pretrained` saves the policy that was given: no weight of it changes.

    **Arguments:**

    - `policy`: SmolVLA, pi0, pi05, or another that denoises as they do.
    - `critic`: `critic(observation, action) -> scalar`; see `flowguide.lerobot.critic`. None for
        methods that ask none.
    - `method`: as for `flowguide.guide`: a name, a guidance, or a sequence of them.
    - `critic_features`: whether the critic sees the policy's own features, as the observation's
        entry `"features"`; see `flowguide.lerobot.flow_policy`.
    - `critic_horizon`: how many actions of a chunk the critic is asked about; None for all.
    - `critic_units`: `"policy"`, normalised, or `"environment"`, for which the processors are
        needed.
    - `preprocessor`, `postprocessor`: LeRobot's pipelines.
    - `backend`: see `flowguide.lerobot.flow_policy`.
    - `options`: for the method, such as `weight`.

    **Returns:**

    A policy of the same class, which can be guided again. Its `flow_policy` is what samples, for
    `trace` and the like. Policies of the same network share what is compiled, whatever their
    weights.

    **Raises:**

    `TypeError` for a policy that is no flow policy, `ValueError` for missing processors; and what
    `flowguide.guide` raises.
    """
    given: Any = policy
    below = given.flow_policy if is_guided(given) else flow_policy(given, backend=backend)
    if critic_features:
        below = changed_flows(below, with_features)
    if critic is not None:
        critic = critic_of(
            policy,
            critic,
            horizon=critic_horizon,
            units=critic_units,
            preprocessor=preprocessor,
            postprocessor=postprocessor,
        )
    guided: Any = shallow_copy(policy)
    guided.flow_policy = guide_flow(below, critic, method, **options)
    sampler = _Sampler(guided.flow_policy, guided.config, guided.model.sample_noise)
    guided.model.sample_actions = sampler.sample_actions
    for name in REPLACED:
        setattr(guided, name, _remembering(guided, name, sampler))
    return guided


class _Sampler:
    """LeRobot's `sample_actions`, by flowguide."""

    def __init__(self, policy: AbstractPolicy, config: Any, draw: Callable[..., torch.Tensor]):
        self.policy, self.config, self.draw = policy, config, draw
        self.batch: dict[str, Any] = {}

    def sample_actions(
        self,
        *prepared: Any,
        noise: Any = None,
        num_steps: int | None = None,
        **chunking: Any,
    ) -> torch.Tensor:
        """Actions of shape `(batch, chunk_size, max_action_dim)`, from noise of
        `(batch, *noise_shape)`."""
        # What LeRobot prepared of the batch, the prefix prepares again: only the batch has all.
        device = next(x.device for x in prepared if isinstance(x, torch.Tensor))
        observation = observations(self.batch)
        size = len(next(iter(observation.values())))
        policy = self.policy
        if num_steps is not None:
            policy = changed_flows(
                policy, lambda flow: dataclasses.replace(flow, num_steps=num_steps)
            )
        shape = (size, *policy.noise_shape)
        if noise is None:
            noise = self.draw(shape, device)
        if tuple(noise.shape) != shape:
            raise ValueError(
                f"noise has shape {tuple(noise.shape)}, expected {shape}: a batch of the guided "
                "policy's noise_shape."
            )
        previous = chunking.get("prev_chunk_left_over")
        keep = None
        if previous is not None:
            shape = (size, self.config.chunk_size, self.config.max_action_dim)
            keep = _chunking(self.config, as_array(previous), shape, chunking)
        actions = _sample(policy, keep, as_array(noise), observation)
        return torch.tensor(jax.device_get(actions), dtype=noise.dtype, device=noise.device)


class _Chunking(eqx.Module):
    """What real-time chunking needs of one call; `left` is a batch of chunks."""

    left: Array
    delay: Array
    horizon: Array
    cap: Array
    schedule: str = eqx.field(static=True)

    def __call__(self, policy: AbstractPolicy, left: Array) -> AbstractPolicy:
        """The policy with a coherence below its own guidances, where LeRobot has it."""
        keep = coherence(left, delay=self.delay, horizon=self.horizon, schedule=self.schedule)

        def change(flow: FlowPolicy) -> FlowPolicy:
            kept = guide_flow(flow.unguided, keep, "qgf", weight=RealTimeWeight(cap=self.cap))
            return dataclasses.replace(kept, guidance=(*kept.guidance, *flow.guidance))

        return changed_flows(policy, change)


def _chunking(
    config: Any, previous: Array, shape: tuple[int, int, int], given: dict[str, Any]
) -> _Chunking:
    """LeRobot's real-time chunking, as its own processor is configured."""
    chosen = getattr(config, "rtc_config", None)
    if chosen is None or not chosen.enabled:
        raise ValueError(
            "prev_chunk_left_over was given, but the policy's config.rtc_config is not enabled."
        )
    rows = previous if previous.ndim == 3 else previous[None]
    if rows.ndim != 3 or any(n > most for n, most in zip(rows.shape, shape, strict=True)):
        raise ValueError(
            f"prev_chunk_left_over has shape {previous.shape}, expected at most {shape}: what is "
            "left of a batch of this policy's chunks."
        )
    horizon = given.get("execution_horizon")
    horizon = chosen.execution_horizon if horizon is None else horizon
    # As LeRobot pads it: what is missing of an action is held at 0.
    left = jnp.zeros(shape).at[:, : rows.shape[1], : rows.shape[2]].set(rows)
    return _Chunking(
        left,
        jnp.asarray(given.get("inference_delay") or 0),
        jnp.asarray(min(horizon, rows.shape[1])),
        jnp.asarray(float(chosen.max_guidance_weight)),
        str(chosen.prefix_attention_schedule.value).lower(),
    )


@eqx.filter_jit
def _sample(
    policy: AbstractPolicy, chunking: _Chunking | None, noise: Array, observation: PyTree
) -> Array:
    if chunking is None:
        return jax.vmap(policy.from_noise)(noise, observation)

    def one(noise: Array, observation: PyTree, left: Array) -> Array:
        return chunking(policy, left).from_noise(noise, observation)

    return jax.vmap(one)(noise, observation, chunking.left)


def _remembering(guided: Any, name: str, sampler: _Sampler) -> Callable[..., Any]:
    """A method that shows its batch to the sampler before LeRobot's own code changes it."""
    method = getattr(type(guided), name)

    @functools.wraps(method)
    def call(batch: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        sampler.batch = dict(batch)
        return method(guided, batch, *args, **kwargs)

    return call
