"""The brain is separated from skull and scalp, lesions and all."""

import numpy as np
import pytest
from head_phantom import axial_grid, make_head, patient_affine

from vb_node.applications.virtual_biopsy.process import process
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


def test_a_lesion_hardly_moves_the_scores_of_the_rest() -> None:
    rng = np.random.default_rng(0)
    brain = np.ones((40, 40, 40), dtype=bool)
    healthy = rng.normal(100, 10, brain.shape).astype(np.float32)
    diseased = healthy.copy()
    diseased[:14, :14, :14] = 300

    shift = z_score(diseased, brain)[20:] - z_score(healthy, brain)[20:]

    assert np.abs(shift).mean() < 0.1
