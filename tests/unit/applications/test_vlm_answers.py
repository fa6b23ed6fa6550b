"""What a model answers becomes boxes in the picture, or is called unreadable; no answer does harm."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vb_node.applications.virtual_biopsy.vlm.answers import SAME_IOU, SMALLEST_PX, Sight, read
from vb_node.applications.virtual_biopsy.vlm.formats import FORMATS, BoxFormat
from vb_node.applications.virtual_biopsy.vlm.views import View, to_box
from vb_node.evaluation.benchmarks.small_head import small_head

QWEN3 = FORMATS["xyxy_1000"]
HEAD = small_head(0).standard
BOX = '{"bbox_2d": [100, 200, 300, 400], "label": "tumour", "confidence": 0.9}'
SEEN = Sight(0.1, 0.2, 0.3, 0.4, 0.9)

numbers = st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3))
objects = st.dictionaries(st.sampled_from(["bbox_2d", "box_2d", "bbox", "confidence", "score", "label"]), numbers)
boxed = st.builds(lambda corners, more: more | {"bbox_2d": corners}, st.lists(numbers, min_size=3, max_size=5), objects)
answers = st.one_of(
    st.text(),
    st.text(alphabet='{}[]",:0123456789.-eEnul`bx_2d '),
    st.lists(boxed | objects).map(json.dumps),
    st.builds(lambda flag, boxes: json.dumps({"abnormal": flag, "boxes": boxes}), numbers, st.lists(boxed)),
    st.builds(lambda boxes, end: json.dumps(boxes)[:end], st.lists(boxed), st.integers(0, 300)),
)
forms = st.sampled_from(list(FORMATS.values()))


@given(answers, forms)
@example("[" * 100_000, QWEN3)
@example("{" * 100_000, QWEN3)
@example('{"bbox_2d": [' + "9" * 5000 + ", 0, 1, 1]}", QWEN3)
@example('{"bbox_2d": [1e999, -1e999, NaN, Infinity]}', QWEN3)
@example('{"boxes": {"bbox_2d": 3}}', QWEN3)
def test_no_answer_raises_or_gives_a_sight_outside_the_picture(text: str, form: BoxFormat) -> None:
    answer = read(text, form, 768, 512)

    for sight in answer.sights:
        assert 0 <= sight.x0 < sight.x1 <= 1
        assert 0 <= sight.y0 < sight.y1 <= 1
        assert 0 <= sight.score <= 1
        assert min((sight.x1 - sight.x0) * 768, (sight.y1 - sight.y0) * 512) >= SMALLEST_PX
    assert answer.is_readable or not answer.sights


@given(
    answers,
    forms,
    st.integers(-5, 80),
    st.floats(-200, 200),
    st.floats(-200, 200),
    st.floats(1, 400),
)
def test_no_answer_gives_a_box_outside_its_slice(
    text: str, form: BoxFormat, k: int, top: float, left: float, side: float
) -> None:
    view = View(k, top, left, side)

    boxes = [to_box(sight, view, HEAD) for sight in read(text, form, 768, 768).sights]

    for box in boxes:
        if box is not None:
            assert 0 <= box.k < HEAD.grid.shape[0]
            assert 0 <= box.j0 < box.j1 <= HEAD.grid.shape[1]
            assert 0 <= box.i0 < box.i1 <= HEAD.grid.shape[2]


@pytest.mark.parametrize(
    "text",
    [
        f"[{BOX}]",
        BOX,
        f"```json\n[{BOX}]\n```",
        f'{{"abnormal": true, "boxes": [{BOX}]}}',
        f"I think there is one:\n```json\n[{BOX}]\n``` Please have it checked.",
        f"<think>Is [1, 2] a vessel?</think>[{BOX}]",
        f'[{BOX}, {{"bbox_2d": [10, 2',
        f'{{"abnormal": true, "boxes": [{BOX}, {{"bb',
        BOX.replace("[100, 200, 300, 400]", "[300, 400, 100, 200]"),
        f"As in image [1]: {BOX}",
    ],
)
def test_a_box_is_found_however_it_is_wrapped(text: str) -> None:
    answer = read(text, QWEN3, 768, 768)

    assert answer.sights == (SEEN,)
    assert answer.is_readable


@pytest.mark.parametrize("text", ["[]", '{"abnormal": false, "boxes": []}', "```json\n[]\n```", '{"boxes": []}'])
def test_nothing_is_an_answer(text: str) -> None:
    answer = read(text, QWEN3, 768, 768)

    assert answer.sights == ()
    assert answer.is_readable


@pytest.mark.parametrize("text", ["", "No abnormality.", '{"abnormal": true}', "[1, 2]", '[{"bbox_2d": [1, 2]}]', "{}"])
def test_what_is_no_answer_is_called_unreadable(text: str) -> None:
    assert not read(text, QWEN3, 768, 768).is_readable


def test_what_is_called_normal_is_no_sight() -> None:
    assert read(f'{{"abnormal": false, "boxes": [{BOX}]}}', QWEN3, 768, 768).sights == ()


@pytest.mark.parametrize(
    ("form", "key", "corners"),
    [
        ("xyxy_1000", "bbox_2d", [100, 200, 300, 400]),
        ("xyxy_pixels", "bbox_2d", [80, 100, 240, 200]),
        ("yxyx_1000", "box_2d", [200, 100, 400, 300]),
    ],
)
def test_each_family_is_read_as_it_writes(form: str, key: str, corners: list[int]) -> None:
    text = json.dumps([{key: corners, "confidence": 0.9}])

    assert read(text, FORMATS[form], 800, 500).sights == (SEEN,)


def test_values_beyond_the_scale_are_pixels_and_flagged() -> None:
    answer = read('[{"bbox_2d": [120, 240, 1100, 480]}]', QWEN3, 1200, 1200)

    assert answer.is_off_scale
    assert answer.sights[0].x0 == pytest.approx(0.1)
    assert answer.sights[0].x1 == pytest.approx(1100 / 1200)


def test_a_box_too_small_to_see_is_dropped() -> None:
    assert read('[{"bbox_2d": [100, 100, 103, 400]}]', QWEN3, 768, 768).sights == ()


def test_of_boxes_that_are_nearly_the_same_the_best_stays() -> None:
    other = '{"bbox_2d": [102, 202, 300, 400], "confidence": 0.95}'

    answer = read(f"[{BOX}, {other}]", QWEN3, 768, 768)

    assert [sight.score for sight in answer.sights] == [0.95]
    assert SAME_IOU < 1


def test_a_box_over_most_of_the_brain_says_nothing() -> None:
    whole = View(36, 0, 0, 72)

    assert to_box(Sight(0.05, 0.05, 0.95, 0.95, 0.9), whole, HEAD) is None
    assert to_box(Sight(0.25, 0.25, 0.5, 0.5, 0.9), whole, HEAD) is not None
