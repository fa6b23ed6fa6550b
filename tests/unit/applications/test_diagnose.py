"""A class is given only where something was localised, in an input like the training data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from real_heads import to_volume
from scipy import ndimage

from vb_node.applications.virtual_biopsy.diagnose import Diagnoser
from vb_node.applications.virtual_biopsy.process import process
from vb_node.models.conformal import Conformal
from vb_node.pipeline.resample import to_grid
from vb_node.training.dataset import as_standardised, lay_standard
from vb_node.training.phantom import make_case
from vb_node.types import Grid, Prior, StandardVolume


@pytest.fixture(scope="module")
def diagnoser() -> Diagnoser:
    return Diagnoser.load()


def noise() -> tuple[StandardVolume, Prior]:
    shape = (160, 190, 150)
    voxels = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[70:90, 70:90, 70:90] = 1
    standard = StandardVolume(voxels, Grid(shape, np.eye(4), "1.2"), np.ones(shape, dtype=np.bool_), np.eye(4))
    return standard, Prior(labels.astype(np.float32), labels, (), 0.9, "localised")


@pytest.mark.parametrize("state", ["not localised", "unreliable"])
def test_without_a_localised_tumour_there_is_no_class(diagnoser: Diagnoser, state: str) -> None:
    standard, prior = noise()
    unsure = Prior(prior.probability, prior.labels, (), 0.1, state)  # type: ignore[arg-type]

    diagnosis = diagnoser.diagnose(standard, unsure)

    assert diagnosis.probabilities == {}
    assert not diagnosis.is_determined
    assert state in diagnosis.reason


def test_an_input_unlike_the_training_data_is_not_determined(diagnoser: Diagnoser) -> None:
    diagnosis = diagnoser.diagnose(*noise())

    assert not diagnosis.is_determined
    assert "unlike" in diagnosis.reason
    assert diagnosis.novelty is not None
    assert diagnosis.novelty > 1


def test_phantoms_never_seen_are_mostly_known_and_mostly_right(diagnoser: Diagnoser) -> None:
    outcomes = []
    for seed, name in enumerate((*diagnoser.classes, *diagnoser.classes), start=300):
        case = make_case(seed, name, lay=lay_standard, shading=0.25)
        diagnosis = diagnoser.diagnose(*as_standardised(case, np.random.default_rng(seed)))
        assert sum(diagnosis.probabilities.values()) == pytest.approx(1, abs=1e-3)
        outcomes.append(
            (diagnosis.novelty or 0, max(diagnosis.probabilities, key=diagnosis.probabilities.__getitem__) == name)
        )

    assert sum(novelty <= 1 for novelty, _ in outcomes) >= 6
    assert sum(is_right for _, is_right in outcomes) >= 7


def test_what_counted_for_a_class_lies_in_and_about_the_lesion(diagnoser: Diagnoser) -> None:
    case = make_case(305, diagnoser.classes[1], lay=lay_standard, shading=0.25)
    standard, prior = as_standardised(case, np.random.default_rng(305))

    diagnosis = diagnoser.diagnose(standard, prior)

    assert diagnosis.saliency is not None
    shares, lesion = to_grid(diagnosis.saliency, standard.grid).voxels, prior.labels > 0
    far = ndimage.distance_transform_edt(~lesion) > 20
    assert ndimage.binary_dilation(lesion, iterations=4)[np.unravel_index(shares.argmax(), shares.shape)]
    assert shares[lesion].mean() > 10 * shares[far & standard.brain].mean()


def test_without_a_class_nothing_is_said_to_have_counted(diagnoser: Diagnoser) -> None:
    assert diagnoser.diagnose(*noise()).saliency is None


def test_a_class_is_read_only_if_it_is_as_probable_as_true_ones_are(diagnoser: Diagnoser) -> None:
    case = make_case(301, diagnoser.classes[1], lay=lay_standard, shading=0.25)
    given = as_standardised(case, np.random.default_rng(301))

    told = replace(diagnoser, conformal=Conformal(0.9, 0.0, 80)).diagnose(*given)
    mute = replace(diagnoser, conformal=Conformal(0.9, 1.0, 80)).diagnose(*given)

    assert told.is_determined
    assert sorted(told.likely) == sorted(diagnoser.classes)
    assert told.coverage == 0.9
    assert not mute.is_determined
    assert mute.likely == ()
    assert "no class is as probable" in mute.reason


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["t1ce_thick_nrrd/brain1_image.nrrd", "remind_022_t1ce_seg/3DAXT1postcontrast_MRI"])
def test_a_real_head_is_never_given_a_class(diagnoser: Diagnoser, real_data: Path, name: str) -> None:
    path = real_data / name
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)) if path.is_dir() else str(path)
    standard = process(to_volume(SimpleITK.ReadImage(files)))
    brightest = ((standard.voxels > 2) & standard.brain).astype(np.uint8)

    diagnosis = diagnoser.diagnose(standard, Prior(brightest.astype(np.float32), brightest, (), 0.9, "localised"))

    assert not diagnosis.is_determined
    assert diagnosis.novelty is not None
    assert diagnosis.novelty > 1
