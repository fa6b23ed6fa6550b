"""Decoding: the same values by every transfer syntax, and a refusal for what is no grey image."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import enhanced_mr, head, mr_series, write
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from vb_node.dicom.pixels import read_frames
from vb_node.dicom.read import read_header
from vb_node.errors import UnreadablePixels

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
WRITTEN = (*NATIVE, RLELossless, JPEG2000Lossless, JPEGLSLossless)


def frames(path: Path, numbers: list[int] | None = None) -> np.ndarray:
    return read_frames(path, read_header(path), numbers)


def rewrite(path: Path, **attributes: Any) -> None:
    dataset = dcmread(path)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


@pytest.mark.parametrize("transfer_syntax_uid", WRITTEN, ids=lambda uid: uid.name)
@pytest.mark.parametrize("is_signed", [True, False])
def test_every_transfer_syntax_gives_the_same_values(tmp_path: Path, transfer_syntax_uid: str, is_signed: bool) -> None:
    voxels = head() - (900 if is_signed else 0)
    dataset = mr_series(voxels, PixelRepresentation=int(is_signed))[12]

    path = write([dataset], tmp_path, transfer_syntax_uid)[0]

    np.testing.assert_array_equal(frames(path)[0], voxels[12])


def test_big_endian_gives_the_same_values(tmp_path: Path) -> None:
    dataset = mr_series(head())[12]
    dataset.PixelData = head()[12].astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    path = tmp_path / "big"
    dataset.save_as(path, implicit_vr=False, little_endian=False)

    np.testing.assert_array_equal(frames(path)[0], head()[12])


@pytest.mark.parametrize("option", ["+e1", "+el"])
def test_jpeg_lossless_of_dcmtk_gives_the_same_values(tmp_path: Path, option: str) -> None:
    path = write(mr_series(head(), PixelRepresentation=0)[12:13], tmp_path)[0]
    compressed = tmp_path / "jpeg.dcm"

    subprocess.run([shutil.which("dcmcjpeg") or "dcmcjpeg", option, path, compressed], check=True)

    np.testing.assert_array_equal(frames(compressed)[0], head()[12])


@pytest.mark.parametrize(("option", "bits"), [("+eb", 8), ("+ee", 12)])
def test_lossy_jpeg_of_dcmtk_gives_nearly_the_same_values(tmp_path: Path, option: str, bits: int) -> None:
    voxels = np.clip(head() // (4 if bits == 8 else 1), 0, 2**bits - 1)
    stored = {"PixelRepresentation": 0, "BitsStored": bits, "HighBit": bits - 1}
    dataset = mr_series(voxels, **stored)[12]
    if bits == 8:
        dataset.BitsAllocated, dataset.PixelData = 8, voxels[12].astype(np.uint8).tobytes()
    path = write([dataset], tmp_path)[0]
    compressed = tmp_path / "jpeg.dcm"

    subprocess.run([shutil.which("dcmcjpeg") or "dcmcjpeg", option, "+un", path, compressed], check=True)

    assert np.abs(frames(compressed)[0] - voxels[12]).mean() < 0.01 * 2**bits


def test_one_frame_over_several_fragments_is_one_frame(tmp_path: Path) -> None:
    path = write(mr_series(head())[12:13], tmp_path, JPEG2000Lossless)[0]
    dataset = dcmread(path)
    (codestream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([codestream], fragments_per_frame=4)
    dataset.save_as(path)

    np.testing.assert_array_equal(frames(path)[0], head()[12])


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    dataset = mr_series(head(), RescaleSlope="2.5", RescaleIntercept="-100")[12]

    path = write([dataset], tmp_path)[0]

    np.testing.assert_allclose(frames(path)[0], head()[12] * 2.5 - 100)


def test_each_frame_of_an_enhanced_instance_has_its_own_slope(tmp_path: Path) -> None:
    dataset = enhanced_mr(head())
    del dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence, 1):
        values = Dataset()
        values.RescaleSlope, values.RescaleIntercept = number, -number
        groups.PixelValueTransformationSequence = [values]
    path = write([dataset], tmp_path)[0]

    read = frames(path, [3, 20])

    np.testing.assert_allclose(read, np.stack([head()[2] * 3 - 3, head()[19] * 20 - 20]))


def test_bits_outside_bits_stored_are_dropped_and_the_sign_is_carried(tmp_path: Path) -> None:
    stored = np.array([[0xF7FF, 0x0800], [0x0FFF, 0xA001]], np.uint16)
    attributes = {"Rows": 2, "Columns": 2, "BitsStored": 12, "HighBit": 11, "PixelData": stored.tobytes()}
    unsigned = write(mr_series(head(), PixelRepresentation=0, **attributes)[:1], tmp_path)[0]
    signed = write(mr_series(head(), PixelRepresentation=1, **attributes)[:1], tmp_path)[0]

    np.testing.assert_array_equal(frames(unsigned)[0], [[2047, 2048], [4095, 1]])
    np.testing.assert_array_equal(frames(signed)[0], [[2047, -2048], [-1, 1]])


def test_pixels_that_do_not_end_the_file_are_read(tmp_path: Path) -> None:
    dataset = mr_series(head())[12]
    dataset.add_new(0xFFFCFFFC, "OB", bytes(64))

    path = write([dataset], tmp_path)[0]

    np.testing.assert_array_equal(frames(path)[0], head()[12])


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "colour image"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour image"),
        ({"BitsAllocated": 1, "BitsStored": 1}, "1 bits in 1"),
        ({"BitsStored": 17}, "17 bits in 16"),
        ({"Rows": 65535, "Columns": 65535}, "claims 1 frames of 65535 x 65535"),
        ({"NumberOfFrames": 2**31 - 1}, "claims 2147483647 frames"),
        ({"PixelData": bytes(100)}, "missing, short or damaged"),
        ({"RescaleSlope": "NaN"}, "rescale"),
    ],
)
def test_what_is_no_readable_grey_image_is_refused(tmp_path: Path, attributes: dict[str, Any], words: str) -> None:
    path = write(mr_series(head())[:1], tmp_path)[0]
    rewrite(path, **attributes)

    with pytest.raises(UnreadablePixels, match=words):
        frames(path)


@pytest.mark.parametrize("transfer_syntax_uid", [JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.name)
def test_a_codestream_larger_than_its_header_is_refused_undecoded(tmp_path: Path, transfer_syntax_uid: str) -> None:
    path = write(mr_series(head())[:1], tmp_path, transfer_syntax_uid)[0]
    rewrite(path, Rows=16)

    with pytest.raises(UnreadablePixels, match="is 32 x 32 x 1, its header says 16 x 32 x 1"):
        frames(path)


def test_what_is_called_jpeg_and_is_none_is_refused(tmp_path: Path) -> None:
    path = write(mr_series(head())[:1], tmp_path, JPEG2000Lossless)[0]
    rewrite(path, PixelData=encapsulate([b"GIF89a" * 50]))

    with pytest.raises(UnreadablePixels, match="no JPEG, JPEG-LS or JPEG 2000 codestream"):
        frames(path)


def test_damaged_rle_is_refused_and_does_not_panic(tmp_path: Path) -> None:
    path = write(mr_series(head())[12:13], tmp_path, RLELossless)[0]
    (codestream,) = generate_frames(dcmread(path).PixelData, number_of_frames=1)
    runs = bytes([0x7F, *range(128)]) * 40
    rewrite(path, PixelData=encapsulate([codestream[:64] + runs]))

    with pytest.raises(UnreadablePixels):
        frames(path)


def test_an_unknown_transfer_syntax_is_refused(tmp_path: Path) -> None:
    path = write(mr_series(head())[:1], tmp_path)[0]
    header = read_header(path)
    header.file_meta.TransferSyntaxUID = "1.2.3.4"

    with pytest.raises(UnreadablePixels, match=r"unknown transfer syntax \(1\.2\.3\.4\)"):
        read_frames(path, header)


@pytest.mark.parametrize("transfer_syntax_uid", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_a_truncated_codestream_is_refused(tmp_path: Path, transfer_syntax_uid: str) -> None:
    path = write(mr_series(head())[12:13], tmp_path, transfer_syntax_uid)[0]
    (codestream,) = generate_frames(dcmread(path).PixelData, number_of_frames=1)
    rewrite(path, PixelData=encapsulate([codestream[: len(codestream) // 3]]))

    with pytest.raises(UnreadablePixels, match="cut short|missing, short or damaged"):
        frames(path)


@pytest.mark.parametrize("option", ["+e1", "+eb"])
def test_a_truncated_jpeg_is_refused(tmp_path: Path, option: str) -> None:
    dataset = mr_series(head() // 4, PixelRepresentation=0, BitsAllocated=8, BitsStored=8, HighBit=7)[12]
    dataset.PixelData = (head()[12] // 4).astype(np.uint8).tobytes()
    path, compressed = write([dataset], tmp_path)[0], tmp_path / "jpeg.dcm"
    subprocess.run([shutil.which("dcmcjpeg") or "dcmcjpeg", option, path, compressed], check=True)
    (codestream,) = generate_frames(dcmread(compressed).PixelData, number_of_frames=1)
    rewrite(compressed, PixelData=encapsulate([codestream[: len(codestream) // 2]]))

    with pytest.raises(UnreadablePixels, match="cut short"):
        frames(compressed)


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["compressed", "compressed_j2k", "compressed_jpeg", "compressed_jpegls"])
def test_a_real_series_holds_the_same_values_in_every_transfer_syntax(real_data: Path, folder: str) -> None:
    generic = real_data / "odd_dicom2nifti" / "generic"

    read = np.stack([frames(path)[0] for path in sorted((generic / folder / "001").iterdir())])
    by_rle = np.stack([frames(path)[0] for path in sorted((generic / "compressed_rle" / "001").iterdir())])

    assert read.std() > 0
    np.testing.assert_array_equal(read, by_rle)


@pytest.mark.real_data
def test_a_real_colour_series_is_refused(real_data: Path) -> None:
    path = next((real_data / "odd_dicom2nifti" / "generic" / "rgb" / "001").iterdir())

    with pytest.raises(UnreadablePixels, match="RGB"):
        frames(path)
