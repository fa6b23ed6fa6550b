"""Catalogue X: bombs, lying codestreams and broken geometry, decoded in a cell; the next case is done at once."""

import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cells import Laboratory, saboteur_installed
from factories import affine, head, mr_series, turned, write
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

from vb_node.dicom.admission import admit
from vb_node.errors import BadGeometry, Refused, Unfit, UnreadablePixels

SOON_S, MEMORY_MB = 5.0, 1024
SIDE = 512
LIE = 60_000


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with saboteur_installed():
        made = Laboratory(tmp_path_factory.mktemp("laboratory"), memory_gb=MEMORY_MB / 1024)
        made.attempt("nothing")
        yield made
        made.cell.end()


@pytest.fixture(autouse=True)
def others_are_unaffected(laboratory: Laboratory) -> Iterator[None]:
    """Hold every case against what matters: the next job is done within five seconds, and memory was bounded."""
    yield
    assert laboratory.works_within(SOON_S)
    assert laboratory.peak_mb() < MEMORY_MB


def _with(path: Path, **attributes: Any) -> Path:
    dataset = dcmread(path)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def _series(folder: Path, syntax: str | None = None, **attributes: Any) -> list[Path]:
    datasets = mr_series(head((24, 32, 32)), affine((6.0, 6.0, 6.0)), **attributes)
    return write(datasets, folder, *([syntax] if syntax else []))


def _ends_when_read(paths: list[Path]) -> list[Path]:
    """Cut the last slice, so that the run ends with it, when all others were decoded."""
    _with(paths[-1], PixelData=encapsulate([_codestream(paths[-1])[:20]]))
    return paths


def _codestream(path: Path) -> bytes:
    (codestream,) = generate_frames(dcmread(path).PixelData, number_of_frames=1)
    return bytes(codestream)


@pytest.mark.parametrize(
    ("vr", "keyword", "value"),
    [
        ("US", "Rows", 65535),
        ("UL", "Rows", SIDE),
        ("IS", "Rows", "512"),
        ("SS", "Rows", -1),
        ("US", "Rows", 0),
        ("IS", "NumberOfFrames", str(2**31 - 1)),
        ("US", "BitsAllocated", 0),
        ("US", "BitsAllocated", 64),
    ],
)
def test_x_02_an_absurd_size_is_refused_before_anything_is_allocated(
    laboratory: Laboratory, tmp_path: Path, vr: str, keyword: str, value: Any
) -> None:
    paths = _series(tmp_path)
    dataset = dcmread(paths[1])
    if keyword in dataset:
        del dataset[keyword]
    dataset.add_new(Tag(keyword), vr, value)
    if value == 65535:
        dataset.Columns = value
    dataset.save_as(paths[1])
    before = laboratory.peak_mb()

    with pytest.raises(Unfit):
        laboratory.analyse(paths)

    assert laboratory.peak_mb() < before + 128


def _j2k_says(codestream: bytes) -> bytes:
    at = codestream.index(b"\xff\x51") + 6
    return codestream[:at] + LIE.to_bytes(4, "big") * 2 + codestream[at + 8 :]


def _frame_says(marker: bytes) -> Callable[[bytes], bytes]:
    def change(codestream: bytes) -> bytes:
        at = codestream.index(marker) + 5
        return codestream[:at] + LIE.to_bytes(2, "big") * 2 + codestream[at + 4 :]

    return change


def _jpeg(folder: Path) -> list[Path]:
    """Write a series of 8-bit JPEG by Pillow."""
    paths = _series(folder, BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0)
    for path in paths:
        buffer = BytesIO()
        Image.fromarray(np.arange(1024, dtype=np.uint32).reshape(32, 32).astype(np.uint8)).save(buffer, "JPEG")
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([buffer.getvalue()])
        dataset["PixelData"].VR = "OB"
        dataset.save_as(path)
    return paths


@pytest.mark.parametrize(
    ("syntax", "change"),
    [
        (JPEG2000Lossless, _j2k_says),
        (JPEGLSLossless, _frame_says(b"\xff\xf7")),
        (JPEGBaseline8Bit, _frame_says(b"\xff\xc0")),
    ],
    ids=["JPEG 2000", "JPEG-LS", "JPEG"],
)
def test_x_03_a_codestream_larger_than_its_header_is_refused_undecoded(
    laboratory: Laboratory, tmp_path: Path, syntax: str, change: Callable[[bytes], bytes]
) -> None:
    paths = _jpeg(tmp_path) if syntax == JPEGBaseline8Bit else _series(tmp_path, syntax)
    _with(paths[1], PixelData=encapsulate([change(_codestream(paths[1]))]))
    before = laboratory.peak_mb()

    with pytest.raises(UnreadablePixels, match=f"is {LIE} x {LIE} x 1, its header says 32 x 32"):
        laboratory.analyse(paths)

    assert laboratory.peak_mb() < before + 128


