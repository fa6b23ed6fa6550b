import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from vb_node.applications.virtual_biopsy.detectors import is_one_answer
from vb_node.applications.virtual_biopsy.evidence import DARK, ENHANCING, Kind, Maps
from vb_node.applications.virtual_biopsy.features import NAMES, voxel_features
from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.validate import UnionSettings, as_shown, group_boxes, pool, trim, unite
from vb_node.evaluation.benchmarks.small_head import CentralBoxes, SimulatedVlm, SmallHead, small_head
from vb_node.pipeline.prior import Box
from vb_node.pipeline.symmetry import mirrored
from vb_node.types import Grid, Mask, Prior, StandardVolume


class NoBoxes:
    claim_score = 0.5
    knows_dark = True

    def detect(self, standard: StandardVolume) -> list[Box]:
        return []


class Certain:
    """Box a mask, slice by slice, as a detector would that is sure of it."""

    claim_score = 0.5
    knows_dark = True

    def __init__(self, mask: Mask, score: float = 1.0) -> None:
        self.mask, self.score = mask, score

    def detect(self, standard: StandardVolume) -> list[Box]:
        spans = (
            (int(k), *ndimage.find_objects(self.mask[k].astype(int))[0])
            for k in np.flatnonzero(self.mask.any(axis=(1, 2)))
        )
        return [Box(k, rows.start, rows.stop, columns.start, columns.stop, self.score) for k, rows, columns in spans]


@pytest.fixture(scope="module")
def head() -> SmallHead:
    return small_head(0)


@pytest.fixture(scope="module")
def prior(head: SmallHead) -> Prior:
    return localise(head.standard, SimulatedVlm(head.lesion, seed=0))


def test_boxes_about_a_lesion_become_its_mask(head: SmallHead, prior: Prior) -> None:
    found = prior.labels == 1

    assert prior.state == "localised"
    assert (found & head.lesion).sum() >= 0.8 * head.lesion.sum()
    assert found.sum() < 2 * head.lesion.sum()


def test_the_soft_map_is_at_least_one_half_exactly_in_the_accepted_lesions(prior: Prior) -> None:
    assert prior.probability.min() >= 0
    assert prior.probability.max() <= 1
    np.testing.assert_array_equal(prior.probability >= 0.5, prior.labels > 0)


def test_every_candidate_is_ranked_and_the_lesion_is_first(head: SmallHead, prior: Prior) -> None:
    scores = [region.score for region in prior.regions]
    centre = np.argwhere(head.lesion).mean(axis=0, keepdims=True)
    miss_mm = np.linalg.norm(prior.regions[0].centre_lps - head.standard.grid.to_lps(centre))

    assert scores == sorted(scores, reverse=True)
    assert prior.regions[0].label == 1
    assert prior.confidence == scores[0]
    assert miss_mm < 4


def test_the_same_case_gives_the_same_prior(head: SmallHead, prior: Prior) -> None:
    again = localise(head.standard, SimulatedVlm(head.lesion, seed=0))

    np.testing.assert_array_equal(again.probability, prior.probability)
    assert again.regions == prior.regions


def test_no_boxes_are_not_localised(head: SmallHead) -> None:
    nothing = localise(head.standard, NoBoxes())

    assert nothing.state == "not localised"
    assert nothing.confidence == 0
    assert not nothing.labels.any()


@pytest.mark.parametrize("are_varied", [False, True])
@pytest.mark.parametrize("has_lesion", [False, True])
def test_boxes_that_cluster_at_the_centre_are_unreliable(has_lesion: bool, are_varied: bool) -> None:
    head = small_head(3, has_lesion=has_lesion)

    prior = localise(head.standard, CentralBoxes(head.lesion, are_varied=are_varied))

    assert prior.state == "unreliable"
    assert prior.confidence < 0.5
    assert not prior.labels.any()


