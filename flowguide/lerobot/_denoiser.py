"""LeRobot's flow policies as two functions: what they compute once an action, and at each step."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import copy
import dataclasses
import weakref
from typing import Any

import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor
from transformers import DynamicCache

from .._policy import AbstractPolicy

_CACHE = "past_key_values"
# The methods that a guided policy has of its own.
REPLACED = ("select_action", "predict_action_chunk")


@dataclasses.dataclass(init=False, eq=False)
class Denoiser:
    """What `sample_actions` of SmolVLA, pi0 and pi05 computes before its loop, and inside of it.

    LeRobot has no name for the first, so its own code runs up to the first call of `denoise_step`,
    whose arguments are what is looked for. This happens on a copy that shares every parameter: the
    given policy's queues and mode stay as they are.

    **Attributes:**

    - `name`, `weights`: what identifies it: the policy's class, and its parameters and buffers.
    """

    name: str
    weights: dict[str, Tensor]

    def __init__(self, policy: PreTrainedPolicy):
        self.name = type(policy).__name__
        self.weights = {**dict(policy.named_parameters()), **dict(policy.named_buffers())}
        # No fields: they change while it is asked.
        self.jax_call: Any = None
        self.policy = shallow_copy(policy)
        self.cache_dtype: torch.dtype | None = None
        self.model: Any = policy.model
        self.policy.model.denoise_step = _stop_with_arguments
        # Real-time chunking is a critic here, whenever LeRobot's own is turned on.
        self.policy.model._rtc_enabled = lambda: False

    def place(self) -> torch.device:
        """Where the policy is now."""
        return next(self.model.parameters()).device

    def encode(self, observation: dict[str, Tensor]) -> dict[str, Any]:
        """The arguments of `denoise_step` that do not change from step to step.

        **Arguments:**

        - `observation`: entries of a batch, each with a leading axis.

        **Returns:**

        A pytree of tensors: the prefix's masks, keys and values, and what else a policy needs.
        """
        config: Any = self.policy.config
        size = len(next(iter(observation.values())))
        # Given, so that nothing is drawn from torch's generator.
        noise = torch.zeros(size, config.chunk_size, config.max_action_dim, device=self.place())
        self.policy.reset()
        try:
            with torch.inference_mode():
                self.policy.predict_action_chunk(dict(observation), noise=noise)
        except _Arguments as caught:
            arguments = caught.arguments
        else:
            raise RuntimeError(
                f"{type(self.policy).__name__} sampled actions without a call of "
                "model.denoise_step(x_t=..., timestep=..., ...), which flowguide guides."
            )
        layers = arguments.pop(_CACHE).layers
        # One array, (batch, layer, 2, ...): each that a callback is handed costs time.
        pairs = [torch.stack((layer.keys, layer.values), 1) for layer in layers]
        self.cache_dtype = pairs[0].dtype
        return {**arguments, _CACHE: torch.stack(pairs, 1)}

    def velocity(self, t: Tensor, action: Tensor, encoded: dict[str, Any]) -> Tensor:
        """The velocity in LeRobot's time, noise at 1, of a batch."""
        cache = DynamicCache()
        # Callbacks cast all floats alike, and layers of half precision take no others.
        for layer, pair in enumerate(encoded[_CACHE].to(self.cache_dtype).unbind(1)):
            cache.update(pair[:, 0], pair[:, 1], layer)
        # LeRobot's own times, to the bit: those of a solver are sums of steps.
        timestep = torch.round(t * 1e6) / 1e6
        # A sixth of the time, where nothing is differentiated.
        with torch.inference_mode(not torch.is_grad_enabled()):
            return self.model.denoise_step(
                x_t=action, timestep=timestep, **{**encoded, _CACHE: cache}
            )


_denoisers: weakref.WeakKeyDictionary[Any, Denoiser] = weakref.WeakKeyDictionary()


def denoiser_of(policy: Any) -> Denoiser:
    """The denoiser of a policy: one, by which compiled programs are found again."""
    found = _denoisers.get(policy)
    if found is None or found.model is not policy.model:
        found = _denoisers[policy] = Denoiser(policy)
    return found


def is_guided(policy: Any) -> bool:
    """Whether `flowguide.lerobot.guide` made it."""
    return isinstance(vars(policy).get("flow_policy"), AbstractPolicy)


def shallow_copy(policy: Any) -> Any:
    """A policy with the same parameters whose attributes, and its model's, are its own, without the
    guidance that it may have."""
    copied = copy.copy(policy)
    copied._modules = dict(policy._modules)
    copied.model = copy.copy(policy.model)
    copied.model._modules = dict(policy.model._modules)
    for name in (*REPLACED, "flow_policy"):
        vars(copied).pop(name, None)
    vars(copied.model).pop("sample_actions", None)
    copied.reset()
    return copied


class _Arguments(Exception):
    def __init__(self, arguments: dict[str, Any]):
        super().__init__("of denoise_step")
        self.arguments = arguments


def _stop_with_arguments(*, x_t: Tensor, timestep: Tensor, **arguments: Any) -> Tensor:
    del x_t, timestep
    raise _Arguments(arguments)
