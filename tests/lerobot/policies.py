"""LeRobot's classes at a size for tests, with random weights; nothing is downloaded."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import functools
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors

from examples.lerobot.tiny_smolvla import make_policy, write_vlm

CHUNK, STATE, ACTION = 8, 4, 3


@functools.cache
def vlm() -> Path:
    return write_vlm(Path(tempfile.mkdtemp(prefix="flowguide-vlm-")))


def features() -> dict[str, Any]:
    return {
        "input_features": {
            "observation.state": PolicyFeature(FeatureType.STATE, (STATE,)),
            "observation.image": PolicyFeature(FeatureType.VISUAL, (3, 64, 64)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
        "chunk_size": CHUNK,
        "n_action_steps": CHUNK,
        "device": "cpu",
    }


def smolvla(**options: Any) -> Any:
    return make_policy(
        vlm(), state_size=STATE, action_size=ACTION, chunk=CHUNK, max_action_dim=6, **options
    )


def pi0(name: str = "pi0") -> Any:
    """pi0 or pi05: their sizes are literals, so three names are others while one is built."""
    if name == "pi0":
        import lerobot.policies.pi0.modeling_pi0 as module
        from lerobot.policies.pi0.configuration_pi0 import PI0Config as Config

        Policy = module.PI0Policy
    else:
        import lerobot.policies.pi05.modeling_pi05 as module
        from lerobot.policies.pi05.configuration_pi05 import PI05Config as Config

        Policy = module.PI05Policy
    make_vlm = module.PaliGemmaForConditionalGenerationWithPiGemma
    make_expert = module.PiGemmaForCausalLM

    def size(variant: str) -> Any:
        return module.GemmaConfig(
            width=64, depth=2, mlp_dim=128, num_heads=8, num_kv_heads=1, head_dim=16
        )

    def small_vlm(config: Any) -> Any:
        vision = config.vision_config
        vision.projection_dim = vision.hidden_size = 64
        vision.intermediate_size, vision.num_hidden_layers = 128, 2
        vision.num_attention_heads = 2
        config.text_config.vocab_size, config.image_token_id = 300, 299
        return make_vlm(config=config)

    def small_expert(config: Any) -> Any:
        config.vocab_size = 8
        return make_expert(config=config)

    torch.manual_seed(0)
    config: Any = Config(**features(), max_action_dim=6, image_resolution=(56, 56))
    with (
        mock.patch.object(module, "get_gemma_config", size),
        mock.patch.object(module, "PaliGemmaForConditionalGenerationWithPiGemma", small_vlm),
        mock.patch.object(module, "PiGemmaForCausalLM", small_expert),
    ):
        return Policy(config).eval()


POLICIES = {
    "smolvla": smolvla,
    "pi0": pi0,
    "pi05": functools.partial(pi0, "pi05"),
}


def batch(size: int = 2, seed: int = 0) -> dict[str, Any]:
    """What a policy is asked about: normalised, tokenised."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(size, 12, dtype=torch.bool)
    mask[:, 9:] = False
    return {
        "observation.state": torch.randn(size, STATE, generator=generator),
        "observation.image": torch.rand(size, 3, 64, 64, generator=generator),
        "observation.language.tokens": torch.randint(8, 200, (size, 12), generator=generator),
        "observation.language.attention_mask": mask,
    }


def statistics() -> dict[str, dict[str, torch.Tensor]]:
    def of(size: int, mean: float, std: float) -> dict[str, torch.Tensor]:
        names = {"mean": mean, "std": std, "min": mean - 3 * std, "max": mean + 3 * std}
        return {name: torch.full((size,), value) for name, value in names.items()}

    image = {"mean": torch.zeros(3, 1, 1), "std": torch.ones(3, 1, 1)}
    return {
        "observation.state": of(STATE, 0.1, 0.5),
        "action": of(ACTION, 0.2, 0.4),
        "observation.image": image,
    }


def processors(policy: Any) -> tuple[Any, Any]:
    return make_smolvla_pre_post_processors(policy.config, statistics())
