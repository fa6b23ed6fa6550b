"""Two passes over a head: boxes come back where the picture shows something, and what the zoom denies counts half."""

from collections.abc import Sequence

import numpy as np
import pytest
from sighted import Sighted

from vb_node.applications.virtual_biopsy.detectors import UnreadableAnswers
from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.vlm import views
from vb_node.applications.virtual_biopsy.vlm.corner import check_corners
from vb_node.applications.virtual_biopsy.vlm.detector import VlmDetector, fitting, settle
from vb_node.applications.virtual_biopsy.vlm.formats import FORMATS
from vb_node.applications.virtual_biopsy.vlm.levels import level_of
from vb_node.applications.virtual_biopsy.vlm.views import View
from vb_node.config import VlmSettings
from vb_node.errors import ConfigError
from vb_node.evaluation.benchmarks.small_head import SmallHead, small_head
from vb_node.models.vision_language import Question, VisionLanguageModel
from vb_node.pipeline.prior import Box, stack_boxes

QWEN3 = FORMATS["xyxy_1000"]
SETTINGS = VlmSettings(url="http://localhost/v1", served_model="sighted", image_px=256)
WEAK = Sighted(recall=0.7, jitter=0.25, false=0.12)


def _detector(model: VisionLanguageModel, **settings: object) -> VlmDetector:
    return VlmDetector(model, QWEN3, SETTINGS.model_copy(update=settings))


@pytest.fixture(scope="module")
def head() -> SmallHead:
    return small_head(2)


def test_boxes_stand_where_the_pictures_show_the_lesion(head: SmallHead) -> None:
    boxes = _detector(Sighted()).detect(head.standard)

    stacked = stack_boxes(head.lesion.shape, boxes) > 0
    # a box holds a round section and its corners: pi / 4 of it is lesion
    assert (stacked & head.lesion).sum() > 0.9 * head.lesion.sum()
    assert (stacked & head.lesion).sum() > 0.7 * stacked.sum()


def test_a_weak_model_drives_the_whole_localizer() -> None:
    heads = [small_head(seed) for seed in range(4)]

    priors = [localise(head.standard, _detector(WEAK)) for head in heads]

    found = [(prior.labels > 0, head.lesion) for prior, head in zip(priors, heads, strict=True)]
    assert {prior.state for prior in priors} == {"localised"}
    assert np.mean([(mask & lesion).sum() / lesion.sum() for mask, lesion in found]) > 0.8
    assert max(mask.sum() / lesion.sum() for mask, lesion in found) < 2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_model_that_always_sees_the_middle_is_unreliable(seed: int) -> None:
    prior = localise(small_head(seed).standard, _detector(Sighted(blind=True)))

    assert prior.state == "unreliable"
    assert not prior.labels.any()


def test_too_many_unreadable_answers_make_the_localisation_unreliable(head: SmallHead) -> None:
    mumbling = _detector(Sighted(mumble=0.5))

    prior = localise(head.standard, mumbling)

    assert prior.state == "unreliable"
    assert "could not be read" in prior.notes[0]
    with pytest.raises(UnreadableAnswers):
        _detector(Sighted(mumble=0.5)).detect(head.standard)


def test_few_unreadable_answers_are_counted_and_kept(head: SmallHead) -> None:
    detector = _detector(Sighted(mumble=0.05))

    prior = localise(head.standard, detector)

    assert prior.state == "localised"
    assert detector.transcript.unreadable == sum("see" in said["answer"] for said in detector.transcript.said) > 0


def test_the_batch_does_not_change_the_boxes(head: SmallHead) -> None:
    one, seven = (_detector(Sighted(recall=0.7, jitter=0.25, batch=batch)).detect(head.standard) for batch in (1, 7))

    assert one == seven


def test_the_second_pass_shows_the_neighbours_of_what_was_seen_and_only_there(head: SmallHead) -> None:
    first, both = _detector(Sighted(), zoom=False), _detector(Sighted())

    seen = first.detect(head.standard)
    both.detect(head.standard)

    slices = {said["slice"] for said in both.transcript.said if said["prompt"] == "detail-1"}
    assert {box.k for box in seen} < slices
    assert both.transcript.pictures - first.transcript.pictures < 3 * len(seen)


