# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
from jaxtyping import Array, ArrayLike, Float

from .._policy import FlowPolicy
from .._velocity import reverse_time
from ..torch import encoder, velocity
from ._denoiser import denoiser_of


def flow_policy(
    policy: Any,
    *,
    backend: str = "callback",
    num_steps: int | None = None,
    low: ArrayLike = -np.inf,
    high: ArrayLike = np.inf,
    features: bool = False,
) -> FlowPolicy:
    """A flow policy of LeRobot's, SmolVLA, pi0 or pi05, as a `flowguide.FlowPolicy`.

    ```python
    flow = flowguide.lerobot.flow_policy(policy)
    guided = flowguide.guide(flow, critic, "qgf", weight=0.1)
    ```

    An observation is a dictionary of what LeRobot's preprocessor returns, without the batch axis,
    as arrays: see `flowguide.lerobot.observations`. The prefix, of images, instruction and state,
    is computed once an action. Actions are in the policy's own units, padded to its
    `max_action_dim`; `flowguide.lerobot.critic` makes of a critic of real actions one of these.

    **Arguments:**

    - `policy`: a LeRobot policy whose `sample_actions` calls `model.denoise_step` at each step. It
        is not changed; its parameters are shared.
    - `backend`: `"callback"` runs PyTorch at each step. `"torchax"` makes JAX code of the denoising
        network: faster for small networks, with the weights twice in memory; the prefix still runs
        in PyTorch.
    - `num_steps`: of the flow; None for as many as the policy's configuration says.
    - `low`, `high`: bounds of the normalised action. By default there are none, as in LeRobot.
    - `features`: whether critics see the policy's own features of images, instruction and state
        too, as the observation's entry `"features"`; see `flowguide.lerobot.pooled_features`.

    **Returns:**

    A policy over actions of shape `(chunk_size, max_action_dim)`.

    **Raises:**

    `TypeError` for a policy that is no flow policy of this kind.
    """
    check_flow_policy(policy)
    config = policy.config
    denoiser = denoiser_of(policy)
    # Looked up at each call: a policy may be moved.
    options: dict[str, Any] = {"device": denoiser.place}
    if backend == "callback":
        field = velocity(denoiser.velocity, dtype=torch.float32, **options)
    elif backend == "torchax":
        from ._torchax import TorchaxVelocity

        field = TorchaxVelocity(denoiser)
    else:
        raise ValueError(f'backend must be "callback" or "torchax", got {backend!r}.')
    flow = FlowPolicy(
        reverse_time(field),
        (config.chunk_size, config.max_action_dim),
        num_steps=steps_of(config) if num_steps is None else num_steps,
        low=low,
        high=high,
        encode=encoder(denoiser.encode, **options),
    )
    return with_features(flow) if features else flow


def with_features(flow: FlowPolicy) -> FlowPolicy:
    """The policy, of which critics see the pooled features too."""
    return dataclasses.replace(flow, observe=_add_features)


def pooled_features(encoded: dict[str, Any]) -> Float[Array, " size"]:
    """What a policy's prefix says of an observation, in one vector, for a critic to read.

    The values of every attention layer, averaged over the prefix's tokens without padding: of `L`
    layers with `H` key-value heads of size `D`, shape `(L * H * D,)`, in float32.

    **Arguments:**

    - `encoded`: of one observation, as `flow_policy(policy).prepare(observation).encoded` has it.
    """
    values = encoded["past_key_values"][:, 1].astype(jnp.float32)
    mask = encoded["prefix_pad_masks"].astype(jnp.float32)
    # (layer, head, token, size), and a mask of tokens.
    pooled = jnp.einsum("lhts,t->lhs", values, mask) / jnp.maximum(mask.sum(), 1)
    return pooled.reshape(-1)


def _add_features(observation: dict[str, Any], encoded: dict[str, Any]) -> dict[str, Any]:
    return {**observation, "features": pooled_features(encoded)}


def check_flow_policy(policy: Any) -> None:
    """Says what is missing of a policy that flowguide cannot guide."""
    config = getattr(policy, "config", None)
    missing = [
        f"config.{name}" for name in ("chunk_size", "max_action_dim") if not hasattr(config, name)
    ]
    missing += [
        f"model.{name}"
        for name in ("denoise_step", "sample_actions")
        if not hasattr(getattr(policy, "model", None), name)
    ]
    if missing:
        raise TypeError(
            f"{type(policy).__name__} is no flow policy that flowguide knows, such as LeRobot's "
            f"SmolVLA, pi0 and pi05: it has no {', '.join(missing)}."
        )


def steps_of(config: Any) -> int:
    """How many steps a policy's configuration asks for: its name differs."""
    names = ("num_steps", "num_inference_steps")
    return next(getattr(config, name) for name in names if getattr(config, name, None))
