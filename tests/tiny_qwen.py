"""Make a whole model folder of the library's own Qwen-VL classes, tiny, with random weights: it sees, and babbles."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForImageTextToText

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
VOCABULARY = 272
# As the published models have it, but for the patch, which is the family's.
PICTURES = {
    "size": {"longest_edge": 16777216, "shortest_edge": 65536},
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "Qwen3VLProcessor",
    "image_processor_type": "Qwen2VLImageProcessorFast",
}
TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT |= {"num_key_value_heads": 2, "vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": None}
VISION = {"depth": 2, "hidden_size": 32, "num_heads": 2}
POSITIONS = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
DEEP = {
    "intermediate_size": 64,
    "out_hidden_size": 32,
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0, 1],
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
# What is the family's own in its text part and its vision part, and its patch.
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "qwen3_vl": ({"head_dim": 8, "rope_parameters": POSITIONS | {"mrope_interleaved": True}}, DEEP, 16),
    "qwen3_vl_moe": ({"head_dim": 8, "rope_parameters": POSITIONS | {"mrope_interleaved": True}} | EXPERTS, DEEP, 16),
    "qwen2_5_vl": ({"rope_parameters": POSITIONS}, {"intermediate_size": 64, "out_hidden_size": 32}, 14),
    "qwen2_vl": ({"rope_parameters": POSITIONS}, {"embed_dim": 32, "mlp_ratio": 2}, 14),
}


def write_tiny_qwen(folder: Path, family: str = "qwen3_vl", *, is_tied: bool = False) -> Path:
    """Write configuration, tokenizer of single bytes, image settings and weights as safetensors.

    ``is_tied`` has words go in and out by the same weights, as in the models of 2B and 4B.
    """
    folder.mkdir(parents=True)
    text, vision, patch = FAMILIES[family]
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps(PICTURES | {"patch_size": patch}))
    config = AutoConfig.for_model(
        family,
        tie_word_embeddings=is_tied,
        text_config=TEXT | text | {"tie_word_embeddings": is_tied},
        vision_config=VISION | vision,
        image_token_id=tokenizer.token_to_id("<|image_pad|>"),
        video_token_id=VOCABULARY - 1,
        vision_start_token_id=tokenizer.token_to_id("<|vision_start|>"),
        vision_end_token_id=tokenizer.token_to_id("<|vision_end|>"),
    )
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    # random tokens at once, as the published models are set: ours must not be led by it
    model.generation_config.update(do_sample=True, temperature=5.0, repetition_penalty=1.5)
    model.save_pretrained(folder)
    return folder


def _tokenizer() -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer
