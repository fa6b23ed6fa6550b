"""A Secondary Capture for systems that show neither SEG nor SR: slices with the prior's outline in colour.

No name, number or date of the patient is drawn: pixels cannot be corrected or taken out again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from scipy import ndimage

from vb_node.dicom import source
from vb_node.dicom.provenance import Provenance
from vb_node.dicom.sentence import lesion_name
from vb_node.types import Finding, Floats, Grid, Mask, Matrix, Series

ROLE = "KEY"
SERIES_NUMBER = 9003
SERIES_DESCRIPTION = "AI key image, not verified"
WARNING = "Investigational - not verified - not for diagnosis"
PANEL, MARGIN, LINE, MOST_LESIONS = 512, 8, 22, 4
ORANGE, BLUE, WHITE, BLACK = (255, 80, 0), (0, 120, 255), (255, 255, 255), (0, 0, 0)
MOST_BLUE = 0.6
OPPOSITE = dict(zip("LRPAHF", "RLAPFH", strict=True))
Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Drawing:
    """Panels without the lines above them (rows, columns, RGB), and the slices of the series that they show."""

    picture: Picture
    slices: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Saliency:
    """How much each voxel [k, j, i] of a series counted for a class, 0 to 1."""

    class_name: str
    shares: Floats


def draw(series: Series, voxels: Floats, findings: Sequence[Finding], saliency: Saliency | None = None) -> Drawing:
    """Draw the largest slice of each of the first four lesions, or the middle slice where there is none.

    Every lesion in a slice is outlined. The caption says where more lesions are than panels. The last panel shows in
    blue what counted for the class, in the slice where most did.

    ``voxels`` [k, j, i] are those of ``series``.
    """
    shown = [(_largest(finding.mask), lesion_name(finding)) for finding in findings[:MOST_LESIONS]]
    shown = shown or [(len(voxels) // 2, "No lesion reported")]
    more = f" ({len(shown)} of {len(findings)} lesions shown)" if len(findings) > len(shown) else ""
    panels = []
    for k, name in shown:
        caption = f"{name}, {_place(series, k)}{more}"
        panels.append(panel(voxels[k], _lesions(findings, k, voxels), series.grid, caption))
    slices = {k for k, _ in shown}
    if saliency is not None:
        k = int(saliency.shares.sum(axis=(1, 2)).argmax())
        caption = f"Blue: counted for {saliency.class_name}, {_place(series, k)}"
        panels.append(panel(voxels[k], _lesions(findings, k, voxels), series.grid, caption, saliency.shares[k]))
        slices.add(k)
    return Drawing(_tile(panels), tuple(sorted(slices)))


def _lesions(findings: Sequence[Finding], k: int, voxels: Floats) -> Mask:
    outlined: Mask = np.logical_or.reduce([one.mask[k] for one in findings] or [np.zeros(voxels[k].shape, bool)])
    return outlined


def write_page(series: Series, drawing: Drawing, lines: Sequence[str], provenance: Provenance) -> Dataset:
    """Write a drawing under the warning and the lines, in which nothing of the patient stands."""
    above = _text([WARNING, *lines], drawing.picture.shape[1])
    letters = [direction.letters for direction in display(series.grid)]
    result = _capture(np.vstack([above, drawing.picture]), series.headers[0], letters, provenance)
    result.SourceImageSequence = [_shown(series, k) for k in drawing.slices]
    return result


def write_text_page(headers: Sequence[Dataset], lines: Sequence[str], provenance: Provenance) -> Dataset:
    """Write the warning and the lines alone, for a series that was not analysed, from the bare headers.

    ``provenance`` is that of a refusal (``Provenance.of_refusal``).
    """
    page = _text([WARNING, *lines], 2 * PANEL, least=PANEL)
    result = _capture(page, headers[0], (), provenance)
    result.SourceImageSequence = source.references(headers)
    return result


def panel(plane: Floats, mask: Mask, grid: Grid, caption: str, shares: Floats | None = None) -> Picture:
    """Draw one slice (rows, columns) as readers hang it, with square pixels and the outline of ``mask``.

    ``shares``, 0 to 1, are laid over it in blue: the slice stays to be seen.
    """
    size = _size(grid)
    right, down = (direction.letters for direction in display(grid))
    low, high = np.percentile(plane, (1, 99.5))
    grey = np.clip((_hung(plane, grid) - low) / max(high - low, 1e-6), 0, 1) * 255
    picture = np.array(Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC).convert("RGB"))
    if shares is not None:
        hung = Image.fromarray(_hung(shares, grid)).resize(size, Image.Resampling.BILINEAR)
        blue = MOST_BLUE * np.clip(np.array(hung), 0, 1)[..., None]
        picture = (picture * (1 - blue) + np.array(BLUE) * blue).astype(np.uint8)
    inside = np.array(Image.fromarray(_hung(mask, grid)).resize(size, Image.Resampling.NEAREST))
    picture[ndimage.binary_dilation(inside, iterations=2) & ~inside] = ORANGE
    framed = Image.new("RGB", (PANEL, PANEL), BLACK)
    framed.paste(Image.fromarray(picture), ((PANEL - size[0]) // 2, (PANEL - size[1]) // 2))
    draw = ImageDraw.Draw(framed)
    _write(draw, (MARGIN, MARGIN), caption)
    _write(draw, (PANEL - MARGIN - 12, PANEL // 2), right[0])
    _write(draw, (MARGIN, PANEL // 2), OPPOSITE[right[0]])
    _write(draw, (PANEL // 2, PANEL - MARGIN - LINE), down[0])
    return np.array(framed)


@dataclass(frozen=True)
class Direction:
    """Where one axis of the picture runs to in the patient, and whether the source's axis is turned about for it.

    ``letters`` in falling order of their share (PS3.3 C.7.6.1.1.1).
    """

    letters: str
    is_flipped: bool


def display(grid: Grid) -> tuple[Direction, Direction]:
    """Give the directions to the right and down: the patient's right, front and head always go left or up."""
    return _direction(grid.affine_lps[:3, 2]), _direction(grid.affine_lps[:3, 1])