def test_x_03_rle_that_unpacks_to_more_than_its_header_says_is_bounded(laboratory: Laboratory, tmp_path: Path) -> None:
    paths = _series(tmp_path, RLELossless)
    run = bytes([0x81, 0xFF]) * 100_000  # each pair: 128 bytes of 0xFF
    header = np.array([2, 64, 64 + len(run), *[0] * 13], "<u4").tobytes()
    _with(paths[1], PixelData=encapsulate([header + run + run]))
    before = laboratory.peak_mb()

    with pytest.raises(UnreadablePixels):
        laboratory.analyse(_ends_when_read(paths))

    assert laboratory.peak_mb() < before + 128


def test_x_03_a_large_image_meets_the_limit_of_memory_and_costs_only_itself(laboratory: Laboratory) -> None:
    answer = laboratory.answer("take memory", 4 << 30)

    assert answer == "MemoryError"


def _rle_offsets_out_of_range(codestream: bytes) -> bytes:
    return np.array([2, 64, 0x7FFFFFFF, *[0] * 13], "<u4").tobytes() + codestream[64:]


def _rle_many_segments(codestream: bytes) -> bytes:
    return np.array([0xFFFFFFFF, *[0xFFFFFFF0] * 15], "<u4").tobytes() + codestream[64:]


@pytest.mark.parametrize("change", [_rle_offsets_out_of_range, _rle_many_segments, lambda c: c[:20], lambda _: b""])
def test_x_04_rle_segments_that_lie_elsewhere_are_refused(
    laboratory: Laboratory, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    paths = _series(tmp_path, RLELossless)
    _with(paths[1], PixelData=encapsulate([change(_codestream(paths[1])) or b"\0\0"]))

    with pytest.raises(UnreadablePixels):
        laboratory.analyse(paths)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless], ids=["JPEG 2000", "JPEG-LS"])
@pytest.mark.parametrize("kept", [2, 30, 60, 0.3, 0.9])
def test_x_05_a_codestream_that_is_cut_is_refused(
    laboratory: Laboratory, tmp_path: Path, syntax: str, kept: float
) -> None:
    paths = _series(tmp_path, syntax)
    codestream = _codestream(paths[1])
    length = int(kept if kept > 1 else kept * len(codestream))
    _with(paths[1], PixelData=encapsulate([codestream[:length]]))

    with pytest.raises(UnreadablePixels):
        laboratory.analyse(paths)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_x_05_noise_within_a_codestream_is_refused_or_decoded(
    laboratory: Laboratory, tmp_path: Path, syntax: str
) -> None:
    chance, paths = np.random.default_rng(5), _series(tmp_path, syntax)
    for path in paths:
        noisy = np.frombuffer(_codestream(path), np.uint8).copy()
        noisy[100:-2:7] = chance.integers(0, 255, noisy[100:-2:7].shape)
        _with(path, PixelData=encapsulate([noisy.tobytes()]))

    with pytest.raises(UnreadablePixels):
        laboratory.analyse(_ends_when_read(paths))


def test_x_06_a_jpeg_with_other_components_is_refused(laboratory: Laboratory, tmp_path: Path) -> None:
    paths, buffer = _jpeg(tmp_path), BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(buffer, "JPEG")
    _with(paths[1], PixelData=encapsulate([buffer.getvalue()]))

    with pytest.raises(UnreadablePixels, match="is 32 x 32 x 3, its header says 32 x 32 x 1"):
        laboratory.analyse(paths)


@pytest.mark.parametrize(
    "fragments",
    [
        pytest.param([], id="none"),
        pytest.param([b""] * 5, id="empty"),
        pytest.param([b""] * 10**6, id="a million"),
    ],
)
def test_x_07_fragments_without_a_frame_are_refused(
    laboratory: Laboratory, tmp_path: Path, fragments: list[bytes]
) -> None:
    paths = _series(tmp_path, JPEG2000Lossless)
    item = b"\xfe\xff\x00\xe0\0\0\0\0"
    _with(paths[1], PixelData=item + item * len(fragments))

    with pytest.raises(UnreadablePixels):
        laboratory.analyse(paths)


@pytest.mark.parametrize("offsets", [[0xFFFFFFFE], [8, 16, 24], [0, 0]])
def test_x_07_a_basic_offset_table_that_lies_harms_nobody(
    laboratory: Laboratory, tmp_path: Path, offsets: list[int]
) -> None:
    paths = _series(tmp_path, JPEG2000Lossless)
    table = np.array(offsets, "<u4").tobytes()
    whole = encapsulate([_codestream(paths[1])], has_bot=False)
    _with(paths[1], PixelData=whole[:4] + len(table).to_bytes(4, "little") + table + whole[8:])

    with pytest.raises(UnreadablePixels):
        laboratory.analyse(_ends_when_read(paths))


