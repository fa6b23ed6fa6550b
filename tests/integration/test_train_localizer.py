"""Tumor-Localizer's network learns from a site's own cases, by its command."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from vb_node.errors import ConfigError
from vb_node.evaluation.finished import SHIPPED, open_localizer
from vb_node.evaluation.learn_localizer import divide, train_localizer_on_cases
from vb_node.models.pins import LOCALIZER, digests
from vb_node.training.cases import read_data_set
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

    with pytest.raises(ConfigError, match="leave them out:\n  case 1: a tumour and no mask"):
        train_localizer_on_cases(bare, tmp_path, Lesson(2, 3, 1), silent)


def test_one_patient_alone_cannot_be_held_out(site: Path) -> None:
    (first, _) = read_data_set(site).cases

    with pytest.raises(ConfigError, match="two patients or more expected"):
        divide([first], [], 1)
