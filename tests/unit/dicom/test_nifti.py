"""Our reader against dicom2nifti, dcm2niix and SimpleITK: the same voxels in the same places."""

import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from dicom2nifti import settings
from factories import AXIAL, CORONAL, SAGITTAL, affine, head, mr_series, turned, write

from vb_node.dicom.nifti import affine_ras, aligned, convert, export_source, read_nifti, write_nifti
from vb_node.dicom.read import read_folder
from vb_node.dicom.series import arrange_instances
from vb_node.dicom.volume import load_series, read_volume
from vb_node.errors import BadGeometry, Unfit, UnreadablePixels
from vb_node.types import Grid, Series, Volume

CONVERTIBLE = (
    "remind_022_t1ce_seg/3DAXT1postcontrast_MRI",
    "remind_022_t1ce_seg/3DAXT2SPACE_MRI",
    "philips_mprage_3t/In",
    "ge_3d_irspgr_fruit/In",
    "siemens_xa30_enhanced_t1/In/5_anat-T1w_acq-tfl",
    *(
        f"odd_dicom2nifti/{case}"
        for case in (
            "ge/anatomical/001",
            "siemens/anatomical/001",
            "siemens_multiframe/anatomical/001",
            "philips/anatomical/001",
            "philips_enhanced/anatomical/001",
            "hitachi/anatomical/001",
            "hyperfine/anatomical/001",
            "generic/anatomical/002_non_isotropic",
            "generic/compressed_jpeg/001",
            "generic/compressed_rle/001",
        )
    ),
)


def real(folder: Path) -> tuple[Series, Volume]:
    """Read the one series of a folder; cuts of four slices, and those without a frame of reference, are let in."""
    (instances,) = read_folder(folder).values()
    for instance in instances:
        if "FrameOfReferenceUID" not in instance.header:
            instance.header.FrameOfReferenceUID = "1.2.3"
    series = arrange_instances(instances, min_slices=4)
    return series, read_volume(series)


def dcm2niix(series: Series, folder: Path) -> list[Path]:
    """Convert the files of a series, and nothing else, by dcm2niix without Philips' private scaling."""
    source, out = folder / "source", folder / "out"
    source.mkdir()
    out.mkdir()
    for path in series.paths:
        (source / path.name).symlink_to(path.absolute())
    command = [shutil.which("dcm2niix") or "dcm2niix", "-p", "n", "-b", "n", "-z", "n", "-o", out, "-f", "made", source]
    subprocess.run(command, check=True, capture_output=True)
    return sorted(out.glob("*.nii"))


@pytest.mark.real_data
@pytest.mark.parametrize("case", CONVERTIBLE)
def test_dicom2nifti_gives_the_same_voxels_in_the_same_places(real_data: Path, case: str) -> None:
    series, read = real(real_data / case)

    converted = aligned(convert(series.paths), read.grid)

    np.testing.assert_allclose(converted.voxels, read.voxels, rtol=1e-6, atol=1e-3)


@pytest.mark.real_data
@pytest.mark.parametrize("case", CONVERTIBLE)
def test_dcm2niix_gives_the_same_voxels_in_the_same_places(real_data: Path, tmp_path: Path, case: str) -> None:
    series, read = real(real_data / case)

    (converted,) = dcm2niix(series, tmp_path)

    np.testing.assert_allclose(aligned(read_nifti(converted), read.grid).voxels, read.voxels, rtol=1e-6, atol=1e-3)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "case", [case for case in CONVERTIBLE if "enhanced" not in case and "multiframe" not in case][:4]
)
def test_simpleitk_gives_the_same_voxels_in_the_same_places(real_data: Path, case: str) -> None:
    series, read = real(real_data / case)

    image = SimpleITK.ReadImage([str(path) for path in series.paths])

    columns = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    theirs = np.column_stack([columns[:, ::-1], image.GetOrigin()])
    np.testing.assert_allclose(theirs, read.grid.affine_lps[:3], atol=2e-3)
    np.testing.assert_allclose(SimpleITK.GetArrayViewFromImage(image), read.voxels, rtol=1e-6, atol=1e-3)


@pytest.mark.real_data
def test_a_real_frame_over_many_fragments_equals_the_published_conversion(real_data: Path) -> None:
    folder = real_data / "odd_dcmqa" / "frag_jpeg_fragments"
    _, read = real(folder / "In" / "5001_anat-T1w_acq-tfl")
    (reference,) = (folder / "Ref").glob("*_5001.nii")

    np.testing.assert_array_equal(aligned(read_nifti(reference), read.grid).voxels, read.voxels)


@pytest.mark.real_data
def test_a_real_enhanced_perfusion_with_raw_data_equals_the_published_conversion(real_data: Path) -> None:
    folder = real_data / "philips_enh_multiframe"
    instances = next(
        found
        for found in read_folder(folder / "In").values()
        if any(i.header.get("NumberOfFrames") == 40 for i in found)
    )
    series = arrange_instances(instances)

    reference = aligned(read_nifti(folder / "Ref" / "1901_WIP_3DpCASL_enh_real.nii.gz"), series.grid)

    ours = read_volume(series).voxels
    assert (
        np.corrcoef(reference.voxels.ravel(), ours.ravel())[0, 1] > 0.999999
    )  # the reference has Philips' private scale


