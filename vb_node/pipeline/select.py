"""Which series of a study is the T1 contrast-enhanced brain series, with a reason for every one that is not.

No attribute alone decides, and no empty one forbids: contrast may be told by the agent, the description, the protocol
or the sequence name, and the first text that says something has the word. Echo and repetition time, field strength and
body part are often taken away by de-identification.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage, MRImageStorage

from vb_node.dicom.frames import look_up, places_of
from vb_node.dicom.provenance import is_ours
from vb_node.dicom.read import DAMAGE, value
from vb_node.pipeline import words

MIN_SLICES = 16
IMAGE_CLASSES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
TEXTS = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
# Values of ImageType, FrameType and AcquisitionContrast that are no anatomical T1 (PS3.3 C.8.3.1.1.1, C.8.13.3.1).
# fmt: off
NEVER_TYPES = frozenset((
    "LOCALIZER", "SCOUT", "SUBTRACTION", "PROJECTION IMAGE", "MAX_IP", "MIN_IP", "MIP", "DIFFUSION", "ADC", "TRACEW",
    "FA", "PERFUSION", "ASL", "CBF", "CBV", "RCBV", "RCBF", "MTT", "TTP", "FMRI", "T2", "T2_STAR", "T1MAP", "T2MAP",
    "MAP", "FLUID_ATTENUATED", "PROTON_DENSITY", "SPECTROSCOPY", "FLOW_ENCODED", "PHASE", "PHASE MAP", "VELOCITY",
    "SWI",
))
REFORMATTED = frozenset(("MPR", "REFORMATTED", "RESAMPLED"))
# What is written into the agent's attribute where there was none.
NO_AGENT = frozenset((
    "", "no", "none", "n", "n/a", "na", "nil", "0", "nein", "non", "without", "ohne", "keine", "kein", "unknown",
))
# fmt: on
LONGEST_T1_ECHO_MS = 40.0


@dataclass(frozen=True)
class SeriesHeader:
    """What selection needs to know of a series: plain values, cheap to keep.

    ``texts`` pairs keyword and value, in the order in which they have the word; ``slices`` counts the frames of a
    multi-frame object; ``slice_mm`` is SpacingBetweenSlices, else SliceThickness;
    ``is_contrast_by_rule`` is a site's own word.
    """

    series_instance_uid: str
    sop_class_uid: str
    modality: str
    slices: int
    is_ours: bool
    image_types: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]
    contrast_bolus_agent: str
    body_part_examined: str
    is_3d: bool
    slice_mm: float | None
    echo_time_ms: float | None
    acquired: str
    is_contrast_by_rule: bool = False


@dataclass(frozen=True)
class Choice:
    """Whether a series is taken, and why; ``score`` is 0-1 and not calibrated."""

    series_instance_uid: str
    is_taken: bool
    score: float
    reason: str


def summarise(header: Dataset, instances: int) -> SeriesHeader:
    """Take from one header of a series of ``instances`` instances what selection needs; it should be an image's."""
    place = places_of(header)[0]
    frame_type = look_up(place, "MRImageFrameTypeSequence", "FrameType")
    contrast = look_up(place, "MRImageFrameTypeSequence", "AcquisitionContrast")
    types = (*_words(value(header, "ImageType")), *_words(frame_type), *_words(contrast))
    return SeriesHeader(
        series_instance_uid=str(value(header, "SeriesInstanceUID") or ""),
        sop_class_uid=str(value(header, "SOPClassUID") or ""),
        modality=str(value(header, "Modality") or ""),
        slices=instances * int(_number(value(header, "NumberOfFrames")) or 1),
        is_ours=_is_ours(header),
        image_types=tuple(dict.fromkeys(word.upper() for word in types)),
        texts=tuple((keyword, str(value(header, keyword) or "")) for keyword in TEXTS),
        contrast_bolus_agent=_agent(header),
        body_part_examined=str(value(header, "BodyPartExamined") or ""),
        is_3d=value(header, "MRAcquisitionType") == "3D",
        slice_mm=_number(value(header, "SpacingBetweenSlices"))
        or _number(look_up(place, "PixelMeasuresSequence", "SliceThickness")),
        echo_time_ms=_number(look_up(place, "MREchoSequence", "EffectiveEchoTime"))
        or _number(value(header, "EchoTime")),
        acquired=_acquired(header),
    )


