# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import pkgutil
from typing import Any

from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

import flowguide.lerobot

from .configuration_flowguide import FlowguideConfig
from .processor_flowguide import make_flowguide_pre_post_processors


class FlowguidePolicy(PreTrainedPolicy):
    """A frozen policy, read from its own folder, that a critic guides."""

    config_class = FlowguideConfig
    name = "flowguide"

    def __init__(self, config: FlowguideConfig, **kwargs: Any):
        super().__init__(config)
        if not config.base_path:
            raise ValueError("--policy.base_path must name the frozen policy's folder.")
        base = PreTrainedConfig.from_pretrained(config.base_path)
        base.device = config.device
        policy = get_policy_class(base.type).from_pretrained(config.base_path, config=base)
        preprocessor, postprocessor = make_flowguide_pre_post_processors(config)
        options = config.options
        if config.weight is not None:
            options = {**options, "weight": config.weight}
        self.policy = flowguide.lerobot.guide(
            policy.eval(),
            pkgutil.resolve_name(config.critic) if config.critic else None,
            config.method,
            critic_features=config.critic_features,
            critic_horizon=config.critic_horizon,
            critic_units=config.critic_units,
            preprocessor=preprocessor,
            postprocessor=postprocessor,
            **options,
        )

    @classmethod
    def from_pretrained(
        cls, pretrained_name_or_path: Any, *, config: Any = None, **kwargs: Any
    ) -> "FlowguidePolicy":
        """Reads a guided policy's configuration: it has no weights of its own."""
        config = config or PreTrainedConfig.from_pretrained(pretrained_name_or_path)
        return cls(config).to(config.device).eval()

    def reset(self) -> None:
        self.policy.reset()

    def select_action(self, batch: dict[str, Tensor], **kwargs: Any) -> Tensor:
        return self.policy.select_action(batch, **kwargs)

    def predict_action_chunk(self, batch: dict[str, Tensor], **kwargs: Any) -> Tensor:
        return self.policy.predict_action_chunk(batch, **kwargs)

    def forward(self, batch: dict[str, Tensor]) -> Any:
        raise NotImplementedError("A guided policy is not trained: no weight of it changes.")

    def get_optim_params(self) -> dict[str, Any]:
        return {}