@pytest.mark.parametrize(
    "orientation", [AXIAL, SAGITTAL, CORONAL, turned(31)], ids=["axial", "sagittal", "coronal", "oblique"]
)
def test_a_volume_survives_nifti(tmp_path: Path, orientation: np.ndarray) -> None:
    volume = Volume(
        head().astype(np.float32), Grid((24, 32, 32), affine((2, 0.9, 0.8), orientation, (5, -6, 7)), "1.2")
    )

    write_nifti(volume, tmp_path / "volume.nii.gz")
    read = read_nifti(tmp_path / "volume.nii.gz", "1.2")

    np.testing.assert_array_equal(read.voxels, volume.voxels)
    np.testing.assert_allclose(read.grid.affine_lps, volume.grid.affine_lps, atol=1e-4)
    header = nibabel.load(tmp_path / "volume.nii.gz").header
    assert (int(header["qform_code"]), int(header["sform_code"]), header.get_xyzt_units()[0]) == (1, 1, "mm")


def test_nifti_counts_columns_first_towards_the_right_anterior_and_superior() -> None:
    grid = Grid((3, 4, 5), affine((3, 2, 1), origin_lps=(10, 20, 30)), "1.2")

    moved = affine_ras(grid) @ [4, 3, 2, 1]

    np.testing.assert_allclose(moved, [-14, -26, 36, 1])


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, turned(17)], ids=["axial", "sagittal", "oblique"])
def test_a_source_is_exported_by_dicom2nifti(tmp_path: Path, orientation: np.ndarray) -> None:
    series, volume = load_series(write(mr_series(head(), affine((2, 1, 1), orientation)), tmp_path / "source"))

    converter = export_source(series, volume, tmp_path / "source.nii.gz")

    assert converter == "dicom2nifti"
    exported = aligned(read_nifti(tmp_path / "source.nii.gz"), volume.grid)
    np.testing.assert_array_equal(exported.voxels, volume.voxels)


def test_a_source_that_dicom2nifti_refuses_is_exported_as_we_read_it(tmp_path: Path) -> None:
    paths = write(mr_series(head()[:3]), tmp_path / "source")
    series, volume = load_series(paths, min_slices=3)

    converter = export_source(series, volume, tmp_path / "source.nii.gz")

    assert converter == "vb-node"
    np.testing.assert_array_equal(read_nifti(tmp_path / "source.nii.gz").voxels, head()[:3])


def test_a_reading_that_differs_from_dicom2nifti_is_not_exported(tmp_path: Path) -> None:
    series, volume = load_series(write(mr_series(head()), tmp_path / "source"))

    with pytest.raises(UnreadablePixels, match="other values"):
        export_source(series, Volume(volume.voxels + 1, volume.grid), tmp_path / "source.nii.gz")

    assert not (tmp_path / "source.nii.gz").exists()


def test_empty_times_do_not_stop_dicom2nifti_and_its_settings_stay(tmp_path: Path) -> None:
    before = dict(vars(settings))
    paths = write(mr_series(head(), RepetitionTime="", EchoTime=""), tmp_path)

    converted = convert(paths)

    assert converted.voxels.shape == (24, 32, 32)
    assert dict(vars(settings)) == before


def test_what_dicom2nifti_refuses_is_unfit_in_its_words(tmp_path: Path) -> None:
    paths = write(mr_series(head()[:2]), tmp_path)

    with pytest.raises(Unfit, match="TOO_FEW_SLICES"):
        convert(paths)


@pytest.mark.real_data
def test_a_mosaic_is_a_run_of_volumes_and_not_converted_to_one(real_data: Path) -> None:
    folder = real_data / "odd_dcmqa" / "siemens_mosaic" / "In" / "ep2d_Asc_2"

    with pytest.raises(BadGeometry, match=r"one grey volume from dicom2nifti, came \(64, 64, 36, 6\)"):
        convert(sorted(folder.iterdir()))


@pytest.mark.parametrize(
    "moved",
    [
        Grid((24, 32, 32), affine(origin_lps=(0.3, 0, 0)), ""),
        Grid((24, 32, 32), affine((1.02, 1, 1)), ""),
        Grid((24, 32, 32), affine(orientation=turned(1)), ""),
        Grid((24, 32, 32), affine(orientation=turned(45)), ""),
        Grid((24, 32, 31), affine(), ""),
    ],
    ids=["shifted", "stretched", "turned", "turned far", "cut"],
)
def test_voxels_in_other_places_are_not_aligned(moved: Grid) -> None:
    volume = Volume(np.zeros(moved.shape, np.float32), moved)

    with pytest.raises(BadGeometry, match="two readings of one series"):
        aligned(volume, Grid((24, 32, 32), affine(), ""))
