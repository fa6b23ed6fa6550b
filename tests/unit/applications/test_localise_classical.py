import numpy as np
import pytest

from vb_node.applications.virtual_biopsy.classical import ClassicalDetector, ClassicalSettings
from vb_node.applications.virtual_biopsy.evidence import DARK, ENHANCING, Kind, draw_maps, score_of, weigh
from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.normal_structures import normal_fluid, normal_uptake
from vb_node.evaluation.benchmarks.small_head import SmallHead, small_head
from vb_node.pipeline.prior import Box, stack_boxes

SEEDS = (0, 1, 2, 4)


@pytest.fixture(scope="module", params=SEEDS)
def head(request: pytest.FixtureRequest) -> SmallHead:
    return small_head(request.param)


def test_the_best_boxes_cover_the_lesion(head: SmallHead) -> None:
    boxes = ClassicalDetector().detect(head.standard)
    best = max(box.score for box in boxes)
    covered = stack_boxes(head.lesion.shape, [box for box in boxes if box.score >= 0.9 * best]) > 0

    assert (covered & head.lesion).sum() >= 0.7 * head.lesion.sum()


def test_localisation_holds_what_is_asked_of_a_segmentation(head: SmallHead) -> None:
    found = localise(head.standard).labels > 0

    assert (found & head.lesion).sum() >= 0.5 * head.lesion.sum()
    assert found.sum() < 3 * head.lesion.sum()


def test_no_slice_has_more_boxes_than_allowed(head: SmallHead) -> None:
    boxes = ClassicalDetector(ClassicalSettings(boxes_a_slice=2)).detect(head.standard)
    per_slice = np.bincount([box.k for box in boxes])

    assert per_slice.max() <= 2
    assert all(_is_inside(box, head.lesion.shape) for box in boxes)


def _is_inside(box: Box, shape: tuple[int, ...]) -> bool:
    return 0 <= box.k < shape[0] and 0 <= box.j0 < box.j1 <= shape[1] and 0 <= box.i0 < box.i1 <= shape[2]


def test_a_lesion_weighs_more_than_its_mirror_image(head: SmallHead) -> None:
    maps = draw_maps(head.standard)
    lesion = head.lesion[maps.where]
    whole = (slice(0, lesion.shape[0]), slice(0, lesion.shape[1]), slice(0, lesion.shape[2]))

    assert score_of(weigh(whole, lesion, maps)) > 0.5 > score_of(weigh(whole, lesion[:, :, ::-1], maps))


def test_sinuses_and_glands_are_normal_uptake_and_the_thalamus_is_not() -> None:
    sinus, pineal, pituitary, thalamus = (0.0, 98.0, 5.0), (0.0, 31.0, 1.0), (0.0, -1.0, -30.0), (14.0, 14.0, 2.0)

    assert np.all(normal_uptake(np.array([sinus, pineal, pituitary])) > 0.95)
    assert normal_uptake(np.array([thalamus]))[0] < 0.5


def test_ventricles_and_cisterns_are_normal_fluid_and_deep_grey_and_white_matter_are_not() -> None:
    frontal_horn, fourth_ventricle, quadrigeminal = (8.0, -18.0, 10.0), (0.0, 46.0, -32.0), (0.0, 40.0, -4.0)
    thalamus, pons, white = (14.0, 18.0, 6.0), (0.0, 26.0, -32.0), (28.0, 18.0, 28.0)

    assert np.all(normal_fluid(np.array([frontal_horn, fourth_ventricle, quadrigeminal])) > 0.4)
    assert np.all(normal_fluid(np.array([thalamus, pons, white])) < 0.1)


@pytest.mark.parametrize("kind", [ENHANCING, DARK])
def test_no_evidence_alone_is_a_ban(kind: Kind) -> None:
    for_a_lesion = {name: ramp.high if ramp.weight > 0 else ramp.low for name, ramp in kind.weights.items()}

    for name, ramp in kind.weights.items():
        contrary = ramp.low if ramp.weight > 0 else ramp.high
        assert score_of(for_a_lesion | {name: contrary}, kind) > 0.5


def test_a_mass_as_dark_as_fluid_is_borne_out_where_the_atlas_has_tissue_alone() -> None:
    cyst = {name: ramp.high if ramp.weight > 0 else ramp.low for name, ramp in DARK.weights.items()}
    on_the_midline = cyst | {"asymmetry": 0.0}

    assert score_of(on_the_midline, DARK) > 0.9
    assert score_of(on_the_midline | {"normal": 0.3}, DARK) < 0.25
