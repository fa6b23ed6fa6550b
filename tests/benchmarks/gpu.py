"""What a GPU gives: a case's steps on CPU and GPU, their answers side by side, and Qwen3-VL's slices a second.

Run ``python tests/benchmarks/gpu.py [--runs 3] [--sizes 2B 8B] [--batches 1 8 32]``. The models have the published
dimensions and random weights: they take as long as true ones, and say nothing. ``--layers 1`` tries the path where
there is no GPU. docs/virtual-biopsy.md says what of it was run.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from tiny_qwen import write_tiny_qwen
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vb_node import show
from vb_node.applications.virtual_biopsy.diagnose import Diagnoser
from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.network import NetworkDetector
from vb_node.applications.virtual_biopsy.process import process
from vb_node.models.device import choose, describe
from vb_node.models.qwen_vl import FILL, QwenVL, Running
from vb_node.models.vision_language import Question
from vb_node.training.phantom import make_case

PHANTOM = 1_250_300
VOCABULARY, STEP_PX, ANSWER_TOKENS = 151_936, 32, 32
POSITIONS = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
TEXT = {"head_dim": 128, "num_key_value_heads": 8, "vocab_size": VOCABULARY, "rope_parameters": POSITIONS}
VISION = {"num_heads": 16, "num_position_embeddings": 2304, "patch_size": 16}
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "2B": (
        {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16},
        {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "deepstack_visual_indexes": [5, 11, 17]},
        True,
    ),
    "8B": (
        {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32},
        {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "deepstack_visual_indexes": [8, 16, 24]},
        False,
    ),
}
"""Text part, vision part, and whether words go in and out by the same weights (arXiv 2511.21631)."""


def median_s(work: Callable[[], Any], runs: int) -> float:
    """Measure once warm; a GPU is waited for."""
    work()
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def steps(devices: list[str], runs: int) -> Iterator[list[str]]:
    """Time a case's steps on each device; the answers' largest difference from the first device's."""
    volume = make_case(PHANTOM, "Glioma").volume
    standard = process(volume)
    yield ["MRI-Processor", "cpu", f"{median_s(partial(process, volume), runs):.2f}", ""]
    first: dict[str, np.ndarray[Any, Any]] = {}
    for device in devices:
        detector, diagnoser = NetworkDetector.load(device), Diagnoser.load(device)
        prior = localise(standard, detector)
        works: dict[str, tuple[Callable[[], Any], np.ndarray[Any, Any]]] = {
            "Tumor-Localizer": (partial(localise, standard, detector), prior.probability),
            "Adaptive-Diagnoser": (
                partial(diagnoser.diagnose, standard, prior),
                np.array([*diagnoser.diagnose(standard, prior).probabilities.values()]),
            ),
        }
        for name, (work, answer) in works.items():
            known = first.setdefault(name, answer)
            apart = f"{np.abs(answer - known).max():.4f}" if answer.shape == known.shape else "another state"
            yield [name, device, f"{median_s(work, runs):.2f}", apart]


def model_of(size: str, folder: Path, running: Running, layers: int | None) -> QwenVL:
    """Build a model of the published dimensions with random weights, straight on its device."""
    text, vision, is_tied = SIZES[size]
    if layers:
        text, vision = text | {"num_hidden_layers": layers}, vision | {"depth": layers, "deepstack_visual_indexes": [0]}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(direction="left", pad_id=tokenizer.token_to_id(FILL), pad_token=FILL)
    config = AutoConfig.for_model(
        "qwen3_vl",
        tie_word_embeddings=is_tied,
        text_config=TEXT | text | {"tie_word_embeddings": is_tied, "bos_token_id": None, "eos_token_id": None},
        vision_config=VISION | vision | {"out_hidden_size": text["hidden_size"]},
        image_token_id=tokenizer.token_to_id("<|image_pad|>"),
        video_token_id=VOCABULARY - 1,
        vision_start_token_id=tokenizer.token_to_id("<|vision_start|>"),
        vision_end_token_id=tokenizer.token_to_id("<|vision_end|>"),
    )
    with torch.device(running.device):
        model = AutoModelForImageTextToText.from_config(config, dtype=running.torch_dtype)
    pictures = Qwen2VLImageProcessorPil.from_pretrained(folder)
    return QwenVL(model.eval(), tokenizer, pictures, STEP_PX, running)


def speaking(device: str, words: argparse.Namespace) -> Iterator[list[str]]:
    """Count slices a second of each size and batch."""
    picture = np.random.default_rng(0).integers(0, 255, (words.picture_px, words.picture_px, 3), dtype=np.uint8)
    question = Question(picture, "Answer with JSON only.", "x" * 1200)
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_tiny_qwen(Path(scratch) / "tiny")
        for size in words.sizes:
            running = Running(device, batch=max(words.batches), max_new_tokens=ANSWER_TOKENS)
            model = model_of(size, folder, running, words.layers)
            billions = sum(one.numel() for one in model.model.parameters()) / 1e9
            for batch in words.batches:
                seconds = median_s(partial(model.ask, [question] * batch), words.runs)
                yield [size, f"{billions:.2f}", str(batch), f"{seconds:.2f}", f"{batch / seconds:.2f}"]
            del model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sizes", nargs="*", default=[*SIZES], choices=[*SIZES])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--picture-px", type=int, default=768)
    parser.add_argument("--layers", type=int)
    words = parser.parse_args()
    device = choose("auto")
    devices = ["cpu"] if device == "cpu" else ["cpu", device]
    columns = ["step", "device", "median s", "largest difference from the CPU's answer"]
    show.table(f"A phantom's steps, warm; {describe() or 'no GPU'}", columns, steps(devices, words.runs))
    columns = ["Qwen3-VL", "billion weights", "batch", "s", "slices a second"]
    title = f"{ANSWER_TOKENS} words of answer, pictures of {words.picture_px} pixels, random weights, {device}"
    show.table(title, columns, speaking(device, words))


if __name__ == "__main__":
    main()
