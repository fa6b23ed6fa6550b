"""Cases become what the network takes, with the class of their set and the mask where it lies."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from vb_node.errors import ConfigError
from vb_node.evaluation.case_by_case import RIGHT_OF_ALL
from vb_node.evaluation.diagnoser import Protocol
from vb_node.evaluation.figures import Answers
from vb_node.evaluation.finished import SHIPPED, classes_of
from vb_node.evaluation.measure_diagnoser import evaluate_diagnoser, from_image
from vb_node.evaluation.prepare import Prepared, Source, left_out, prepare, prepare_phantoms, prior_of, seen
from vb_node.models.weights import Weights
from vb_node.training.cases import read_data_set
from vb_node.training.code import sha256_of
from vb_node.training.dataset import Sample
from vb_node.training.manifest import Entry
from vb_node.types import Grid, StandardVolume

NONE = np.zeros(0, dtype=np.int64)
NAMELESS = NONE.astype(str)
NO_ANSWERS = Answers(np.zeros((0, 1)), np.zeros((0, 1)), np.zeros((0, 1), bool), NONE, NAMELESS, NONE, NAMELESS)


def test_generated_cases_are_patients_of_their_own_and_kept(tmp_path: Path) -> None:
    classes = classes_of({"PCNSL", "Glioma"})

    first, second = prepare_phantoms(2, classes, 3, tmp_path, lambda done, total: None).prepared

    assert (first.case.tumour_class, second.case.tumour_class) == ("Glioma", "PCNSL")
    assert (first.sample.target, second.sample.target) == (0, 1)
    assert first.case.patient != second.case.patient
    assert len(list(tmp_path.iterdir())) == 2


def test_a_drawn_lesion_lies_where_it_was_drawn_on_the_grid_of_the_standardised_head() -> None:
    source = Grid((20, 20, 20), np.diag([2.0, 2, 2, 1])[[2, 1, 0, 3]], "")
    grid = Grid((40, 40, 40), np.eye(4)[[2, 1, 0, 3]], "")
    voxels = np.zeros((40, 40, 40), dtype=np.float32)
    standard = StandardVolume(voxels, grid, voxels == 0, np.eye(4))
    labels = np.zeros((20, 20, 20), dtype=np.uint8)
    labels[4:8, 10:14, 2:6] = 1

    prior = prior_of(labels, source, standard)

    centre = np.argwhere(prior.labels).mean(axis=0)
    assert prior.state == "localised"
    assert np.allclose(centre, [11, 23, 7], atol=0.6)


def test_a_case_in_which_nothing_was_localised_is_left_out_and_counted() -> None:
    lesion = torch.zeros(1, 8, 8, 8)
    lesion[:, 2:4, 2:4, 2:4] = 1
    entry = Entry("case 1", "a", "Glioma", Path(), None)
    found, missed = (Prepared(entry, Sample(torch.zeros(1, 8, 8, 8), one, 0)) for one in (lesion, lesion * 0))

    assert seen([found, missed]) == [found]
    assert left_out([found, missed]) == ", 1 more were left out, since nothing was localised in them"
    assert not left_out([found])


def test_a_case_that_cannot_be_analysed_stops_a_training_by_its_name_and_is_counted_by_an_evaluation(
    tmp_path: Path,
) -> None:
    voxels = np.random.default_rng(1).integers(1, 900, (10, 8, 6)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1, 2, 1])), tmp_path / "crumb.nii.gz")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("image,class,patient,lesion,name\ncrumb.nii.gz,Glioma,a,,crumb\n")

    cases = prepare(read_data_set(manifest), ("Glioma",), tmp_path / "kept", lambda done, total: None)

    assert not cases.prepared
    assert [entry.name for entry in cases.entries] == ["crumb"]
    with pytest.raises(ConfigError, match="(?s)leave them out:.*crumb: "):
        cases.to_learn_from()
    figures, counts = from_image(cases, NO_ANSWERS, 1)
    assert (figures[RIGHT_OF_ALL].value, counts[RIGHT_OF_ALL]) == (0.0, 1)


def test_what_was_prepared_by_other_code_is_not_taken_for_this_code_s(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "types.py").write_text("")
    before = sha256_of(tmp_path)
    (tmp_path / "models" / "new.py").write_text("THRESHOLD = 0.5")
    added = sha256_of(tmp_path)
    (tmp_path / "models" / "new.py").write_text("THRESHOLD = 0.6")
    changed = sha256_of(tmp_path)
    (tmp_path / "notes.py").write_text("decides nothing")

    assert len({before, added, changed}) == 3
    assert sha256_of(tmp_path) == changed


def test_options_that_do_not_go_together_are_refused_in_words(tmp_path: Path) -> None:
    start = Weights({}, {}, "ab" * 32)

    with pytest.raises(ConfigError, match="--masks localizer is of a data set"):
        Source(None, 20, "localizer")
    with pytest.raises(ConfigError, match="name it with --data"):
        Source(None).read()
    with pytest.raises(ConfigError, match="give one"):
        evaluate_diagnoser(Source(None, 20), tmp_path, Protocol(5, 1, 1, start), SHIPPED, lambda done, total: None)
