"""The phantom is the same each time, and its truth fits its image."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from vb_node.training.phantom import PhantomCase, class_of, generate, make_case
from vb_node.training.tumour import CLASSES


def test_a_seed_gives_the_same_head_again(thick_lymphoma: PhantomCase) -> None:
    again = make_case(4, "PCNSL", "thick")

    assert np.array_equal(again.volume.voxels, thick_lymphoma.volume.voxels)
    assert np.array_equal(again.labels, thick_lymphoma.labels)
    assert np.array_equal(again.volume.grid.affine_lps, thick_lymphoma.volume.grid.affine_lps)


def test_another_seed_gives_another_head(thick_lymphoma: PhantomCase) -> None:
    other = make_case(5, "PCNSL", "thick")

    assert not np.array_equal(other.volume.grid.affine_lps, thick_lymphoma.volume.grid.affine_lps)


def test_the_lesion_lies_in_the_brain(glioma: PhantomCase) -> None:
    assert glioma.labels.any()
    assert glioma.brain[glioma.labels > 0].mean() > 0.95


def test_a_head_without_tumour_has_no_lesion() -> None:
    case = make_case(6, None, "thick")

    assert not case.labels.any()
    assert case.site is None


def test_a_lymphoma_enhances_evenly_and_a_glioma_does_not(glioma: PhantomCase, thick_lymphoma: PhantomCase) -> None:
    ring, solid = (case.volume.voxels[case.labels > 0] for case in (glioma, thick_lymphoma))

    assert ring.std() / ring.mean() > 2 * solid.std() / solid.mean()
    assert np.median(solid) > 1.2 * np.median(thick_lymphoma.volume.voxels[thick_lymphoma.brain])


def test_the_brain_has_a_human_volume(glioma: PhantomCase) -> None:
    litres = glioma.brain.sum() * glioma.volume.grid.voxel_mm3 / 1e6

    assert 1.3 < litres < 2.5


def test_the_pose_leads_the_brain_to_the_template(glioma: PhantomCase) -> None:
    centre_lps = glioma.volume.grid.to_lps(np.argwhere(glioma.brain)).mean(axis=0)

    centre_atlas = (glioma.atlas_from_patient @ [*centre_lps, 1])[:3]

    assert np.abs(centre_atlas - [0, 22, 8]).max() < 10


@pytest.mark.parametrize(("acquisition", "normal"), [("sagittal", [1, 0, 0]), ("axial", [0, 0, 1])])
def test_an_acquisition_looks_along_its_plane(acquisition: str, normal: list[int]) -> None:
    case = make_case(7, "Rare", acquisition)  # type: ignore[arg-type]

    along_slices = case.volume.grid.affine_lps[:3, 0] / case.volume.grid.spacing_mm[0]
    assert np.allclose(along_slices, normal)
    assert max(case.volume.grid.spacing_mm) < 1.2


def test_thick_slices_are_thick(thick_lymphoma: PhantomCase) -> None:
    slice_mm, row_mm, _ = thick_lymphoma.volume.grid.spacing_mm

    assert 5 <= slice_mm <= 6.5
    assert row_mm < 1


def test_the_classes_take_turns() -> None:
    assert [class_of(index) for index in range(4)] == list(CLASSES)


def test_a_generated_nifti_stands_where_the_dicom_would(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []

    (folder,) = generate(tmp_path, 1, 8, "nifti", lambda done, total: heard.append((done, total)))

    case = make_case(8, "Glioma")
    image = nib.load(folder / "t1ce.nii.gz")
    k, j, i = 3, 5, 7
    ras = image.affine @ [i, j, k, 1]
    assert np.allclose(ras[:3] * [-1, -1, 1], case.volume.grid.to_lps(np.array([[k, j, i]]))[0], atol=1e-3)
    assert image.dataobj[i, j, k] == case.volume.voxels[k, j, i]
    assert heard == [(1, 1)]
