"""How model families write a box: the key, the order of the corners, the unit. A wrong family swaps x and y silently.

Sources: Qwen3-VL and Qwen2-VL 0-1000 relative to the picture; Qwen2.5-VL pixels of the model's input; Gemini and
its kin [y, x] first, 0-1000 (docs/virtual-biopsy-localizer.md).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class BoxFormat:
    """``key`` holds the corners; they are pixels of the picture, or relative to it, 0-1000."""

    name: str
    key: str = "bbox_2d"
    is_y_first: bool = False
    is_pixels: bool = False

    @property
    def corners(self) -> str:
        """Name the corners in their order, for a prompt."""
        return "[y1, x1, y2, x2]" if self.is_y_first else "[x1, y1, x2, y2]"

    @property
    def unit(self) -> str:
        """Name the unit, for a prompt."""
        return "integers, pixels of the image" if self.is_pixels else "integers 0-1000 relative to the image"


FORMATS = {
    form.name: form
    for form in (
        BoxFormat("xyxy_1000"),
        BoxFormat("xyxy_pixels", is_pixels=True),
        BoxFormat("yxyx_1000", key="box_2d", is_y_first=True),
    )
}