def test_progress_goes_forward_through_both_passes(head: SmallHead) -> None:
    shares: list[float] = []

    VlmDetector(Sighted(), QWEN3, SETTINGS, shares.append).detect(head.standard)

    assert shares[0] == 0
    assert shares == sorted(set(shares))
    assert shares[-1] < 1


def test_progress_may_stop_the_run(head: SmallHead) -> None:
    class Stopped(Exception):
        pass

    def stop(share: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        VlmDetector(Sighted(), QWEN3, SETTINGS, stop).detect(head.standard)


def test_what_the_closer_look_denies_counts_half_and_what_it_saw_anew_replaces_the_first() -> None:
    group = [Box(10, 0, 10, 0, 10, 0.8), Box(12, 0, 10, 0, 10, 0.8), Box(20, 0, 10, 0, 10, 0.8)]
    closer = [Box(10, 1, 9, 1, 9, 0.9), Box(11, 1, 9, 1, 9, 0.9)]

    settled = settle(group, closer)

    assert settled == [*closer, group[1], Box(20, 0, 10, 0, 10, 0.4)]


def test_a_group_too_large_for_the_second_pass_leaves_its_room_to_the_others() -> None:
    assert fitting([4, 9, 5, 2, 1], 10) == [True, False, True, False, True]


def test_pictures_are_radiological_square_and_of_one_size(head: SmallHead) -> None:
    whole = views.whole_slices(head.standard, 2)
    pictures = [views.draw(head.standard, view, 256, views.grey_scale(head.standard)) for view in whole]

    assert {picture.shape for picture in pictures} == {(256, 256, 3)}
    assert len({view.side for view in whole}) == 1
    assert pictures[len(pictures) // 2].max() == 255


def test_a_voxel_is_drawn_where_its_box_says(head: SmallHead) -> None:
    view = View(36, 20.0, 10.0, 32.0)
    voxels = np.zeros_like(head.standard.voxels)
    voxels[36, 30:33, 20:24] = 1
    standard = type(head.standard)(voxels, head.standard.grid, head.standard.brain, head.standard.atlas_from_patient)

    picture = views.draw(standard, view, 256, (0.0, 1.0))

    bright = np.argwhere(picture[..., 0] > 127)
    np.testing.assert_allclose(bright.min(axis=0), [80, 80], atol=1)
    np.testing.assert_allclose(bright.max(axis=0) + 1, [104, 112], atol=1)


def test_levels_rise_with_the_slices(head: SmallHead) -> None:
    levels = [level_of(head.standard, k) for k in (12, 36, 60)]

    assert "cerebellum" in levels[0]
    assert "thalamus" in levels[1]
    assert "vertex" in levels[2]


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_model_that_writes_as_agreed_passes_the_corner_test(form: str) -> None:
    check_corners(Sighted(form=form), FORMATS[form])


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize("agreed", sorted(FORMATS))
def test_another_format_than_was_agreed_fails_the_corner_test_and_is_named(form: str, agreed: str) -> None:
    if form != agreed:
        with pytest.raises(ConfigError, match=f"set box_format = '{form}'"):
            check_corners(Sighted(form=form), FORMATS[agreed])


def test_a_model_that_sees_the_middle_only_fails_the_corner_test() -> None:
    with pytest.raises(ConfigError, match="no box format fits"):
        check_corners(Sighted(blind=True), QWEN3)


def test_a_prompt_says_the_slice_the_level_and_the_format(head: SmallHead) -> None:
    class Listening(Sighted):
        def ask(self, questions: Sequence[Question]) -> list[str]:
            asked.extend(question.user for question in questions)
            return super().ask(questions)

    asked: list[str] = []
    _detector(Listening()).detect(head.standard)

    assert "of 72" in asked[0]
    assert "256 x 256 pixels" in asked[0]
    assert '"bbox_2d": [x1, y1, x2, y2]' in asked[0]
    assert any("64 mm wide" in text for text in asked)
    assert "$" not in "".join(asked)
