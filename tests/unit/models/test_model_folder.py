"""A model's folder holds data alone, whole and of a known kind, or it is refused before anything of it is loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_qwen import write_tiny_qwen

from vb_node.errors import ConfigError
from vb_node.models.model_folder import digest, examine


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qwen(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(pattern: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pattern, tmp_path / "tiny")


def _config(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def _header(folder: Path, change: Callable[[dict[str, dict[str, object]]], None]) -> None:
    file = folder / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def test_a_whole_folder_is_known_by_family_size_and_digest(folder: Path) -> None:
    found = examine(folder)

    assert found.family.box_format == "xyxy_1000"
    assert found.parameters == 166848
    assert len(digest(folder)) == 64


def test_weights_in_several_files_are_found_by_their_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    weights = {"lm_head.weight": "model-00001-of-00001.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))

    assert examine(folder).parameters == 166848


def test_k_04_one_changed_byte_changes_the_digest(folder: Path) -> None:
    before = digest(folder)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))

    assert digest(folder) != before


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "model.PKL", "modeling_qwen.py", "adapter_config.json"]
)
def test_k_01_a_file_that_could_bring_code_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("{}")

    with pytest.raises(ConfigError, match=name):
        examine(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"auto_map": {"AutoModel": "modeling.Evil"}},
        {"text_config": {"_attn_implementation_internal": "someone/kernels"}},
        {"vision_config": {"attn_implementation": "someone/kernels"}},
        {"quantization_config": {"quant_method": "fp8"}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_k_06_a_configuration_that_would_fetch_or_run_something_is_refused(
    folder: Path, values: dict[str, object]
) -> None:
    _config(folder, **values)

    with pytest.raises(ConfigError, match="brings code"):
        examine(folder)


def test_k_06_the_same_in_another_file_is_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["a.B", None]}}))

    with pytest.raises(ConfigError, match="auto_map"):
        examine(folder)


def test_words_of_a_vocabulary_may_be_any(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps({"auto_map": 1, "trust_remote_code": 2}))

    assert examine(folder).parameters == 166848


def test_another_kind_of_model_is_refused_by_name(folder: Path) -> None:
    _config(folder, model_type="llava")

    with pytest.raises(ConfigError, match="'llava' came, expected one of qwen3_vl"):
        examine(folder)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(ConfigError, match=name):
        examine(folder)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "3"])
def test_what_is_no_json_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)

    with pytest.raises(ConfigError, match=r"config\.json"):
        examine(folder)


def test_no_folder_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="download one and give its path"):
        examine(tmp_path / "nothing")


@pytest.mark.parametrize("weights", [{}, [], {"w": "../other.safetensors"}, {"w": "model.bin"}])
def test_an_index_that_names_other_files_is_refused(folder: Path, weights: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))

    with pytest.raises(ConfigError, match="names no safetensors files, or some outside"):
        examine(folder)


def test_a_download_that_was_cut_off_is_refused(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])

    with pytest.raises(ConfigError, match="not whole"):
        examine(folder)


def test_k_02_a_header_of_eight_exabytes_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 7 + b"\x7f" + b"{}")

    with pytest.raises(ConfigError, match="no safetensors file"):
        examine(folder)


def test_k_02_overlapping_tensors_are_refused(folder: Path) -> None:
    def overlap(header: dict[str, dict[str, object]]) -> None:
        spans = sorted(
            (one["data_offsets"] for name, one in header.items() if name != "__metadata__"), key=lambda span: span[0]
        )
        spans[1][0] -= 4

    _header(folder, overlap)

    with pytest.raises(ConfigError, match="not whole"):
        examine(folder)
