"""Tumor-Localizer on real heads, from the file to labels on its own grid."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK
from real_heads import series, to_volume

from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.network import NetworkDetector
from vb_node.applications.virtual_biopsy.process import process
from vb_node.evaluation.localizer import HIT_MM, distances_mm
from vb_node.pipeline.resample import mask_to_grid, soft_mask
from vb_node.types import Grid, Mask, Prior, StandardVolume, Volume

pytestmark = pytest.mark.real_data


@cache
def read(path: Path, *spacing_mm: float) -> Volume:
    image = SimpleITK.ReadImage(str(path), SimpleITK.sitkFloat32)
    if spacing_mm:
        image.SetSpacing(spacing_mm)
    return to_volume(image)


@cache
def standardised(path: Path, *spacing_mm: float) -> StandardVolume:
    return process(read(path, *spacing_mm))


@cache
def by_classical(path: Path, *spacing_mm: float) -> Prior:
    return localise(standardised(path, *spacing_mm))


@cache
def by_network(path: Path) -> Prior:
    return localise(standardised(path), NetworkDetector.load())


def found_on_source(path: Path, *spacing_mm: float) -> Mask:
    found = by_classical(path, *spacing_mm).labels > 0
    return mask_to_grid(found, standardised(path, *spacing_mm).grid, read(path, *spacing_mm).grid)


def coverage_and_ratio(found: Mask, lesion: Mask) -> tuple[float, float]:
    return float((found & lesion).sum() / lesion.sum()), float(found.sum() / lesion.sum())


def test_an_enhancing_lesion_in_thick_slices_is_covered_and_not_drowned(real_data: Path) -> None:
    folder = real_data / "t1ce_thick_nrrd"
    lesion = read(folder / "brain1_label.nrrd").voxels > 0

    coverage, ratio = coverage_and_ratio(found_on_source(folder / "brain1_image.nrrd"), lesion)

    assert coverage >= 0.5
    assert ratio < 3


def test_both_foci_of_the_thick_case_are_lesions(real_data: Path) -> None:
    prior = by_classical(real_data / "t1ce_thick_nrrd" / "brain1_image.nrrd")

    assert prior.state == "localised"
    assert prior.labels.max() == 2
    assert all(region.centre_lps[0] > 30 for region in prior.regions[:2])


@pytest.mark.parametrize("when", ["Pre", "Post"])
def test_a_treated_glioblastoma_is_the_best_region(real_data: Path, when: str) -> None:
    # the file has lost its spacing; this is the class that its publisher names
    spacing_mm, folder = (0.94, 0.94, 6.5), real_data / "btp_gbm_nifti" / "01"
    lesion = read(folder / f"{when}_Mask.nii.gz").voxels > 0

    found = found_on_source(folder / f"{when}_Scan_T1.nii.gz", *spacing_mm)
    coverage, ratio = coverage_and_ratio(found, lesion)

    # a rim about a cavity, and up to a quarter of it beyond what is taken for brain
    assert coverage >= 0.4
    assert ratio < 3


def test_a_head_without_contrast_agent_has_no_lesion(real_data: Path) -> None:
    path = next((real_data / "siemens_xa30_enhanced_t1" / "Ref").glob("*.nii"))

    prior = by_classical(path)

    assert prior.state != "localised"
    assert prior.confidence < 0.5


def test_the_network_covers_an_enhancing_lesion_in_thick_slices(real_data: Path) -> None:
    path = real_data / "t1ce_thick_nrrd" / "brain1_image.nrrd"
    lesion = read(path.with_name("brain1_label.nrrd")).voxels > 0

    found = by_network(path).labels > 0
    coverage, ratio = coverage_and_ratio(mask_to_grid(found, standardised(path).grid, read(path).grid), lesion)

    assert coverage >= 0.5
    assert ratio < 3


def test_remind_s_faint_ring_is_among_the_first_three_regions_of_the_network(real_data: Path) -> None:
    folder = real_data / "remind_022_t1ce_seg"
    expert = highdicom.seg.segread(folder / "Tumor_segmentation.dcm").get_volume(combine_segments=True)
    grid = Grid(expert.array.shape, np.asarray(expert.affine), "")
    standard = process(series(folder / "3DAXT1postcontrast_MRI"))
    lesion = soft_mask(expert.array > 0, grid, standard.grid) > 0.4

    prior = localise(standard, NetworkDetector.load())

    assert 0.5 < np.count_nonzero(lesion) / 1000 < 1.2
    assert min(distances_mm(prior, lesion, standard)[:3]) <= HIT_MM
    assert prior.state != "localised" or (prior.labels > 0)[lesion].any()


def test_the_lesion_in_thick_slices_is_the_first_region_of_the_network(real_data: Path) -> None:
    path = real_data / "t1ce_thick_nrrd" / "brain1_image.nrrd"
    label = read(path.with_name("brain1_label.nrrd"))
    standard = standardised(path)

    prior = by_network(path)

    assert distances_mm(prior, soft_mask(label.voxels > 0, label.grid, standard.grid) > 0.5, standard)[0] <= HIT_MM


HEALTHY: dict[str, Callable[[Path], Volume]] = {
    "Siemens": lambda root: read(next((root / "siemens_xa30_enhanced_t1" / "Ref").glob("*.nii"))),
    "Philips": lambda root: series(root / "philips_mprage_3t" / "In" / "cl"),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_the_network_localises_nothing_in_a_head_without_contrast_agent(real_data: Path, name: str) -> None:
    standard = process(HEALTHY[name](real_data))

    prior = localise(standard, NetworkDetector.load())

    assert prior.state != "localised"
    assert prior.confidence < 0.5
