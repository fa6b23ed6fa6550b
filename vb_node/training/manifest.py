"""Which cases a data set names: a manifest (CSV or JSON), or a folder whose layout says it.

Layouts: ``CLASS/CASE/`` with one image in each case's folder, as a data set of DeepSite-MRI's four classes can be laid
out, and what ``vb-node phantom`` writes. Nothing is guessed: a folder that reads otherwise needs a manifest.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vb_node.training.tumour import CLASSES

REQUIRED, OPTIONAL = ("image", "class", "patient"), ("lesion", "name")
MANIFESTS = ("manifest.csv", "manifest.json")
NO_TUMOUR = "none"
HOW = (
    f"write a manifest, CSV or JSON, with {', '.join(REQUIRED)} and, where there is one, {', '.join(OPTIONAL)}: "
    "see docs/training.md"
)
_CLASSES = {name.lower(): name for name in CLASSES}
_PHANTOM = re.compile(r"phantom-\d{6,}-(\w+)")
_LESION = re.compile(r"(^|[-_.])(lesion|mask|seg|label)$", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """One case as it is named: ``tumour_class`` is None for a head without tumour; ``lesion`` is the mask's file."""

    name: str
    patient: str
    tumour_class: str | None
    image: Path
    lesion: Path | None

    @property
    def is_phantom(self) -> bool:
        """Say whether it stands in a folder of the name that ``vb-node phantom`` gives."""
        return _PHANTOM.fullmatch(self.patient) is not None


class Wrong(Exception):
    """What is wrong with one case, in words."""


Named = tuple[list[Entry], list[str]]


def read_entries(path: Path) -> Named:
    """Read which cases there are, and what is wrong with those that cannot be read."""
    manifest = next((path / name for name in MANIFESTS if (path / name).is_file()), path)
    if manifest.is_file():
        return _gather(_rows(manifest), manifest.parent)
    if not path.is_dir():
        return [], [f"a folder or a manifest expected; there is none: {HOW}"]
    return _walk(path)


def _rows(manifest: Path) -> list[Mapping[str, Any]] | str:
    """Read the rows, or say why there are none."""
    try:
        text = manifest.read_text("utf-8-sig")
        if manifest.suffix.lower() == ".json":
            rows = json.loads(text)
            is_table = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
            return rows if is_table else "a list of objects expected"
        return list(csv.DictReader(text.splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        return f"cannot be read as {manifest.suffix[1:] or 'CSV'} ({type(error).__name__})"


def _gather(rows: list[Mapping[str, Any]] | str, home: Path) -> Named:
    if isinstance(rows, str):
        return [], [f"{rows}: {HOW}"]
    entries, problems = [], []
    for number, row in enumerate(rows, start=1):
        try:
            entries.append(_entry(row, number, home))
        except Wrong as wrong:
            problems.append(f"case {number}: {wrong}")
    return entries, problems


def _entry(row: Mapping[str, Any], number: int, home: Path) -> Entry:
    known = (*REQUIRED, *OPTIONAL)
    if unknown := [str(key) for key in row if key not in known]:
        raise Wrong(f"unknown column {', '.join(unknown)}; expected {', '.join(known)}")
    words = {key: str(row.get(key) or "").strip() for key in known}
    if missing := [key for key in REQUIRED if not words[key]]:
        raise Wrong(f"no {', '.join(missing)}")
    lesion = home / words["lesion"] if words["lesion"] else None
    name = words["name"] or f"case {number}"
    return Entry(name, words["patient"], class_named(words["class"]), home / words["image"], lesion)


def class_named(text: str) -> str | None:
    """Give the class of this name, whatever its case; None for a head without tumour."""
    if text.lower() == NO_TUMOUR:
        return None
    if text.lower() not in _CLASSES:
        raise Wrong(f"unknown class {text[:40]!r}; expected {', '.join(CLASSES)} or {NO_TUMOUR}")
    return _CLASSES[text.lower()]


def _walk(root: Path) -> Named:
    entries: list[Entry] = []
    problems: list[str] = []
    for folder, name in _case_folders(root, problems):
        try:
            entries.append(_entry_of(root, folder, name))
        except Wrong as wrong:
            problems.append(f"{folder.relative_to(root)}: {wrong}")
    return entries, problems if entries or problems else [f"no case found: {HOW}"]


def _case_folders(root: Path, problems: list[str]) -> Iterator[tuple[Path, str]]:
    """Give each case's folder with the name of its class."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if phantom := _PHANTOM.fullmatch(folder.name):
            yield folder, phantom[1]
        elif folder.name.lower() in (*_CLASSES, NO_TUMOUR):
            yield from ((case, folder.name) for case in sorted(folder.iterdir()) if case.is_dir())
            if files := [file.name for file in folder.iterdir() if file.is_file() and file.name[0] != "."]:
                problems.append(f"{folder.name}: {len(files)} files beside the cases' folders: {HOW}")
        elif folder.name[0] != ".":
            problems.append(f"{folder.name}: neither a class ({', '.join(CLASSES)}, {NO_TUMOUR}) nor a phantom: {HOW}")


def _entry_of(root: Path, folder: Path, class_name: str) -> Entry:
    """Read a case's folder: one NIfTI image or one DICOM study, and one NIfTI mask or none."""
    niftis = {file: file.name.split(".nii")[0] for file in sorted(folder.iterdir()) if is_nifti(file)}
    lesions = [file for file, stem in niftis.items() if _LESION.search(stem)]
    images = [file for file in niftis if file not in lesions]
    if len(images) > 1 or len(lesions) > 1:
        raise Wrong(f"{len(images)} images and {len(lesions)} masks; expected one image and one mask or none: {HOW}")
    name = folder.relative_to(root).as_posix()
    image, lesion = next(iter(images), folder), next(iter(lesions), None)
    return Entry(name, folder.name, class_named(class_name), image, lesion)


def is_nifti(path: Path) -> bool:
    """Tell a NIfTI file by its name."""
    return path.name.lower().endswith((".nii", ".nii.gz"))
