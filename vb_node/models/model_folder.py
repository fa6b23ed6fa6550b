"""A folder with a vision-language model, looked at before anything of it is loaded: data alone, whole, of a known kind.

No torch here, so that a job can be planned without it. A folder that could bring code, in whatever way transformers
knows (modules, pickles, kernels or base models fetched by name), is refused.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from vb_node.errors import ConfigError

CONFIG, PICTURES, TOKENIZER = "config.json", "preprocessor_config.json", "tokenizer.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MOST_JSON_BYTES = 64 << 20
MOST_HEADER_BYTES = 100_000_000  # the format's own limit
CODE = frozenset(
    {".py", ".pyc", ".so", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5"}
)
FOREIGN_KEYS = ("auto_map", "attn_implementation", "trust_remote_code", "custom_pipelines", "quantization_config")
FOREIGN_FILES = ("adapter_config.json",)
VOCABULARIES = (TOKENIZER, "vocab.json", "added_tokens.json")  # their keys are words, which may be any


@dataclass(frozen=True)
class Family:
    """What differs between kinds of models: how they write boxes, and of which multiple a picture's sides are."""

    box_format: str
    step_px: int


FAMILIES = {
    "qwen3_vl": Family("xyxy_1000", 32),
    "qwen3_vl_moe": Family("xyxy_1000", 32),
    "qwen2_5_vl": Family("xyxy_pixels", 28),
    "qwen2_vl": Family("xyxy_1000", 28),
}


@dataclass(frozen=True)
class ModelFolder:
    """A folder that may be loaded: its ``config.json``, its kind, and the number of its parameters."""

    path: Path
    config: Mapping[str, Any]
    parameters: int

    @property
    def family(self) -> Family:
        return FAMILIES[self.config["model_type"]]


def examine(path: Path) -> ModelFolder:
    """Look at a folder.

    Raises
    ------
    ConfigError
        A file is missing, damaged or could bring code, or the model is of an unknown kind.
    """
    try:
        files = sorted(path.iterdir())
    except OSError as error:
        what = f"a folder with a Qwen-VL model expected ({error.strerror}): download one and give its path"
        raise _wrong(path, what) from error
    _refuse_code(path, files)
    config = _read_object(path, CONFIG)
    if config.get("model_type") not in FAMILIES:
        raise _wrong(path, f"model_type {config.get('model_type')!r} came, expected one of {', '.join(FAMILIES)}")
    for name in (PICTURES, TOKENIZER):
        _read_object(path, name)
    return ModelFolder(path, config, sum(_count(path, name) for name in _weight_files(path)))


def digest(path: Path) -> str:
    """Give one SHA-256 over all files that are loaded, by name; hashed again only when a file has changed."""
    files = tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in _loaded(path))
    return _digest(files)


@lru_cache(maxsize=4)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    whole = sha256()
    for file, _, _ in files:
        with file.open("rb") as opened:
            whole.update(f"{file.name} {file_digest(opened, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def _loaded(path: Path) -> Iterator[Path]:
    names = {CONFIG, PICTURES, TOKENIZER, *_weight_files(path)} | ({INDEX} if (path / INDEX).exists() else set())
    return (path / name for name in sorted(names))


def _refuse_code(path: Path, files: Sequence[Path]) -> None:
    for file in files:
        if file.suffix.lower() in CODE or file.name in FOREIGN_FILES:
            raise _wrong(path, f"{file.name} is no safetensors or JSON, or names another model: remove it")
        if (
            file.suffix == ".json"
            and file.name not in VOCABULARIES
            and (foreign := _foreign_key(_read_json(path, file.name)))
        ):
            raise _wrong(path, f"{file.name} holds {foreign!r}, which brings code or quantised weights: take another")


def _foreign_key(value: Any) -> str | None:
    """Find a key that would have transformers fetch or run something, at whatever depth."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key in one:
                if any(foreign in key for foreign in FOREIGN_KEYS):
                    return str(key)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return None


def _read_json(path: Path, name: str) -> Any:
    file = path / name
    try:
        if file.stat().st_size > MOST_JSON_BYTES:
            raise _wrong(path, f"{name} is larger than {MOST_JSON_BYTES >> 20} MB")
        return json.loads(file.read_bytes())
    except OSError as error:
        raise _wrong(path, f"{name} cannot be read ({error.strerror}): download the model again") from error
    except (ValueError, RecursionError) as error:
        raise _wrong(path, f"{name} is no JSON: download the model again") from error


def _read_object(path: Path, name: str) -> dict[str, Any]:
    value = _read_json(path, name)
    if not isinstance(value, dict):
        raise _wrong(path, f"{name} holds no object: download the model again")
    return value


def _weight_files(path: Path) -> list[str]:
    if not (path / INDEX).exists():
        return [WEIGHTS]
    weight_map = _read_object(path, INDEX).get("weight_map")
    names = sorted({str(name) for name in weight_map.values()} if isinstance(weight_map, dict) else ())
    if not names or any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise _wrong(path, f"{INDEX} names no safetensors files, or some outside the folder")
    return names


def _count(path: Path, name: str) -> int:
    """Count the parameters in a safetensors file by its header, which must describe the file to its last byte."""
    file = path / name
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 0 < length <= MOST_HEADER_BYTES:
                raise _wrong(path, f"{name} is no safetensors file: download it again")
            tensors = {key: one for key, one in json.loads(opened.read(length)).items() if key != "__metadata__"}
        ends = sorted(tuple(one["data_offsets"]) for one in tensors.values())
        is_whole = ends and ends[0][0] == 0 and 8 + length + ends[-1][1] == file.stat().st_size
        if not is_whole or any(one[1] != other[0] for one, other in zip(ends, ends[1:], strict=False)):
            raise _wrong(path, f"{name} is not whole: download it again")
        return sum(math.prod(one["shape"]) for one in tensors.values())
    except OSError as error:
        raise _wrong(path, f"{name} cannot be read ({error.strerror}): download the model again") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _wrong(path, f"{name} is no safetensors file: download it again") from error


def _wrong(path: Path, what: str) -> ConfigError:
    return ConfigError(f"model folder {path}: {what}")
