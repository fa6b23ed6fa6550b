"""A model of the tests that really looks at its pictures, and is as weak as vision-language models are known to be."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from vb_node.applications.virtual_biopsy.vlm.formats import FORMATS
from vb_node.models.vision_language import Pixels, Question

VESSEL_PX = 6  # what opens away is no wider than this: vessels of the small head


@dataclass(frozen=True)
class Sighted:
    """Box the largest bright thing of a picture.

    ``recall`` of the pictures, edges off by up to ``jitter`` of the size, ``false`` boxes on that share of the others,
    ``mumble`` is the share of answers without JSON; ``blind`` boxes the middle whatever there is.
    """

    form: str = "xyxy_1000"
    recall: float = 1.0
    jitter: float = 0.0
    false: float = 0.0
    mumble: float = 0.0
    blind: bool = False
    batch: int = 4
    step_px: int = 32

    def ask(self, questions: Sequence[Question]) -> list[str]:
        return [self.answer(question.picture) for question in questions]

    def answer(self, picture: Pixels) -> str:
        """Answer by what the picture shows; the same picture gets the same answer in any batch."""
        # coarse, so that another processor's last bit does not draw other numbers
        rng = np.random.default_rng(zlib.crc32((picture[::16, ::16, 0] // 32).tobytes()))
        if rng.random() < self.mumble:
            return "I see a brain."
        edges = np.array([0.4, 0.4, 0.6, 0.6]) if self.blind else self._look(picture, rng)
        if edges is None:
            return json.dumps({"abnormal": False, "boxes": []})
        return f"```json\n{json.dumps({'abnormal': True, 'boxes': [self._write(edges, picture)]})}\n```"

    def _look(self, picture: Pixels, rng: np.random.Generator) -> np.ndarray | None:
        edges = find_bright(picture)
        if edges is None:
            return rng.uniform(0.3, 0.4, 4) + [0, 0, 0.2, 0.2] if rng.random() < self.false else None
        if rng.random() > self.recall:
            return None
        size = np.tile(edges[2:] - edges[:2], 2)
        return np.clip(edges + self.jitter * size * rng.uniform(-1, 1, 4), 0, 1)

    def _write(self, edges: np.ndarray, picture: Pixels) -> dict[str, object]:
        form = FORMATS[self.form]
        height, width = picture.shape[:2]
        scale = np.array([width, height] * 2) if form.is_pixels else 1000
        x0, y0, x1, y1 = (int(value) for value in np.rint(edges * scale))
        corners = [y0, x0, y1, x1] if form.is_y_first else [x0, y0, x1, y1]
        return {form.key: corners, "label": "tumour", "confidence": 0.8}


def find_bright(picture: Pixels) -> np.ndarray | None:
    """Find the box (x0, y0, x1, y1, shares of the picture) of the largest thing that is bright and no vessel."""
    grey = picture[..., 0].astype(float)
    usual = np.median(grey[grey > 0])
    filled = ndimage.binary_fill_holes(grey > usual + 0.45 * (255 - usual))
    labels, count = ndimage.label(ndimage.binary_opening(filled, iterations=VESSEL_PX))
    if not count:
        return None
    largest = int(np.bincount(labels.ravel())[1:].argmax())
    rows, columns = ndimage.find_objects(labels)[largest]
    height, width = grey.shape
    return np.array([columns.start / width, rows.start / height, columns.stop / width, rows.stop / height])