def test_one_box_on_slice_after_slice_is_an_answer_that_did_not_look() -> None:
    once = [Box(k, 30, 48, 30, 48, 0.9) for k in range(20, 52, 2)]

    assert is_one_answer(once)
    assert not is_one_answer(once[:7])
    assert not is_one_answer([*once, Box(30, 10, 28, 10, 28, 0.9)])
    assert not is_one_answer([Box(box.k, box.j0 + box.k, box.j1 + box.k, box.i0, box.i1, 0.9) for box in once])


@pytest.mark.parametrize("taller", [1.0, 2.0, 3.0])
def test_a_lesion_that_stands_upright_is_no_such_answer(taller: float) -> None:
    k, j, i = np.ogrid[:120, :80, :80]
    upright = ((k - 60) / taller) ** 2 + (j - 40) ** 2 + (i - 40) ** 2 < 18**2

    assert not is_one_answer(Certain(upright).detect(small_head(3).standard))


def darkened(*centre: float) -> tuple[StandardVolume, Mask]:
    """Give a head without lesion, as dark as fluid in a ball of 5 mm."""
    standard = small_head(3, has_lesion=False).standard
    ball = _distances(*centre, side=72) < 5
    standard.voxels[ball] = np.percentile(standard.voxels[standard.brain], 1)
    return standard, ball


def test_a_cyst_that_the_detector_claims_is_localised() -> None:
    standard, cyst = darkened(38, 30, 51)

    prior = localise(standard, Certain(cyst))

    assert prior.state == "localised"
    assert (prior.labels > 0)[cyst].mean() >= 0.8
    assert (prior.labels > 0).sum() < 2 * cyst.sum()


def test_a_dark_spot_that_the_detector_only_suspects_is_not_localised() -> None:
    standard, spot = darkened(38, 30, 51)

    prior = localise(standard, Certain(spot, score=0.45))

    assert prior.state == "not localised"
    assert not prior.labels.any()


def test_a_cistern_that_the_detector_claims_is_not() -> None:
    # the quadrigeminal one: (0, 40, -4) of the atlas
    standard, cistern = darkened(30, 44, 35.5)

    prior = localise(standard, Certain(cistern))

    assert prior.state == "unreliable"
    assert not prior.labels.any()


def test_boxes_outside_the_brain_do_no_harm(head: SmallHead) -> None:
    class Corner(NoBoxes):
        def detect(self, standard: StandardVolume) -> list[Box]:
            return [Box(k, -4, 5, -4, 5) for k in range(-2, 6)]

    prior = localise(head.standard, Corner())

    assert prior.state == "unreliable"
    assert not prior.labels.any()


def test_a_head_without_lesion_is_not_localised_by_the_classical_detector() -> None:
    prior = localise(small_head(5, has_lesion=False).standard)

    assert prior.state == "not localised"
    assert prior.confidence < 0.5


def test_features_are_nine_and_never_the_place(head: SmallHead) -> None:
    where = np.zeros(head.lesion.shape, dtype=bool)
    where[30:32, 40, 30:40] = True

    features = voxel_features(head.standard, where)

    assert features.shape == (20, 9) == (where.sum(), len(NAMES))
    np.testing.assert_array_equal(features[:, 0], head.standard.voxels[where])


def test_the_mirror_image_is_that_of_the_atlas(head: SmallHead) -> None:
    flipped = mirrored(head.standard, head.standard.voxels)

    np.testing.assert_allclose(flipped, head.standard.voxels[:, :, ::-1], atol=1e-4)


def test_boxes_of_two_lesions_make_two_groups_across_a_missed_slice() -> None:
    left = [Box(k, 10, 20, 10, 20) for k in (3, 4, 6, 7)]
    right = [Box(k, 12, 22, 40, 52) for k in (3, 4, 5)]

    groups = group_boxes(left + right, gap_mm=3)

    assert sorted(map(len, groups)) == [3, 4]


