"""A tiny Qwen3-VL with random weights goes the way that a real one goes: load, show, generate, decode."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_qwen import write_tiny_qwen

from vb_node.applications.virtual_biopsy.vlm.corner import check_corners
from vb_node.applications.virtual_biopsy.vlm.formats import FORMATS
from vb_node.errors import ConfigError
from vb_node.models.model_folder import FAMILIES, examine
from vb_node.models.qwen_vl import QwenVL, Running
from vb_node.models.vision_language import Question

RUNNING = Running("cpu", batch=4, picture_px=128, max_new_tokens=24)


def _question(seed: int, height: int, width: int, user: str) -> Question:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Question(picture, "Answer with JSON only.", user)


QUESTIONS = [
    _question(0, 64, 96, "Where?"),
    _question(1, 128, 128, "Where is the bright thing, if there is one at all in this picture?"),
    _question(2, 32, 64, "?"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qwen(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> QwenVL:
    return QwenVL.load(examine(folder), RUNNING)


def test_pictures_and_prompts_of_different_sizes_get_the_answers_in_a_batch_that_they_get_alone(model: QwenVL) -> None:
    together = model.ask(QUESTIONS)

    assert together == [model.ask([question])[0] for question in QUESTIONS]
    assert len(set(together)) == len(QUESTIONS)


def test_the_same_question_gets_the_same_answer_whatever_the_folder_says_of_drawing_at_random(
    folder: Path, model: QwenVL
) -> None:
    again = QwenVL.load(examine(folder), RUNNING)

    assert json.loads((folder / "generation_config.json").read_text())["temperature"] == 5.0
    assert again.ask(QUESTIONS) == model.ask(QUESTIONS)


def test_the_answer_depends_on_the_picture(model: QwenVL) -> None:
    dark, bright = (
        Question(np.full((64, 64, 3), value, np.uint8), "Answer with JSON only.", "Where?") for value in (0, 255)
    )

    assert model.ask([dark]) != model.ask([bright])


def test_each_32_x_32_pixels_are_one_token_and_padding_stands_on_the_left(model: QwenVL) -> None:
    inputs = model._inputs(QUESTIONS)

    pads = (inputs["input_ids"] == model.picture_token).sum(dim=1)
    assert pads.tolist() == [2 * 3, 4 * 4, 1 * 2]
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1, 1]
    assert sorted(inputs["attention_mask"][:, 0].tolist()) == [0, 0, 1]
    assert inputs["pixel_values"].shape == (4 * 24, 3 * 2 * 16 * 16)


def test_random_weights_fail_the_corner_test(model: QwenVL) -> None:
    with pytest.raises(ConfigError, match="did not box a bright square"):
        check_corners(model, FORMATS["xyxy_1000"])


def test_bfloat16_runs_too(folder: Path) -> None:
    model = QwenVL.load(examine(folder), Running("cpu", "bfloat16", 4, 128, 8))

    assert model.model.dtype == torch.bfloat16
    assert len(model.ask(QUESTIONS)) == 3


def test_k_06_loading_and_asking_open_no_connection(folder: Path) -> None:
    opened: list[str] = []
    is_listening = True

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if is_listening and event in {"socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen"}:
            opened.append(f"{event} {arguments}")

    sys.addaudithook(hear)  # it stays for good: the flag ends it

    QwenVL.load(examine(folder), RUNNING).ask(QUESTIONS[:1])

    is_listening = False
    assert opened == []


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"qwen3_vl"}))
def test_every_family_answers_in_a_batch_as_it_does_alone(tmp_path: Path, family: str) -> None:
    model = QwenVL.load(examine(write_tiny_qwen(tmp_path / family, family)), RUNNING)
    step = model.step_px
    questions = [
        _question(0, 2 * step, 3 * step, "Where?"),
        _question(1, 4 * step, 4 * step, "Where is the bright thing?"),
        _question(2, step, 2 * step, "?"),
    ]

    together = model.ask(questions)

    assert together == [model.ask([question])[0] for question in questions]
    assert len(set(together)) > 1


def test_weights_that_are_shared_within_a_model_are_not_missing(tmp_path: Path) -> None:
    folder = write_tiny_qwen(tmp_path / "tied", is_tied=True)

    model = QwenVL.load(examine(folder), RUNNING)

    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert model.ask(QUESTIONS) == [model.ask([question])[0] for question in QUESTIONS]


def test_no_questions_are_no_answers(model: QwenVL) -> None:
    assert model.ask([]) == []


def _spoil(folder: Path, change: dict[str, torch.Tensor | None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    for name, value in change.items():
        del tensors[name]
        if value is not None:
            tensors[name] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_missing_weights_are_refused_not_drawn_at_random(tmp_path: Path) -> None:
    folder = write_tiny_qwen(tmp_path / "tiny")
    _spoil(folder, {"lm_head.weight": None})

    with pytest.raises(ConfigError, match=r"weights are missing, among them lm_head\.weight"):
        QwenVL.load(examine(folder), RUNNING)


def test_k_02_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_qwen(tmp_path / "tiny")
    _spoil(folder, {"lm_head.weight": torch.full((272, 32), torch.nan)})

    with pytest.raises(ConfigError, match="no numbers"):
        QwenVL.load(examine(folder), RUNNING)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_qwen(tmp_path / "tiny")
    _spoil(folder, {"lm_head.weight": torch.zeros(8, 32)})

    with pytest.raises(ConfigError, match="while loading"):
        QwenVL.load(examine(folder), RUNNING)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_qwen(tmp_path / "tiny")
    text = (folder / "tokenizer.json").read_text().replace("<|image_pad|>", "<|picture|>")
    (folder / "tokenizer.json").write_text(text)

    with pytest.raises(ConfigError, match=r"lacks <\|image_pad\|>"):
        QwenVL.load(examine(folder), RUNNING)
