"""The brain is separated from skull and scalp, lesions and all."""

import numpy as np
import pytest
from head_phantom import axial_grid, make_head, patient_affine

from vb_node.applications.virtual_biopsy.process import process
from vb_node.pipeline.atlas import place
from vb_node.pipeline.brain import extract_brain
from vb_node.pipeline.intensity import z_score
from vb_node.pipeline.resample import mask_to_grid


@pytest.mark.parametrize("lesion", [None, 1.6, 0.25], ids=["healthy", "bright lesion", "dark lesion"])
def test_the_brain_of_a_phantom_is_found(lesion: float | None) -> None:
    head = make_head(
        patient_affine((10, -6, 8), (12, -20, 6)), axial_grid((1.5, 1.5, 1.5), (230, 240, 220)), lesion=lesion
    )

    standard = process(head.volume)

    true = mask_to_grid(head.brain, head.volume.grid, standard.grid)
    assert 2 * np.count_nonzero(true & standard.brain) / (true.sum() + standard.brain.sum()) > 0.94
    assert np.count_nonzero(standard.brain & ~true) < 0.02 * true.sum()
    assert not standard.voxels[~standard.brain].any()


def test_more_than_half_of_a_cyst_at_the_surface_of_the_pons_is_brain() -> None:
    grid = axial_grid((1, 1, 1), (230, 240, 220))
    head = make_head(patient_affine((0, 0, 0), (0, -18, 0), 1), grid)
    atlas_lps = grid.to_lps(np.argwhere(head.brain)) + (0, 18, 0)
    cyst = np.zeros_like(head.brain)
    cyst[head.brain] = np.linalg.norm(atlas_lps - (4, 19, -36), axis=1) < 12
    placed = place(head.atlas_from_patient, grid)
    grey, white = placed.grey > 0.8, placed.white > 0.8

    brain = extract_brain(np.where(cyst, 150, head.volume.voxels), placed.depth_mm, grey, white, placed.brainstem)

    assert np.count_nonzero(brain & cyst) > 0.6 * np.count_nonzero(cyst)
    assert np.count_nonzero(brain & ~head.brain) < 0.02 * np.count_nonzero(head.brain)


def test_a_lesion_hardly_moves_the_scores_of_the_rest() -> None:
    rng = np.random.default_rng(0)
    brain = np.ones((40, 40, 40), dtype=bool)
    healthy = rng.normal(100, 10, brain.shape).astype(np.float32)
    diseased = healthy.copy()
    diseased[:14, :14, :14] = 300

    shift = z_score(diseased, brain)[20:] - z_score(healthy, brain)[20:]

    assert np.abs(shift).mean() < 0.1
