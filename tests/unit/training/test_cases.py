"""A data set is read as it is named, and all that is wrong with it is told at once."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from factories import head, mr_series, write

from vb_node.errors import ConfigError
from vb_node.training.cases import lesion_ml, read_case, read_data_set
from vb_node.training.phantom import generate

SHAPE = (6, 8, 10)


def volume(path: Path, seed: int = 0, shape: tuple[int, int, int] = SHAPE, is_mask: bool = False) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(1, 900, shape).astype(np.int16)
    if is_mask:
        voxels = np.zeros(shape, dtype=np.int16)
        voxels[2:4, 2:4, 2:4] = 1
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1, 2, 1])), path)
    return path.name


def manifest(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "manifest.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["image", "class", "patient", "lesion", "name"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def row(image: str, tumour_class: str, patient: str, lesion: str = "") -> dict[str, str]:
    return {"image": image, "class": tumour_class, "patient": patient, "lesion": lesion}


def test_a_manifest_names_cases_with_and_without_mask_and_heads_without_tumour(tmp_path: Path) -> None:
    images = [volume(tmp_path / f"{n}.nii.gz", n) for n in range(3)]
    lesion = volume(tmp_path / "m.nii.gz", is_mask=True)
    rows = [row(images[0], "glioma", "a", lesion), row(images[1], "PCNSL", "b"), row(images[2], "none", "c")]

    cases = read_data_set(manifest(tmp_path, rows)).cases

    assert [(case.name, case.tumour_class) for case in cases] == [
        ("case 1", "Glioma"),
        ("case 2", "PCNSL"),
        ("case 3", None),
    ]
    read, labels = read_case(cases[0])
    assert labels is not None
    assert labels.shape == read.voxels.shape == SHAPE[::-1]
    assert int(labels.sum()) == 8
    assert read_case(cases[1])[1] is None


def test_a_json_manifest_is_the_same_data_set_as_its_csv(tmp_path: Path) -> None:
    rows = [row(volume(tmp_path / f"{n}.nii.gz", n), "Rare", f"p{n}") for n in range(2)]
    as_json = tmp_path / "set.json"
    as_json.write_text(json.dumps(rows))

    assert read_data_set(as_json).sha256 == read_data_set(manifest(tmp_path, rows)).sha256


def test_every_problem_is_told_at_once_and_no_patient_is_named(tmp_path: Path) -> None:
    image, other = volume(tmp_path / "1.nii.gz", 1), volume(tmp_path / "2.nii.gz", 2)
    small = volume(tmp_path / "small.nii.gz", shape=(3, 3, 3), is_mask=True)
    rows = [
        row("gone.nii.gz", "Glioma", "SECRET1"),
        row(image, "Meningioma", "SECRET2"),
        row(image, "Glioma", "SECRET3", small),
        row(other, "Glioma", "SECRET4"),
        row(other, "PCNSL", "SECRET4"),
        row(other, "PCNSL", "SECRET5"),
        row(image, "Rare", ""),
    ]

    with pytest.raises(ConfigError) as told:
        read_data_set(manifest(tmp_path, rows))

    text = str(told.value)
    expected = (
        "gone.nii.gz is missing",
        "unknown class 'Meningioma'; expected Glioma, PCNSL, Germinoma, Rare or none",
        "mask of (3, 3, 3) voxels over an image of (10, 8, 6)",
        "one patient in 2 classes (Glioma, PCNSL)",
        "the same image under more than one patient",
        "case 7: no patient",
    )
    assert [line for line in expected if line not in text] == []
    assert "SECRET" not in text


def test_a_column_of_another_name_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("image,class,patient,mask\na.nii,Rare,p,m.nii\n")

    with pytest.raises(ConfigError, match="unknown column mask; expected image, class, patient, lesion, name"):
        read_data_set(tmp_path)


def test_class_folders_are_read_and_an_unknown_layout_is_refused_with_words(tmp_path: Path) -> None:
    volume(tmp_path / "Glioma" / "p1" / "anything.nii.gz", 1)
    volume(tmp_path / "Glioma" / "p1" / "anything_seg.nii.gz", is_mask=True)
    volume(tmp_path / "PCNSL" / "p2" / "t1.nii.gz", 2)

    (first, second) = read_data_set(tmp_path).cases
    volume(tmp_path / "images" / "p3.nii.gz", 3)

    assert (first.name, first.tumour_class, first.lesion is not None) == ("Glioma/p1", "Glioma", True)
    assert (second.tumour_class, second.lesion) == ("PCNSL", None)
    with pytest.raises(ConfigError, match="images: neither a class .* write a manifest"):
        read_data_set(tmp_path)


def test_dicom_is_read_and_a_study_without_the_right_series_says_why(tmp_path: Path) -> None:
    write(mr_series(head((20, 24, 22))), tmp_path / "Rare" / "one")

    (case,) = read_data_set(tmp_path).cases

    assert read_case(case)[0].voxels.shape == (20, 24, 22)
    (tmp_path / "Rare" / "two").mkdir()
    with pytest.raises(ConfigError, match="Rare/two: the folder holds no image"):
        read_data_set(tmp_path)


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_phantoms_are_read_as_they_are_written(tmp_path: Path, kind: str) -> None:
    generate(tmp_path, 1, 8, kind, lambda done, total: None)  # type: ignore[arg-type]

    (case,) = read_data_set(tmp_path).cases

    volume_read, labels = read_case(case)
    assert (case.tumour_class, case.patient) == ("Glioma", "phantom-000008-glioma")
    assert labels is not None
    assert labels.shape == volume_read.voxels.shape
    assert labels.any()


def test_phantoms_are_known_as_such_and_a_set_with_a_patient_is_not(tmp_path: Path) -> None:
    generate(tmp_path, 2, 41, "nifti", lambda done, total: None)

    alone = read_data_set(tmp_path)
    volume(tmp_path / "Glioma" / "anna" / "t1.nii.gz")

    assert alone.is_synthetic
    assert not read_data_set(tmp_path).is_synthetic


def test_a_drawn_lesion_is_as_large_by_its_mask_as_on_its_image(tmp_path: Path) -> None:
    generate(tmp_path, 1, 41, "nifti", lambda done, total: None)
    (case,) = read_data_set(tmp_path).cases
    image, labels = read_case(case)

    assert labels is not None
    assert lesion_ml(case) == pytest.approx(labels.sum() * image.grid.voxel_mm3 / 1000, rel=1e-4)
    assert lesion_ml(replace(case, lesion=None)) is None
