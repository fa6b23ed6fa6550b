"""Tumor-Localizer's network learns from a site's own cases, by its command."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from vb_node.errors import ConfigError
from vb_node.evaluation.finished import SHIPPED, open_localizer, refuse_known
from vb_node.evaluation.learn_localizer import divide, train_localizer_on_cases
from vb_node.models.pins import LOCALIZER, digests
from vb_node.models.weights import Weights
from vb_node.training.cases import DataCase, DataSet, read_data_set
from vb_node.training.fit_localizer import Lesson
from vb_node.training.phantom import generate


def silent(done: int, total: int) -> None:
    return


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the manifest of two patients with a tumour and its mask."""
    folder = tmp_path_factory.mktemp("site")
    cases = generate(folder, 2, 9300, "nifti", silent)
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "class", "patient", "lesion", "name"])
        for number, (case, tumour_class) in enumerate(zip(cases, ("Glioma", "PCNSL"), strict=True)):
            files = [f"{case.name}/t1ce.nii.gz", tumour_class, f"P{number}", f"{case.name}/lesion.nii.gz"]
            writer.writerow([*files, f"case {number}"])
    return folder / "manifest.csv"


@pytest.mark.timeout(600)
def test_a_site_s_cases_with_masks_teach_the_localizer_and_its_weights_say_so(site: Path, tmp_path: Path) -> None:
    start = open_localizer(SHIPPED)
    lesson = Lesson(heads=2, seed=3, steps=1, start=start)

    figures = train_localizer_on_cases(site, tmp_path / "out", lesson, silent, measured_crops=20)

    weights = open_localizer(tmp_path / "out" / "bundle")
    assert figures["held_out_crops"] == 20
    assert figures["highest_voxel_in_the_lesion"] >= 0.2  # the shipped network knows a phantom's tumour
    assert weights.metadata["data_sha256"] == read_data_set(site).sha256
    assert weights.metadata["is_trained_on_synthetic_data"] is False
    assert weights.metadata["started_from_sha256"] == digests()[LOCALIZER]
    assert weights.metadata["command"].startswith(
        "vb-node train localizer --heads 2 --seed 3 --steps 1 --data manifest"
    )
    with pytest.raises(ConfigError, match="trained on this data set"):
        train_localizer_on_cases(site, tmp_path / "again", replace(lesson, start=weights), silent)


def test_a_tumour_without_mask_is_named_before_anything_is_learned(site: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(site.open()))
    rows[1]["lesion"] = ""
    bare = site.with_name("bare.csv")
    with bare.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[1:])

    with pytest.raises(ConfigError, match="a tumour and no mask: case 1; .* leave them out"):
        train_localizer_on_cases(bare, tmp_path, Lesson(2, 3, 1), silent)


def case(patient: int, tumour_class: str | None = "Glioma") -> DataCase:
    lesion = Path("m.nii.gz") if tumour_class else None
    return DataCase(f"case {patient}", f"P{patient}", tumour_class, Path("x.nii.gz"), lesion, f"{patient:064}")


def test_whatever_the_seed_a_patient_with_a_tumour_is_held_out_and_is_not_learned_from() -> None:
    cases = [*(case(n) for n in range(3)), case(0), *(case(n, None) for n in range(10, 30))]

    for seed in range(40):
        known, held_out = divide(cases, seed)
        patients = [{cases[n].patient for n in side} for side in (known, held_out)]
        assert sorted(known + held_out) == list(range(len(cases)))
        assert not patients[0] & patients[1]
        assert all(any(cases[n].tumour_class for n in side) for side in (known, held_out))


def test_one_patient_with_a_tumour_cannot_be_held_out() -> None:
    with pytest.raises(ConfigError, match="two patients with a tumour or more expected.*; 1 came"):
        divide([case(1), case(1), case(2, None)], 1)


def test_patients_are_not_forgotten_by_a_training_that_goes_on_from_their_weights() -> None:
    of_patients = Weights({}, {"is_trained_on_synthetic_data": False, "learned_from": ["ab" * 32]}, "cd" * 32)

    assert not Lesson(2, 1, 1, start=of_patients).is_synthetic
    assert not Lesson(2, 1, 1, has_patients=True).is_synthetic
    assert Lesson(2, 1, 1, start=open_localizer(SHIPPED)).is_synthetic
    with pytest.raises(ConfigError, match="trained on this data set"):
        refuse_known(DataSet((), "ab" * 32), of_patients)