def select(
    candidates: Sequence[SeriesHeader], *, must_have_contrast: bool = True, min_slices: int = MIN_SLICES
) -> list[Choice]:
    """Take at most one series of a study; give a choice for each candidate, in the order given."""
    refusals = [_refusal(header, must_have_contrast, min_slices) for header in candidates]
    fit = [header for header, refusal in zip(candidates, refusals, strict=True) if refusal is None]
    best = max(fit, key=_rank, default=None)
    return [_choice(header, refusal, best) for header, refusal in zip(candidates, refusals, strict=True)]


def _choice(header: SeriesHeader, refusal: str | None, best: SeriesHeader | None) -> Choice:
    uid = header.series_instance_uid
    if refusal is not None or best is None:
        return Choice(uid, False, 0.0, refusal or "")
    points = score(header)
    if header is best:
        return Choice(uid, True, points, f"taken: {'; '.join(_evidence(header))}")
    other = f"series {best.series_instance_uid} (score {score(best):.2f}, this one {points:.2f})"
    if is_reformatted(header) and not is_reformatted(best):
        return Choice(uid, False, points, f"a reformatted copy, and an original is there: {other}")
    return Choice(uid, False, points, f"another series fits better: {other}")


def _rank(header: SeriesHeader) -> tuple[bool, float, str, str]:
    """Originals before reformatted copies, then the score, then the later acquisition."""
    return not is_reformatted(header), score(header), header.acquired, header.series_instance_uid


def score(header: SeriesHeader) -> float:
    """Rate a series that is not refused, 0-1: evidence of contrast and T1, 3D acquisition, thin slices, an original."""
    told = sum(verdict is not None and verdict[0] for verdict in _contrast_verdicts(header))
    points = min(told, 3) + 2 * header.is_3d + 2 * (_t1(header) is not None)
    points += ({"ORIGINAL", "PRIMARY"} <= set(header.image_types)) + _thinness(header.slice_mm)
    return points / 11


def _thinness(slice_mm: float | None) -> int:
    if slice_mm is None or slice_mm > 3:
        return 0
    return 3 if slice_mm <= 1.5 else 2


def is_reformatted(header: SeriesHeader) -> bool:
    """Tell a derived multi-planar reformat; some archives keep MPR in an original's ImageType."""
    if "DERIVED" not in header.image_types:
        return False
    is_told = any(words.find(words.REFORMATTED, text) for _, text in header.texts)
    return is_told or bool(REFORMATTED & set(header.image_types))


def _refusal(header: SeriesHeader, must_have_contrast: bool, min_slices: int) -> str | None:
    """Give the first reason against a series, or None."""
    contrast = _lacks_contrast(header) if must_have_contrast else None
    reasons = (
        _is_no_image(header),
        _is_never(header),
        _is_elsewhere(header),
        _is_too_small(header, min_slices),
        contrast,
        _is_not_t1(header),
    )
    return next((reason for reason in reasons if reason), None)


def _is_no_image(header: SeriesHeader) -> str | None:
    if header.is_ours:
        return "our own result, by Manufacturer and ManufacturerModelName"
    if header.modality != "MR":
        return f"modality {header.modality or 'empty'} is not MR"
    if header.sop_class_uid not in IMAGE_CLASSES:
        return f"{UID(header.sop_class_uid).name} is not an MR image"
    return None


def _is_never(header: SeriesHeader) -> str | None:
    for word in header.image_types:
        if word in NEVER_TYPES:
            return f"{word} in ImageType or FrameType"
    for keyword, text in header.texts:
        never = words.find(words.NEVER, text)
        if never:
            return f"{never.meaning} ('{never.letters}' in {keyword})"
        if words.find(words.T1, text):
            return None
    return None


