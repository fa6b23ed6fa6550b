"""What a reader sees of a study in OHIF: driven in a real Chromium, read back from its pictures."""

import json
import subprocess
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from processes import tool
from viewer_server import VIEWER

from vb_node.types import Grid, Mask

TIMEOUT_S = 900  # for a browser that hangs, not for one that waits its turn
CHANGED = 12  # of 255: less is the noise of blending
SAME_HUE = 0.15
MOSTLY = 0.5


@dataclass(frozen=True)
class Overlay:
    """The picture of one source instance with and without the segmentation: (rows, columns, RGB) of screen pixels.

    ``to_lps`` (3, 3) maps (row, column, 1) of a pixel to LPS mm, as the viewer itself places its canvas.
    """

    shown: NDArray[np.int16]
    hidden: NDArray[np.int16]
    to_lps: NDArray[np.float64]

    def painted(self, colour: Sequence[int] | None = None) -> Mask:
        """Find the pixels that the segmentation changes, or only those it changes to the hue of ``colour``."""
        changed = np.abs(self.shown - self.hidden).max(axis=2) > CHANGED
        if colour is not None:
            changed &= np.abs(_hue(self.shown) - _hue(np.array(colour))).max(axis=-1) < SAME_HUE
        return np.asarray(changed)

    def mask(self, grid: Grid, colour: Sequence[int] | None = None) -> Mask:
        """Give the voxels of ``grid`` most of whose pixels are painted."""
        painted = self.painted(colour)
        rows, columns = np.indices(painted.shape).reshape(2, -1) + 0.5
        pixels_lps = np.stack([rows, columns, np.ones(rows.size)], axis=1) @ self.to_lps.T
        index = np.rint(grid.to_index(pixels_lps)).astype(int)
        is_inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
        voxels = np.ravel_multi_index(tuple(index[is_inside].T), grid.shape)
        size = int(np.prod(grid.shape))
        pixels_each = np.bincount(voxels, minlength=size)
        painted_each = np.bincount(voxels, painted.reshape(-1)[is_inside], minlength=size)
        return np.asarray(painted_each > MOSTLY * np.maximum(pixels_each, 1)).reshape(grid.shape)


@dataclass(frozen=True)
class Sight:
    """What was seen of a study."""

    studies: list[str]
    series_descriptions: list[str]
    overlays: Mapping[str, list[Overlay]]
    centres_lps: Mapping[str, list[float]]
    texts: Mapping[str, str]
    errors: list[str]
    foreign_requests: list[str]


def look(
    url: str,
    study_instance_uid: str,
    folder: Path,
    segmentations: Mapping[str, tuple[str, Sequence[str]]],
    maps: Mapping[str, str],
    texts: Mapping[str, str],
) -> Sight:
    """Open a study, lay each segmentation over the instances named, and read each map and each document.

    ``segmentations`` maps a name for the pictures in ``folder`` to a series description and SOP Instance UIDs of the
    source; ``maps`` and ``texts`` map such names to the series descriptions of Parametric Maps and SR documents.
    """
    folder.mkdir(parents=True, exist_ok=True)
    request = {
        "chromium": tool("chromium"),
        "url": url,
        "study": study_instance_uid,
        "folder": str(folder),
        "segmentations": {
            name: {"description": description, "instances": list(instances)}
            for name, (description, instances) in segmentations.items()
        },
        "maps": dict(maps),
        "texts": dict(texts),
    }
    done = subprocess.run(
        [tool("node"), str(VIEWER / "look.mjs")],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"OHIF could not be driven: {done.stderr}"
    return _sight(json.loads(done.stdout))


def _sight(answer: Mapping[str, Any]) -> Sight:
    return Sight(
        studies=answer["list"],
        series_descriptions=answer["descriptions"],
        overlays={name: [_overlay(one) for one in several] for name, several in answer["overlays"].items()},
        centres_lps=answer["centres"],
        texts=answer["texts"],
        errors=answer["errors"],
        foreign_requests=answer["foreign"],
    )


def _overlay(answer: Mapping[str, Any]) -> Overlay:
    origin, right, down = (np.array(answer[name]) for name in ("origin", "right", "down"))
    to_lps = np.column_stack([down - origin, right - origin, origin])
    return Overlay(_picture(answer["shown"]), _picture(answer["hidden"]), to_lps)


def _picture(data_url: str) -> NDArray[np.int16]:
    png = b64decode(data_url.partition(",")[2])
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"), np.int16)


def _hue(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """Take brightness and saturation out of a colour, and with them the grey image that it was laid over."""
    darkest, brightest = rgb.min(axis=-1, keepdims=True), rgb.max(axis=-1, keepdims=True)
    return np.asarray((rgb - darkest) / np.maximum(brightest - darkest, 1))
