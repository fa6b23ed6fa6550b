import numpy as np

from vb_node.pipeline.prior import Box, PriorSettings, coarse_prior, inscribed_ellipses, smooth_boxes, stack_boxes

SHAPE = (30, 40, 50)


def test_a_voxel_takes_the_best_score_of_its_boxes() -> None:
    stacked = stack_boxes(SHAPE, [Box(5, 10, 20, 10, 20, 0.4), Box(5, 15, 25, 10, 20, 0.9)])

    assert stacked[5, 12, 15] == np.float32(0.4)
    assert stacked[5, 17, 15] == stacked[5, 24, 15] == np.float32(0.9)
    assert stacked[5, 25, 15] == stacked[4, 17, 15] == 0


def test_boxes_beyond_the_volume_are_cut_off() -> None:
    stacked = stack_boxes(SHAPE, [Box(-1, 0, 9, 0, 9), Box(30, 0, 9, 0, 9), Box(0, -5, 3, 45, 60)])

    assert (stacked > 0).sum() == 3 * 5


def test_the_prior_bridges_a_missed_slice_and_ends_near_the_boxes() -> None:
    boxes = [Box(k, 10, 24, 10, 24) for k in (8, 9, 10, 12, 13, 14)]

    prior = coarse_prior(stack_boxes(SHAPE, boxes), PriorSettings())

    assert prior[11, 12:22, 12:22].min() > 0.6
    assert 0 < prior[prior > 0].min() >= PriorSettings().threshold
    assert prior.max() <= 1
    assert not prior[:4].any()
    assert not prior[:, :, 30:].any()


def test_a_lone_box_weighs_less_than_one_that_its_neighbours_confirm() -> None:
    run = [Box(k, 5, 15, 5, 15) for k in range(6, 16)]
    lone = [Box(10, 25, 35, 30, 40)]

    smooth = smooth_boxes(stack_boxes(SHAPE, run + lone), PriorSettings())

    assert smooth[10, 10, 10] > 0.95
    assert smooth[10, 30, 35] < 0.35


def test_nothing_stays_nothing() -> None:
    assert not coarse_prior(stack_boxes(SHAPE, []), PriorSettings()).any()


def test_an_ellipse_touches_the_sides_of_its_box_and_leaves_the_corners() -> None:
    marked = inscribed_ellipses(SHAPE, [Box(3, 10, 20, 10, 30)])[3]

    assert marked[15, 10:30].all()
    assert not marked[10, 10]
    assert abs(marked.sum() - np.pi / 4 * 200) < 12
