# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from typing import Any

from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import make_pre_post_processors


def make_flowguide_pre_post_processors(config: Any, dataset_stats: Any = None) -> Any:
    """The frozen policy's own processors."""
    del dataset_stats
    base = PreTrainedConfig.from_pretrained(config.base_path)
    return make_pre_post_processors(base, pretrained_path=config.base_path)
