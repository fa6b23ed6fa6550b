"""The corner self-test: a model must box a bright square in a known corner of a picture that is not square.

Whoever swaps x and y, or counts in another unit than was agreed, fails it; so does a model that does not see.
"""

import numpy as np

from vb_node.applications.virtual_biopsy.vlm.answers import Sight, read
from vb_node.applications.virtual_biopsy.vlm.formats import FORMATS, BoxFormat
from vb_node.applications.virtual_biopsy.vlm.wording import CORNER, prompt
from vb_node.errors import ConfigError
from vb_node.models.vision_language import Pixels, VisionLanguageModel

TOLERANCE = 0.05
DARK, BRIGHT = 30, 235
# Upper left corner and side of the square, in steps, on a picture of 18 x 12 steps: upper right, then lower left.
STEPS_WIDE, STEPS_HIGH, SIDE = 18, 12, 3
CORNERS = ((14, 1), (1, 8))


def check_corners(model: VisionLanguageModel, form: BoxFormat) -> None:
    """Ask a model for two squares; raise ``ConfigError`` unless every edge comes back within 5 % of the picture."""
    pictures = [draw(corner, model.step_px) for corner in CORNERS]
    questions = [prompt(CORNER).ask(picture, form) for picture in pictures]
    texts = [text for question in questions for text in model.ask([question])]
    if _fits(texts, form, model.step_px):
        return
    fitting = [other.name for other in FORMATS.values() if _fits(texts, other, model.step_px)]
    what = f"set box_format = {fitting[0]!r}, which fits" if fitting else "no box format fits: take another model"
    raise ConfigError(
        f"[virtual_biopsy.vlm] the model did not box a bright square within {TOLERANCE:.0%} ({form.name} was expected, "
        f"it answered {texts[0][:80]!r}): {what}; self_test = false runs it as it is, and each report says so"
    )


def draw(corner: tuple[int, int], step_px: int) -> Pixels:
    """Draw a bright square, its upper left corner at (x, y) steps, on a dark picture (rows, columns, 3)."""
    picture = np.full((STEPS_HIGH * step_px, STEPS_WIDE * step_px, 3), DARK, dtype=np.uint8)
    x, y = (step_px * value for value in corner)
    picture[y : y + SIDE * step_px, x : x + SIDE * step_px] = BRIGHT
    return picture


def _fits(texts: list[str], form: BoxFormat, step_px: int) -> bool:
    width, height = STEPS_WIDE * step_px, STEPS_HIGH * step_px
    answers = [read(text, form, width, height) for text in texts]
    return all(
        not answer.is_off_scale and any(_is_near(sight, *corner) for sight in answer.sights[:1])
        for answer, corner in zip(answers, CORNERS, strict=True)
    )


def _is_near(sight: Sight, x: int, y: int) -> bool:
    expected = (x / STEPS_WIDE, y / STEPS_HIGH, (x + SIDE) / STEPS_WIDE, (y + SIDE) / STEPS_HIGH)
    return bool(np.abs(np.subtract((sight.x0, sight.y0, sight.x1, sight.y1), expected)).max() <= TOLERANCE)
