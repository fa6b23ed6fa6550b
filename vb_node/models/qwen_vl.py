"""Qwen-VL from a local folder: greedy, batched, padded on the left, without torchvision and without network.

Paper: Qwen3-VL (arXiv 2511.21631). Input: pictures (rows, columns, 3) whose sides are multiples of ``step_px``; output:
text. Weights: a folder of the site's, ``[virtual_biopsy.vlm] model``. The library's processor needs torchvision, so the
text is put together here: the chat frame of the Qwen family, with one token for each 2 x 2 patches of the picture.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

# before the library is loaded: it reads this once, and nothing may be fetched whatever a folder says
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForImageTextToText, GenerationConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils import logging

from vb_node.errors import ConfigError
from vb_node.models import memory
from vb_node.models.model_folder import TOKENIZER, ModelFolder
from vb_node.models.vision_language import Question

PICTURE, BEGIN, END, FILL = "<|image_pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"
CHAT = (
    f"{BEGIN}system\n{{system}}{END}\n"
    f"{BEGIN}user\n<|vision_start|>{{picture}}<|vision_end|>{{user}}{END}\n"
    f"{BEGIN}assistant\n"
)
PROMPT_TOKENS = 450
"""About what the longest prompt takes, beside its picture."""


@dataclass(frozen=True)
class Running:
    """How a model is run; ``batch`` is what is wished, ``picture_px`` the side of the pictures it will see."""

    device: str
    dtype: str = "auto"
    batch: int = 8
    picture_px: int = 768
    max_new_tokens: int = 128

    @property
    def torch_dtype(self) -> torch.dtype:
        """On a GPU half the memory and twice the speed; on a CPU the exact sums."""
        if self.dtype == "auto":
            return torch.bfloat16 if self.device.startswith("cuda") else torch.float32
        return {"bfloat16": torch.bfloat16, "float32": torch.float32}[self.dtype]


class QwenVL:
    """A loaded model; it is asked at most ``batch`` questions at once."""

    def __init__(
        self, model: Any, tokenizer: Tokenizer, pictures: Qwen2VLImageProcessorPil, step_px: int, running: Running
    ) -> None:
        self.model, self.tokenizer, self.pictures = model, tokenizer, pictures
        self.step_px, self.running, self.batch = step_px, running, running.batch
        self.picture_token: int = model.config.image_token_id
        stops = [tokenizer.token_to_id(END), tokenizer.token_to_id(FILL)]
        # the model's own settings would be merged in, and those of the published models draw at random
        model.generation_config = GenerationConfig(
            do_sample=False, max_new_tokens=running.max_new_tokens, eos_token_id=stops, pad_token_id=stops[1]
        )

    @classmethod
    def load(cls, folder: ModelFolder, running: Running) -> Self:
        """Load a folder that was examined.

        Raises
        ------
        ConfigError
            The files do not make one model, or hold values that are no numbers; or it can never fit.
        NoMemory
            It does not fit now.
        """
        batch = _fitting_batch(folder, running)
        logging.disable_progress_bar()
        try:
            tokenizer = Tokenizer.from_file(str(folder.path / TOKENIZER))
            pictures = Qwen2VLImageProcessorPil.from_pretrained(folder.path, local_files_only=True)
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                folder.path,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                attn_implementation="sdpa",
                dtype=running.torch_dtype,
                output_loading_info=True,
            )
        except Exception as error:  # of many kinds, all of them the folder's fault
            raise _misfit(folder, f"{type(error).__name__} while loading") from error
        model, loading = loaded
        _check(folder, model, tokenizer, loading)
        tokenizer.enable_padding(direction="left", pad_id=tokenizer.token_to_id(FILL), pad_token=FILL)
        fitting = replace(running, batch=batch)
        return cls(model.eval().to(running.device), tokenizer, pictures, folder.family.step_px, fitting)

    def ask(self, questions: Sequence[Question]) -> list[str]:
        """Answer up to ``batch`` questions; the same question gets the same answer."""
        if not questions:
            return []
        inputs = self._inputs(questions)
        with torch.inference_mode():
            # (b, prompt + answer)
            said = self.model.generate(**inputs)
        # (b, answer)
        answers = said[:, inputs["input_ids"].shape[1] :].tolist()
        return [str(text) for text in self.tokenizer.decode_batch(answers, skip_special_tokens=True)]

    def _inputs(self, questions: Sequence[Question]) -> dict[str, Tensor]:
        pictures = [question.picture for question in questions]
        # (sum of t h w, 3 * 2 * patch^2) and (b, 3)
        seen = self.pictures(images=pictures, do_resize=False, return_tensors="pt")
        grids = seen["image_grid_thw"]
        counts = (grids.prod(dim=1) // self.pictures.merge_size**2).tolist()
        texts = [
            CHAT.format(system=question.system, user=question.user, picture=PICTURE * count)
            for question, count in zip(questions, counts, strict=True)
        ]
        encoded = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        # (b, prompt)
        ids = torch.tensor([one.ids for one in encoded])
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.tensor([one.attention_mask for one in encoded]),
            "pixel_values": seen["pixel_values"].to(self.running.torch_dtype),
            "image_grid_thw": grids,
            "mm_token_type_ids": torch.eq(ids, self.picture_token).long(),
        }
        return {name: value.to(self.running.device) for name, value in inputs.items()}


def _fitting_batch(folder: ModelFolder, running: Running) -> int:
    bytes_each = running.torch_dtype.itemsize
    cache = memory.cache_bytes_per_token(folder.config, bytes_each)
    tokens = (running.picture_px // folder.family.step_px) ** 2 + PROMPT_TOKENS + running.max_new_tokens
    fixed = memory.need_bytes(folder.parameters, bytes_each, 0, tokens, cache)
    free, total = memory.device_memory(running.device)
    return memory.fitting_batch(running.batch, fixed, tokens * cache, free=free, total=total)


def _check(folder: ModelFolder, model: Any, tokenizer: Tokenizer, loading: dict[str, Any]) -> None:
    """Refuse what the library loads with a warning: weights that are missing, and parts that do not fit each other."""
    if missing := sorted(loading["missing_keys"]):
        raise _misfit(folder, f"{len(missing)} weights are missing, among them {missing[0]}")
    lacking = [token for token in (PICTURE, BEGIN, END, FILL) if tokenizer.token_to_id(token) is None]
    if lacking:
        raise _misfit(folder, f"{TOKENIZER} lacks {', '.join(lacking)}")
    if tokenizer.token_to_id(PICTURE) != model.config.image_token_id:
        raise _misfit(folder, f"{TOKENIZER} and config.json are of different models")
    for name, value in model.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise _misfit(folder, f"{name} holds values that are no numbers")


def _misfit(folder: ModelFolder, what: str) -> ConfigError:
    return ConfigError(f"model folder {folder.path}: {what}; expected a whole Qwen-VL model, download it again")
