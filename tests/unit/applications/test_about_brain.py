"""MRI-Processor works in a box about the brain: nothing that counts lies outside it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vb_node.applications.virtual_biopsy.process import about_brain, process, standard_grid
from vb_node.errors import OutOfCoverage
from vb_node.pipeline.atlas import place
from vb_node.pipeline.brain import SHELL_MM
from vb_node.pipeline.registration import Registration
from vb_node.types import Grid, Volume


@pytest.mark.parametrize("size", [(0.85, 0.85, 0.85), (1.0, 1.0, 1.0), (0.95, 1.1, 1.15)])
def test_the_box_holds_the_shell_in_which_the_brain_is_looked_for(size: tuple[float, float, float]) -> None:
    patient_from_atlas = np.eye(4)
    patient_from_atlas[:3, :3] = Rotation.from_euler("xyz", (11, -7, 5), degrees=True).as_matrix() @ np.diag(size)
    patient_from_atlas[:3, 3] = (13.0, -20.0, 8.0)
    registration = Registration(np.linalg.inv(patient_from_atlas), 1.0, 1.0, 1.0)
    grid = standard_grid(registration, Grid((2, 2, 2), np.eye(4), "1.2.3"))

    where = about_brain(registration, grid)

    near = place(registration.atlas_from_patient, grid).depth_mm > -SHELL_MM - 2
    assert near.any()
    assert np.count_nonzero(near[where]) == np.count_nonzero(near)


def test_voxels_too_fine_for_a_head_are_refused_before_they_are_averaged() -> None:
    voxels = np.random.default_rng(0).random((16, 64, 64), dtype=np.float32)
    grid = Grid(voxels.shape, np.diag([0.05, 0.05, 0.05, 1.0]), "1.2.3")

    with pytest.raises(OutOfCoverage):
        process(Volume(voxels, grid))