@pytest.mark.parametrize("entries", [0, 1, 65535])
def test_x_08_a_palette_whatever_its_table_says_is_no_grey_image(
    laboratory: Laboratory, tmp_path: Path, entries: int
) -> None:
    paths = _series(tmp_path, PhotometricInterpretation="PALETTE COLOR")
    dataset = dcmread(paths[1])
    for colour in (0x1101, 0x1102, 0x1103):
        dataset.add_new(Tag(0x0028, colour), "US", [entries, 0, 16])
        dataset.add_new(Tag(0x0028, colour + 0x100), "OW", b"\xff" * 4)
    dataset.save_as(paths[1])

    with pytest.raises(UnreadablePixels, match="colour image"):
        laboratory.analyse(paths)


_SEQUENCE, _ITEM = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
_ITEM_END, _SEQUENCE_END = b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def _nest(depth: int) -> bytes:
    return (_SEQUENCE + _ITEM) * depth + (_ITEM_END + _SEQUENCE_END) * depth


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_nest(33), id="33 deep"),
        pytest.param(_nest(3000), id="3,000 deep"),
        pytest.param(_nest(10**6), id="a million deep"),
        pytest.param(_SEQUENCE + (_ITEM + _ITEM_END) * 10**6 + _SEQUENCE_END, id="a million items"),
        pytest.param(
            b"".join(b"\x09\x10" + n.to_bytes(2, "little") + b"LO\0\0" for n in range(1 << 16)) * 16,
            id="a million elements",
        ),
    ],
)
def test_x_10_a_nest_or_a_crowd_is_refused_at_the_receiver(data: bytes) -> None:
    began = time.process_time()

    with pytest.raises(Refused) as refused:
        admit(data, ExplicitVRLittleEndian, MRImageStorage, "1.2.3")

    assert refused.value.status in (0xC000, 0xC002)
    assert time.process_time() - began < 2


def test_x_10_a_nest_that_reached_the_disk_is_refused_or_passed_over(laboratory: Laboratory, tmp_path: Path) -> None:
    paths = _series(tmp_path)
    content = paths[1].read_bytes()
    at = content.index(b"\x08\x00\x60\x00CS")  # Modality: behind what the nest would stand in the order of tags
    paths[1].write_bytes(content[:at] + _nest(3000) + content[at:])

    with pytest.raises(Unfit):
        laboratory.analyse(paths)


def _places(paths: list[Path], change: Callable[[int, Dataset], None]) -> list[Path]:
    for number, path in enumerate(paths):
        dataset = dcmread(path)
        change(number, dataset)
        dataset.save_as(path)
    return paths


def _same_place(_number: int, dataset: Dataset) -> None:
    dataset.ImagePositionPatient = [0, 0, 0]


def _doubled(number: int, dataset: Dataset) -> None:
    dataset.ImagePositionPatient = [0, 0, number // 2]


def _no_number(_number: int, dataset: Dataset) -> None:
    dataset.ImageOrientationPatient = ["NaN", "0", "0", "0", "NaN", "0"]


def _two_ways(number: int, dataset: Dataset) -> None:
    if number % 2:
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def _missing(number: int, dataset: Dataset) -> None:
    dataset.ImagePositionPatient = [0, 0, number if number < 12 else number + 3]


@pytest.mark.parametrize("change", [_same_place, _doubled, _no_number, _two_ways, _missing])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_x_12_geometry_that_is_none_is_told_so(
    laboratory: Laboratory, tmp_path: Path, change: Callable[[int, Dataset], None]
) -> None:
    paths = _places(write(mr_series(head((24, 32, 32))), tmp_path), change)

    with pytest.raises(BadGeometry):
        laboratory.analyse(paths)


def test_x_12_a_tilted_gantry_is_placed_or_refused(laboratory: Laboratory, tmp_path: Path) -> None:
    tilted = affine((1.0, 1.0, 1.0), turned(20), slice_direction=(0.0, 0.0, 1.0))
    paths = write(mr_series(head((24, 32, 32)), tilted), tmp_path)

    with pytest.raises(Unfit):
        laboratory.analyse(paths)


@pytest.mark.parametrize(
    ("slope", "intercept"),
    [("NaN", "0"), ("Infinity", "0"), ("0", "0"), ("1e300", "0"), ("1", "-1e300"), ("1e30", "1e38")],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_x_13_values_beyond_all_bounds_end_in_a_clean_error(
    laboratory: Laboratory, tmp_path: Path, slope: str, intercept: str
) -> None:
    shape = affine((6.0, 6.0, 6.0))
    paths = write(mr_series(head((24, 32, 32)), shape, RescaleSlope=slope, RescaleIntercept=intercept), tmp_path)

    with pytest.raises(Unfit):
        laboratory.analyse(paths)
