# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs.policies import PreTrainedConfig


@PreTrainedConfig.register_subclass("flowguide")
@dataclass
class FlowguideConfig(PreTrainedConfig):
    """What a guided policy is made of.

    **Attributes:**

    - `base_path`: the frozen policy's folder, or its name on the hub.
    - `critic`: `module:name` of a critic; empty for methods that ask none.
    - `method`: as for `flowguide.guide`.
    - `weight`: None for the method's default.
    - `options`: what else the method takes.
    - `critic_features`: whether the critic sees the policy's own features.
    - `critic_horizon`: how many actions of a chunk the critic is asked about; None for all.
    - `critic_units`: `policy` or `environment`.
    """

    base_path: str = ""
    critic: str = ""
    method: str = "qgf"
    weight: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    critic_features: bool = False
    critic_horizon: int | None = None
    critic_units: str = "policy"

    def __post_init__(self):
        super().__post_init__()
        if self.base_path:
            # What a robot and an environment are matched with is the frozen policy's.
            base = PreTrainedConfig.from_pretrained(self.base_path)
            self.input_features = base.input_features
            self.output_features = base.output_features

    @property
    def observation_delta_indices(self) -> None:
        return None

    @property
    def action_delta_indices(self) -> None:
        return None

    @property
    def reward_delta_indices(self) -> None:
        return None

    def get_optimizer_preset(self) -> Any:
        raise NotImplementedError("A guided policy is not trained: no weight of it changes.")

    def get_scheduler_preset(self) -> None:
        return None

    def validate_features(self) -> None:
        return None