def _is_elsewhere(header: SeriesHeader) -> str | None:
    for keyword, text in (("BodyPartExamined", header.body_part_examined), *header.texts):
        found = words.find(words.ELSEWHERE, text)
        if found and not words.find(words.HEAD, text):
            return f"not a head: '{found.letters}' in {keyword}"
        if words.find(words.HEAD, text):
            return None
    return None


def _is_too_small(header: SeriesHeader, min_slices: int) -> str | None:
    return None if header.slices >= min_slices else f"{header.slices} slices, at least {min_slices} needed"


def _lacks_contrast(header: SeriesHeader) -> str | None:
    if header.is_contrast_by_rule:
        return None
    for verdict in _contrast_verdicts(header):
        if verdict is not None:
            return None if verdict[0] else verdict[1]
    return "no evidence of contrast: no agent, and no word for it in SeriesDescription, ProtocolName or SequenceName"


def _contrast_verdicts(header: SeriesHeader) -> Iterator[tuple[bool, str] | None]:
    """Hear each text, then the agent: (with contrast or without, where it is said), None where nothing is said."""
    for keyword, text in header.texts:
        without, with_ = words.find(words.WITHOUT_CONTRAST, text), words.find(words.WITH_CONTRAST, text)
        said = without or with_
        yield (without is None, f"{said.meaning} ('{said.letters}' in {keyword})") if said else None
    yield (
        (True, "an agent in ContrastBolusAgent")
        if header.contrast_bolus_agent.lower().strip() not in NO_AGENT
        else None
    )


def _is_not_t1(header: SeriesHeader) -> str | None:
    """Refuse what nothing calls T1 and whose echo is too late for it."""
    if _t1(header) is None and header.echo_time_ms is not None and header.echo_time_ms > LONGEST_T1_ECHO_MS:
        return f"not T1-weighted: nothing says T1, and the echo time is {header.echo_time_ms:g} ms"
    return None


def _t1(header: SeriesHeader) -> str | None:
    if "T1" in header.image_types:
        return "T1 in ImageType or FrameType"
    for keyword, text in header.texts:
        found = words.find(words.T1, text)
        if found:
            return f"T1 ('{found.letters}' in {keyword})"
    return None


def _evidence(header: SeriesHeader) -> Iterator[str]:
    yield _t1(header) or "nothing against T1"
    if header.is_contrast_by_rule:
        yield "with contrast by the site's rule"
    yield from (verdict[1] for verdict in _contrast_verdicts(header) if verdict is not None and verdict[0])
    size = "" if header.slice_mm is None else f" of {header.slice_mm:g} mm"
    yield f"{header.slices} slices{size}{', 3D' * header.is_3d}"


def _is_ours(header: Dataset) -> bool:
    try:
        return is_ours(header)
    except DAMAGE:  # we write no damaged headers
        return False


def _agent(header: Dataset) -> str:
    """Name the agent of a classic or an Enhanced object (PS3.3 C.7.6.4, C.7.6.4b)."""
    items = value(header, "ContrastBolusAgentSequence") or []
    named = [value(header, "ContrastBolusAgent"), *(value(item, "CodeMeaning") for item in items)]
    return " ".join(str(name) for name in named if name)


def _acquired(header: Dataset) -> str:
    """Say when a series was made, to sort by: date, then time, as far as they are numbers."""
    for date, time in (
        ("AcquisitionDate", "AcquisitionTime"),
        ("SeriesDate", "SeriesTime"),
        ("ContentDate", "ContentTime"),
    ):
        found = f"{value(header, date) or value(header, 'StudyDate') or ''}{value(header, time) or ''}"
        if value(header, time) and found.replace(".", "").isdigit():
            return found
    return ""


def _words(words: Any) -> list[str]:
    if not words:
        return []
    return [words] if isinstance(words, str) else [str(word) for word in words]


def _number(found: Any) -> float | None:
    try:
        number = float(found)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
