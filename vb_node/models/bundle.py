"""Weights of a network as a MONAI Bundle, written; and a bundle of a site's own, read as data alone.

Layout and metadata follow MONAI's bundle specification, with safetensors in place of a pickle. MONAI can build the
network from ``configs/inference.json``; this node never does: it reads JSON and tensors, and evaluates nothing.
"""

import json
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from vb_node import __version__
from vb_node.errors import ConfigError
from vb_node.models.pins import MODEL, MODELS, Network
from vb_node.models.weights import Weights, parse_weights

METADATA, INFERENCE, README, LICENSE = "configs/metadata.json", "configs/inference.json", "docs/README.md", "LICENSE"
WEIGHTS_FILE = f"{MODELS}/{MODEL}"
# Every file that a bundle may hold, and how large it may be.
MOST_BYTES = {METADATA: 1 << 20, INFERENCE: 1 << 20, README: 1 << 20, LICENSE: 1 << 20, WEIGHTS_FILE: 256 << 20}
# MONAI's specification, "metadata.json File".
_VERSIONS = ("version", "monai_version", "pytorch_version", "numpy_version")
MANDATORY = (*_VERSIONS, "task", "description", "authors", "copyright", "network_data_format")
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20220324.json"
INVESTIGATIONAL = "INVESTIGATIONAL. Not a medical device, not for diagnosis."
_EXPRESSION = "$"


@dataclass(frozen=True)
class Story:
    """What a bundle tells of its weights.

    ``inference`` is what MONAI builds the network from, ``data_format`` what goes into it and comes out.
    """

    network: Network
    module: str
    task: str
    about: Sequence[str]
    inference: Mapping[str, Any]
    data_format: Mapping[str, Any]
    trained_on: str
    command: str
    figures: Mapping[str, float]
    sha256: str


def write_bundle(folder: Path, weights: Path, story: Story) -> None:
    """Write a bundle around a weights file; a bundle that is there is written anew."""
    texts = {
        METADATA: json.dumps(_metadata(story), indent=2) + "\n",
        INFERENCE: json.dumps(dict(story.inference) | {"weights": WEIGHTS_FILE}, indent=2) + "\n",
        README: _readme(story),
        LICENSE: _LICENSE,
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    (folder / MODELS).mkdir(exist_ok=True)
    shutil.copyfile(weights, folder / WEIGHTS_FILE)


def _metadata(story: Story) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "name": f"vb-node {story.module}",
        "version": __version__,
        "changelog": {__version__: "trained by vb-node"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {"safetensors": version("safetensors"), "vb-node": __version__},
        "optional_packages_version": {},
        "supported_apps": {},
        "task": story.task,
        "description": f"{INVESTIGATIONAL} Trained on {story.trained_on}.",
        "authors": "who ran the command",
        "copyright": "who ran the command",
        "intended_use": "Research only",
        "data_source": story.trained_on,
        "data_type": "nifti or dicom",
        "eval_metrics": dict(story.figures),
        "references": ["Virtual Biopsy for Intracranial Tumors Diagnosis on MRI, arXiv 2602.21613"],
        "network_data_format": story.data_format,
        "sha256": story.sha256,
        "command": story.command,
        "python_version": platform.python_version(),
    }


def _readme(story: Story) -> str:
    figures = "\n".join(f"| {name} | {value:.3g} |" for name, value in sorted(story.figures.items()))
    about = "".join(f"{line}\n\n" for line in story.about)
    setting = "diagnoser" if story.network == "diagnoser" else "localizer_weights"
    return (
        f"# {story.module}\n\n{INVESTIGATIONAL}\n\nTrained on {story.trained_on}.\n\n"
        f"{about}Weights: `{WEIGHTS_FILE}`, sha256 {story.sha256}\n\n"
        f"Made by: `{story.command}`\n\n| measured on held-out cases | |\n|---|---|\n{figures}\n\n"
        f"Install: `vb-node weights import DIR|ZIP`, then name it in `[virtual_biopsy] {setting}`.\n"
    )


_LICENSE = """\
The weights belong to who trained them, on data that may not be free: nothing is granted here.
The code that opens them, vb-node, is under the Apache License 2.0.
"""


def read_bundle(folder: Path) -> Weights:
    """Read a bundle's weights as data; raise ``ConfigError`` naming everything that is not as expected."""
    if problems := list(_problems(folder)):
        raise ConfigError(f"bundle {folder.name}: " + "; ".join(problems))
    data = (folder / WEIGHTS_FILE).read_bytes()
    told, found = _read_object(folder / METADATA).get("sha256"), sha256(data).hexdigest()
    if told != found:
        raise ConfigError(f"bundle {folder.name}: its metadata names weights {str(told)[:12]}, found {found[:12]}")
    try:
        return parse_weights(folder.name, data, found)
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"bundle {folder.name}: {MODEL} was not written by vb-node ({type(error).__name__})"
        ) from error


def _problems(folder: Path) -> Iterator[str]:
    """Look at names, kinds and sizes, and at both JSON files."""
    if not folder.is_dir():
        yield "a folder expected"
        return
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    if linked := [path.name for path in (folder, *folder.rglob("*")) if path.is_symlink()]:
        yield f"{', '.join(linked)}: no links expected"
        return
    if strange := sorted(set(found) - set(MOST_BYTES)):
        yield f"unexpected files {', '.join(strange[:5])}: data only, remove them"
    yield from (f"{name} is missing" for name in MOST_BYTES if name not in found)
    large = [name for name, path in found.items() if path.stat().st_size > MOST_BYTES.get(name, 0)]
    yield from (f"{name} is larger than {MOST_BYTES[name] >> 20} MB" for name in large if name in MOST_BYTES)
    if not large and METADATA in found and INFERENCE in found:
        yield from _problems_of_json(folder)


def _problems_of_json(folder: Path) -> Iterator[str]:
    for name in (METADATA, INFERENCE):
        try:
            told = _read_object(folder / name)
        except (ValueError, RecursionError):
            yield f"{name} is no JSON object"
            continue
        if any(_EXPRESSION in text for text in _texts(told)):
            yield f"{name} holds an expression ({_EXPRESSION}): data only"
        if name == METADATA and (missing := [key for key in MANDATORY if key not in told]):
            yield f"{name} lacks {', '.join(missing)}"


def _texts(value: Any) -> Iterator[str]:
    """Give every text in JSON, at any depth."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str):
            yield one


def _read_object(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_bytes())
    if not isinstance(value, dict):
        raise ValueError("an object expected")
    return value
