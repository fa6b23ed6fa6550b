"""The `vlm` slice detector: two passes, whole slices first, then each suspected place enlarged (block 1, Fig. 3).

Zoom doubled what such models find in brain MR (GAZE, arXiv 2605.00876); what the second look denies counts half.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vb_node.applications.virtual_biopsy.detectors import UnreadableAnswers
from vb_node.applications.virtual_biopsy.validate import group_boxes
from vb_node.applications.virtual_biopsy.vlm import answers, views, wording
from vb_node.applications.virtual_biopsy.vlm.formats import BoxFormat
from vb_node.applications.virtual_biopsy.vlm.levels import level_of
from vb_node.applications.virtual_biopsy.vlm.views import View
from vb_node.config import VlmSettings
from vb_node.models.vision_language import Question, VisionLanguageModel
from vb_node.pipeline.prior import Box
from vb_node.types import StandardVolume

DENIED = 0.5
MOST_DETAILS = 96  # pictures of the second pass: the places of highest confidence come first
MOST_UNREADABLE = 0.2
KEPT_CHARACTERS = 300


def _silent(_share: float) -> None:
    """Report to nobody."""


@dataclass
class Transcript:
    """What was said about one case: counts, and each answer that named a place or could not be read."""

    pictures: int = 0
    unreadable: int = 0
    off_scale: int = 0
    said: list[dict[str, Any]] = field(default_factory=list)

    def add(self, prompt: str, view: View, text: str, answer: answers.Answer) -> None:
        self.pictures += 1
        self.unreadable += not answer.is_readable
        self.off_scale += answer.is_off_scale
        if answer.sights or not answer.is_readable:
            self.said.append({"prompt": prompt, "slice": view.k, "answer": text[:KEPT_CHARACTERS]})

    def check(self) -> None:
        """Raise ``UnreadableAnswers`` when too much of what was said could not be read."""
        if self.unreadable > MOST_UNREADABLE * self.pictures:
            raise UnreadableAnswers(
                f"{self.unreadable} of {self.pictures} answers of the vision-language model could not be read"
            )

    def summary(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("pictures", "unreadable", "off_scale", "said")}


class VlmDetector:
    """Has a model look at one case; ``transcript`` then holds what it said. A box from one half on is a claim."""

    claim_score = 0.5
    knows_dark = False

    def __init__(
        self,
        model: VisionLanguageModel,
        form: BoxFormat,
        settings: VlmSettings,
        progress: Callable[[float], None] = _silent,
    ) -> None:
        self.model, self.form, self.settings, self.progress = model, form, settings, progress
        self.side_px = settings.image_px // model.step_px * model.step_px
        self.most_pictures = 1
        self.transcript = Transcript()

    def detect(self, standard: StandardVolume) -> list[Box]:
        shown = views.whole_slices(standard, self.settings.stride)
        self.most_pictures = len(shown) + MOST_DETAILS * self.settings.zoom
        first = self._look(standard, wording.SLICE, shown)
        self.transcript.check()
        if not self.settings.zoom or not first:
            return first
        boxes = self._look_closer(standard, first)
        self.transcript.check()
        return boxes

    def _look_closer(self, standard: StandardVolume, first: list[Box]) -> list[Box]:
        """Show each group of boxes enlarged; what does not fit into the second pass stays as it is."""
        groups = group_boxes(first, gap_mm=self.settings.stride + 1)
        groups.sort(key=lambda group: max(box.score for box in group), reverse=True)
        reach = max(1, self.settings.stride - 1)
        shown = [views.details(standard, group, reach) for group in groups]
        settled: list[Box] = []
        for group, own, fits in zip(groups, shown, fitting([len(own) for own in shown], MOST_DETAILS), strict=True):
            settled += settle(group, self._look(standard, wording.DETAIL, own)) if fits else group
        return settled

    def _look(self, standard: StandardVolume, name: str, shown: Sequence[View]) -> list[Box]:
        scale = views.grey_scale(standard)
        found: list[Box] = []
        for begin in range(0, len(shown), self.model.batch):
            self.progress(self.transcript.pictures / self.most_pictures)
            some = shown[begin : begin + self.model.batch]
            texts = self.model.ask([self._question(standard, name, view, scale) for view in some])
            for view, text in zip(some, texts, strict=True):
                answer = answers.read(text, self.form, self.side_px, self.side_px)
                self.transcript.add(name, view, text, answer)
                placed = (views.to_box(sight, view, standard) for sight in answer.sights)
                found += [box for box in placed if box is not None]
        return found

    def _question(self, standard: StandardVolume, name: str, view: View, scale: tuple[float, float]) -> Question:
        picture = views.draw(standard, view, self.side_px, scale)
        return wording.prompt(name).ask(
            picture,
            self.form,
            number=view.k + 1,
            count=standard.grid.shape[0],
            level=level_of(standard, view.k),
            side_mm=round(view.side),
        )


def fitting(counts: Sequence[int], room: int) -> list[bool]:
    """Say of which groups the pictures fit, the first first; one that is too large leaves its room to the others."""
    fits = []
    for count in counts:
        fits.append(count <= room)
        room -= count if fits[-1] else 0
    return fits


def settle(group: Sequence[Box], closer: Sequence[Box]) -> list[Box]:
    """Put the closer look in place of the first where it saw the same slice; what it denies counts half."""
    return [*closer, *(kept for box in group if (kept := _left_of(box, closer)) is not None)]


def _left_of(box: Box, closer: Sequence[Box]) -> Box | None:
    beside = [other for other in closer if abs(other.k - box.k) <= 1 and _overlap(box, other)]
    if any(other.k == box.k for other in beside):
        return None
    return box if beside else replace(box, score=DENIED * box.score)


def _overlap(one: Box, other: Box) -> bool:
    rows = min(one.j1, other.j1) - max(one.j0, other.j0)
    columns = min(one.i1, other.i1) - max(one.i0, other.i0)
    return rows > 0 and columns > 0
