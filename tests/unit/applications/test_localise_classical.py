import numpy as np
import pytest
from simulated_vlm import SmallHead, small_head

from vb_node.applications.virtual_biopsy.classical import ClassicalDetector, ClassicalSettings
from vb_node.applications.virtual_biopsy.evidence import WEIGHTS, draw_maps, score_of, weigh
from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.normal_structures import normal_uptake
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


def test_no_evidence_alone_is_a_ban() -> None:
    for_a_lesion = {name: ramp.high if ramp.weight > 0 else ramp.low for name, ramp in WEIGHTS.items()}

    for name, ramp in WEIGHTS.items():
        contrary = ramp.low if ramp.weight > 0 else ramp.high
        assert score_of(for_a_lesion | {name: contrary}) > 0.5
