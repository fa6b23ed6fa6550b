"""Make a whole model folder of Qwen3-VL's own classes, tiny and with random weights: it sees, and answers nonsense."""

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
VOCABULARY = 272
# As the published models have it.
PICTURES = {
    "size": {"longest_edge": 16777216, "shortest_edge": 65536},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "Qwen3VLProcessor",
    "image_processor_type": "Qwen2VLImageProcessorFast",
}


def write_tiny_qwen(folder: Path, *, is_tied: bool = False) -> Path:
    """Write configuration, tokenizer of single bytes, image settings and weights as safetensors.

    ``is_tied`` has words go in and out by the same weights, as in the models of 2B and 4B.
    """
    folder.mkdir(parents=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps(PICTURES))
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(_config(tokenizer, is_tied))
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


def _config(tokenizer: Tokenizer, is_tied: bool) -> Qwen3VLConfig:
    positions = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8}
    text |= {"vocab_size": VOCABULARY, "num_key_value_heads": 2, "rope_parameters": positions}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
    return Qwen3VLConfig(
        tie_word_embeddings=is_tied,
        text_config=text | {"tie_word_embeddings": is_tied},
        vision_config=vision | {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
        image_token_id=tokenizer.token_to_id("<|image_pad|>"),
        video_token_id=VOCABULARY - 1,
        vision_start_token_id=tokenizer.token_to_id("<|vision_start|>"),
        vision_end_token_id=tokenizer.token_to_id("<|vision_end|>"),
    )