def test_the_union_drops_what_the_prior_does_not_support_and_fills_what_is_enclosed() -> None:
    probability, prior = (np.zeros((40, 40, 40), dtype=np.float32) for _ in range(2))
    probability[10:20, 10:20, 10:20] = 0.9
    probability[14:16, 14:16, 14:16] = 0
    probability[30:36, 30:36, 30:36] = 0.9
    prior[8:16, 8:22, 8:22] = 0.5

    mask = unite(probability, prior, UnionSettings())

    assert mask[15, 15, 15]
    assert not mask[30:, 30:, 30:].any()


def _distances(*centre: float, side: int = 48) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(np.indices((side, side, side)).T - centre, axis=-1).T)


def _maps(excess: NDArray[np.float32], kind: Kind = ENHANCING) -> Maps:
    everywhere = np.ones(excess.shape, np.bool_)
    nothing = np.zeros_like(excess)
    grid = Grid((48, 48, 48), np.eye(4), "2.25.1")
    whole = (slice(0, 48), slice(0, 48), slice(0, 48))
    return Maps(kind, excess, nothing, nothing, everywhere, nothing, whole, grid, np.eye(4))


def test_a_part_is_cut_about_one_mm_beyond_where_its_uptake_ends() -> None:
    distance = _distances(24, 24, 24)
    lesion = distance < 6

    trimmed = trim(distance < 10, [_maps(lesion.astype(np.float32))], UnionSettings())

    assert trimmed[lesion].all()
    assert distance[trimmed].max() < 8


def test_the_dark_core_of_a_ring_stays_in() -> None:
    distance = _distances(24, 24, 24)
    ring = (distance < 9) & (distance > 5)

    trimmed = trim(distance < 11, [_maps(ring.astype(np.float32))], UnionSettings())

    assert trimmed[distance < 9].all()


def test_neighbours_are_cut_each_by_its_own_uptake() -> None:
    small, large = _distances(24, 24, 10), _distances(24, 24, 32)
    enhancement = np.where(small < 3, 0.4, np.where(large < 8, 1.0, 0.0)).astype(np.float32)

    trimmed = trim((small < 5) | (large < 10), [_maps(enhancement)], UnionSettings())

    assert trimmed[small < 3].all()
    assert trimmed[large < 8].all()


def test_a_part_without_uptake_is_left_as_it_is() -> None:
    part = _distances(24, 24, 24) < 6

    trimmed = trim(part, [_maps(np.zeros(part.shape, np.float32))], UnionSettings())

    np.testing.assert_array_equal(trimmed, part)


def test_a_dark_part_is_cut_where_its_darkness_ends() -> None:
    distance = _distances(24, 24, 24)
    darkness = (distance < 8).astype(np.float32)

    trimmed = trim(distance < 12, [_maps(-darkness), _maps(darkness, DARK)], UnionSettings())

    assert trimmed[distance < 8].all()
    assert distance[trimmed].max() < 10


def test_what_uptake_bears_out_is_never_taken_as_dark() -> None:
    assert as_shown([0.6, 0.9], UnionSettings()) == 0
    assert as_shown([0.1, 0.4], UnionSettings()) == 1
    assert as_shown([0.4, 0.1], UnionSettings()) == 0


@pytest.mark.parametrize(
    ("claimed", "shown", "is_accepted"),
    [
        (0.99, 0.25, True),  # a sure claim of which the image shows a little
        (0.99, 0.04, False),  # a sure claim that the image does not bear out
        (1.0, 0.01, False),  # however sure
        (0.5, 0.6, True),  # a model that says no number: the image decides
        (0.5, 0.4, False),
        (0.1, 0.8, False),  # what was hardly claimed, the image alone does not make a lesion
    ],
)
def test_either_the_claim_or_the_image_can_deny_a_region(claimed: float, shown: float, is_accepted: bool) -> None:
    settings = UnionSettings()

    assert (pool(claimed, shown, settings) >= settings.accept_score) == is_accepted


def test_no_score_is_beyond_what_can_be_told() -> None:
    assert all(0 <= pool(a, b, UnionSettings()) <= 1 for a in (0.0, 1.0) for b in (0.0, 1.0))
