"""Reading what a model answers: boxes out of text that is JSON, nearly JSON, or not at all. Nothing here raises."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vb_node.applications.virtual_biopsy.vlm.formats import BoxFormat

LONGEST = 20_000  # characters of an answer that are looked at
SMALLEST_PX = 4
SAME_IOU = 0.7
MOST_BOXES = 4
UNSAID = 0.5
"""The confidence of a box that comes without one: a model that names a place claims it."""

_KEYS = ("bbox_2d", "box_2d", "bbox")
_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
_WHOLE_OBJECT = re.compile(r"\{[^{}]*\}")
_JSON = json.JSONDecoder()


@dataclass(frozen=True)
class Sight:
    """A box in one picture: corners in shares of its width and height (0-1), ``score`` 0-1 and not calibrated."""

    x0: float
    y0: float
    x1: float
    y1: float
    score: float

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * (self.y1 - self.y0)


@dataclass(frozen=True)
class Answer:
    """What one answer says: best sights first; ``is_off_scale`` if it gave pixels where it should not have."""

    sights: tuple[Sight, ...] = ()
    is_readable: bool = True
    is_off_scale: bool = False


def read(text: str, form: BoxFormat, width: int, height: int) -> Answer:
    """Read the boxes of an answer about a picture of so many pixels."""
    objects = _objects(_THOUGHT.sub("", text[:LONGEST]))
    if objects is None:
        return Answer(is_readable=False)
    said = [(corners, _score(one)) for one in objects if (corners := _corners(one)) is not None]
    if objects and not said:
        return Answer(is_readable=False)
    # a model that leaves its scale has left it for the whole answer
    is_off_scale = not form.is_pixels and any(value > 1000 for corners, _ in said for value in corners)
    scale = (width, height) if form.is_pixels or is_off_scale else (1000, 1000)
    sights = [_sight(corners, score, form, scale) for corners, score in said]
    large = [one for one in sights if min((one.x1 - one.x0) * width, (one.y1 - one.y0) * height) >= SMALLEST_PX]
    return Answer(tuple(_without_doubles(large)), is_off_scale=is_off_scale)


def _objects(text: str) -> list[Any] | None:
    """Find the objects that may be boxes: in the JSON, else, where it is broken off, each object that is whole."""
    said = _from_json(text)
    if said is not None:
        return said
    pieces = [_load(match[0]) for match in _WHOLE_OBJECT.finditer(text)]
    return [piece for piece in pieces if _has_box(piece)] or None


def _from_json(text: str) -> list[Any] | None:
    start = min((place for mark in "[{" if (place := text.find(mark)) >= 0), default=-1)
    value = _load(text[start:]) if start >= 0 else None
    if isinstance(value, dict):
        if value.get("abnormal") is False:
            return []
        boxes = value.get("boxes")
        value = [value] if _has_box(value) else boxes
    if not isinstance(value, list):
        return None
    boxes = [one for one in value if _has_box(one)]
    return boxes if boxes or not value else None


def _load(text: str) -> Any:
    """Read the JSON that a text begins with; what follows it, such as the end of a fence, does not matter."""
    try:
        return _JSON.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


def _has_box(value: Any) -> bool:
    return isinstance(value, dict) and any(key in value for key in _KEYS)


def _corners(one: dict[str, Any]) -> tuple[float, ...] | None:
    value = next(one[key] for key in _KEYS if key in one)
    if not isinstance(value, list) or len(value) != 4:
        return None
    corners = tuple(_number(part) for part in value)
    return None if any(math.isnan(part) for part in corners) else corners


def _score(one: dict[str, Any]) -> float:
    score = _number(one.get("confidence", one.get("score")))
    return UNSAID if math.isnan(score) else min(max(score, 0.0), 1.0)


def _number(value: Any) -> float:
    """Give a finite number as it is, and NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan


def _sight(corners: Sequence[float], score: float, form: BoxFormat, scale: tuple[int, int]) -> Sight:
    """Scale, clamp and order the corners; models give both orders."""
    y_first = int(form.is_y_first)
    x, y = corners[y_first::2], corners[1 - y_first :: 2]
    x0, x1 = sorted(min(max(value / scale[0], 0.0), 1.0) for value in x)
    y0, y1 = sorted(min(max(value / scale[1], 0.0), 1.0) for value in y)
    return Sight(x0, y0, x1, y1, score)


def _without_doubles(sights: Iterable[Sight]) -> list[Sight]:
    """Keep the best few, none of which is nearly another one."""
    kept: list[Sight] = []
    for sight in sorted(sights, key=lambda one: one.score, reverse=True):
        if len(kept) < MOST_BOXES and all(_iou(sight, other) < SAME_IOU for other in kept):
            kept.append(sight)
    return kept


def _iou(one: Sight, other: Sight) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    common = max(width, 0.0) * max(height, 0.0)
    return common / (one.area + other.area - common)