def _direction(axis_lps: Matrix) -> Direction:
    cosines = axis_lps / np.linalg.norm(axis_lps)
    # LPS: left and posterior are positive and belong right and down; head is positive and belongs up
    largest = int(np.abs(cosines).argmax())
    is_flipped = bool((cosines[largest] < 0) == (largest < 2))
    shown = -cosines if is_flipped else cosines
    by_share = sorted(zip(shown, ("LR", "PA", "HF"), strict=True), key=lambda item: -abs(item[0]))
    # 0.1 is 6 degrees: a smaller share is no direction a reader wants to hear of.
    return Direction("".join(pair[int(cosine < 0)] for cosine, pair in by_share if abs(cosine) > 0.1), is_flipped)


def _hung(plane: NDArray[Any], grid: Grid) -> NDArray[Any]:
    right, down = display(grid)
    return np.ascontiguousarray(plane[:: -1 if down.is_flipped else 1, :: -1 if right.is_flipped else 1])


def _place(series: Series, k: int) -> str:
    """Name a slice as viewers do: by its image or frame number and its series; by its place where it has no number."""
    plane = series.planes[k]
    header = _behind(series, k)
    number = header.get("InstanceNumber")
    counted = f"image {number}" if number is not None else f"slice {k + 1} of {len(series.planes)}"
    shown = counted if plane.frame_number is None else f"frame {plane.frame_number}"
    series_number = header.get("SeriesNumber")
    return shown if series_number is None else f"{shown} of series {series_number}"


def _behind(series: Series, k: int) -> Dataset:
    uid = series.planes[k].sop_instance_uid
    header: Dataset = next(header for header in series.headers if header.SOPInstanceUID == uid)
    return header


def _largest(mask: Mask) -> int:
    return int(mask.sum(axis=(1, 2)).argmax())


def _size(grid: Grid) -> tuple[int, int]:
    _, rows, columns = grid.shape
    _, row_mm, column_mm = grid.spacing_mm
    scale = PANEL / max(rows * row_mm, columns * column_mm)
    return max(round(columns * column_mm * scale), 1), max(round(rows * row_mm * scale), 1)


def _tile(panels: Sequence[Picture]) -> Picture:
    """Lay the panels in a row, or two by two."""
    across = 1 if len(panels) == 1 else 2
    page = Image.new("RGB", (PANEL * across, PANEL * -(-len(panels) // across)), BLACK)
    for place, picture in enumerate(panels):
        page.paste(Image.fromarray(picture), (PANEL * (place % across), PANEL * (place // across)))
    return np.array(page)


def _text(lines: Sequence[str], width: int, least: int = 0) -> Picture:
    """Write the lines, broken where they are wider than the page, the first in colour; at least ``least`` rows."""
    broken = [(part, number) for number, line in enumerate(lines) for part in _broken(line, width - 2 * MARGIN)]
    page = Image.new("RGB", (width, max(least, 2 * MARGIN + LINE * len(broken))), BLACK)
    draw = ImageDraw.Draw(page)
    for row, (part, number) in enumerate(broken):
        _write(draw, (MARGIN, MARGIN + row * LINE), part, WHITE if number else ORANGE)
    return np.array(page)


def _broken(line: str, width: int) -> list[str]:
    """Break a line between words; a word wider than the page stays whole."""
    parts: list[str] = []
    for word in line.split():
        longer = f"{parts[-1]} {word}" if parts else word
        if parts and _font().getlength(longer) <= width:
            parts[-1] = longer
        else:
            parts.append(word)
    return parts


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, colour: tuple[int, int, int] = WHITE) -> None:
    draw.text(place, text, fill=colour, font=_font(), stroke_width=2, stroke_fill=BLACK)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(16)


def _capture(page: Picture, header: Dataset, letters: Sequence[str], provenance: Provenance) -> Dataset:
    result = SCImage(
        pixel_array=page,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=header.StudyInstanceUID,
        **provenance.identity(ROLE, SERIES_NUMBER),
        content_qualification="RESEARCH",
        series_description=SERIES_DESCRIPTION,
    )
    source.sign(result, header, provenance)
    # highdicom knows single letters only: an oblique series needs more, and text has no direction.
    result.PatientOrientation = list(letters)
    result.ConversionType = "WSD"
    result.BurnedInAnnotation = "YES"
    result.BodyPartExamined = "BRAIN"
    result.DateOfSecondaryCapture, result.TimeOfSecondaryCapture = result.ContentDate, result.ContentTime
    return result


def _shown(series: Series, k: int) -> Dataset:
    plane = series.planes[k]
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = plane.sop_instance_uid
    reference.ReferencedSOPClassUID = _behind(series, k).SOPClassUID
    if plane.frame_number is not None:
        reference.ReferencedFrameNumber = plane.frame_number
    return reference
