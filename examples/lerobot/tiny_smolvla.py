"""A SmolVLA of about one million parameters, of LeRobot's own classes, without the network.

LeRobot builds a SmolVLA round a vision-language model that it reads from a folder: `write_vlm`
writes such a folder, with a tokenizer of bytes, so that any instruction can be said. Its weights
are random: the policy is trained whole.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false

import os
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from tokenizers import decoders, models, pre_tokenizers, Tokenizer
from transformers import (
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

SPECIAL = {
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "bos_token": "<s>",
    "eos_token": "<end_of_utterance>",
}
IMAGE_TOKENS = {
    "fake_image_token": "<fake_token_around_image>",
    "image_token": "<image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}
PATCH = 16


class Size(NamedTuple):
    """How large a vision-language model is."""

    layers: int
    width: int
    hidden: int
    heads: int
    key_heads: int
    image: int
    vision_layers: int
    vision_width: int
    vision_heads: int
    # Pixels of an image's side that become one token, in patches of 16.
    patches: int


TINY = Size(4, 96, 384, 3, 1, 64, 2, 64, 2, 2)
# Those of SmolVLM2-500M, of whose 32 layers a SmolVLA has 16.
FULL = Size(16, 960, 2560, 15, 5, 512, 12, 768, 12, 4)


def write_vlm(folder: Path, size: Size = TINY) -> Path:
    """Writes a random vision-language model's configuration, tokenizer and processor.

    **Arguments:**

    - `folder`: made if missing.
    - `size`: of the model.

    **Returns:**

    The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = [*SPECIAL.values(), "<|im_start|>", *IMAGE_TOKENS.values()]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*words, *letters]))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **SPECIAL, extra_special_tokens=IMAGE_TOKENS
    )
    config = SmolVLMConfig(
        text_config={
            "model_type": "llama",
            "vocab_size": len(vocabulary),
            "hidden_size": size.width,
            "intermediate_size": size.hidden,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.key_heads,
            "head_dim": size.width // size.heads,
            "max_position_embeddings": 512,
            "pad_token_id": vocabulary["<pad>"],
        },
        vision_config={
            "hidden_size": size.vision_width,
            "intermediate_size": 2 * size.vision_width,
            "num_hidden_layers": size.vision_layers,
            "num_attention_heads": size.vision_heads,
            "image_size": size.image,
            "patch_size": PATCH,
        },
        image_token_id=vocabulary["<image>"],
        pad_token_id=vocabulary["<pad>"],
        scale_factor=size.patches,
        tie_word_embeddings=False,
    )
    config.architectures = ["SmolVLMForConditionalGeneration"]
    config.save_pretrained(folder)
    edge = {"longest_edge": size.image}
    SmolVLMProcessor(
        SmolVLMImageProcessor(size=edge, max_image_size=edge),
        fast,
        SmolVLMVideoProcessor(size=edge, max_image_size=edge),
        image_seq_len=(size.image // PATCH // size.patches) ** 2,
    ).save_pretrained(folder)
    return folder


def make_policy(
    vlm: Path,
    *,
    state_size: int,
    action_size: int,
    chunk: int = 16,
    play: int | None = None,
    size: Size = TINY,
    seed: int = 0,
    **options: Any,
) -> SmolVLAPolicy:
    """A SmolVLA that is not trained yet, for one image, a state and an instruction.

    **Arguments:**

    - `vlm`: what `write_vlm` wrote.
    - `state_size`, `action_size`: of the robot.
    - `chunk`: how many actions it plans.
    - `play`: how many of them `select_action` plays; None for all.
    - `size`: that of `vlm`. Its image is square.
    - `seed`: of the weights.
    - `options`: for LeRobot's `SmolVLAConfig`.
    """
    config = SmolVLAConfig(
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (state_size,)),
            "observation.image": PolicyFeature(FeatureType.VISUAL, (3, size.image, size.image)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (action_size,))},
        vlm_model_name=str(vlm),
        load_vlm_weights=False,
        freeze_vision_encoder=False,
        train_expert_only=False,
        resize_imgs_with_padding=(size.image, size.image),
        chunk_size=chunk,
        n_action_steps=chunk if play is None else play,
        num_vlm_layers=size.layers,
        tokenizer_max_length=48,
        device="cpu",
        **options,
    )
    torch.manual_seed(seed)
    return SmolVLAPolicy(config).eval()
