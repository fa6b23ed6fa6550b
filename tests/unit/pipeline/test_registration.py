"""A head is found wherever it lies, and put where it belongs."""

import numpy as np
import pytest
from head_phantom import axial_grid, make_head, patient_affine
from scipy.spatial.transform import Rotation

from vb_node.pipeline import contrast
from vb_node.pipeline.registration import BRAIN_CENTRE_LPS, CLEAR_ANATOMY, Registration, load_template, register
from vb_node.types import Grid, Matrix, Volume

POINTS_LPS = np.random.default_rng(0).uniform((-55, -65, -35), (55, 95, 65), (400, 3))


def misplacement_mm(found: Matrix, true: Matrix) -> float:
    """How far brain points lie from their place, at most."""
    points = np.column_stack([POINTS_LPS, np.ones(len(POINTS_LPS))]).T
    return float(np.linalg.norm((np.linalg.inv(found) @ points - np.linalg.inv(true) @ points)[:3], axis=0).max())


@pytest.mark.parametrize(
    ("spacing_mm", "turn_degrees", "shift_mm"),
    [((1.5, 1.5, 1.5), (18, -10, 14), (20, -25, 10)), ((6.5, 1.0, 1.0), (-12, 6, -8), (-10, 15, -5))],
)
def test_a_turned_and_shifted_head_is_found_to_two_mm(
    spacing_mm: tuple[float, float, float], turn_degrees: tuple[float, ...], shift_mm: tuple[float, ...]
) -> None:
    true = patient_affine(turn_degrees, shift_mm)
    head = make_head(true, axial_grid(spacing_mm, (240, 240, 220)))

    registration = register(head.volume)

    assert misplacement_mm(registration.atlas_from_patient, true) < 2
    assert registration.anatomy > CLEAR_ANATOMY


def test_a_head_cut_by_the_field_of_view_is_found_with_its_coverage() -> None:
    true = patient_affine((5, 3, -4), (0, -20, 0))
    head = make_head(true, axial_grid((1.5, 1.5, 1.5), (110, 240, 220)))

    registration = register(head.volume)

    assert misplacement_mm(registration.atlas_from_patient, true) < 3
    assert 0.6 < registration.coverage < 0.99


def test_a_brain_without_its_skull_is_found() -> None:
    true = patient_affine((8, -5, 6), (5, -18, 4))
    head = make_head(true, axial_grid((1.5, 1.5, 1.5), (220, 240, 220)))
    stripped = Volume(np.where(head.brain, head.volume.voxels, 0).astype(np.float32), head.volume.grid)

    registration = register(stripped)

    assert misplacement_mm(registration.atlas_from_patient, true) < 3
    assert registration.anatomy > CLEAR_ANATOMY


def test_the_same_volume_gives_the_same_affine() -> None:
    head = make_head(patient_affine((0, 4, 0), (0, -15, 0)), axial_grid((2.5, 2.5, 2.5), (220, 240, 220)))

    first, second = register(head.volume), register(head.volume)

    np.testing.assert_array_equal(first.atlas_from_patient, second.atlas_from_patient)


def test_a_registration_samples_no_more_of_the_template_than_was_loaded_ahead() -> None:
    sampled = (contrast.around_brain, contrast.deep_points, contrast.brain_points)
    for one in sampled:
        one.cache_clear()
    head = make_head(patient_affine((0, 4, 0), (0, -15, 0)), axial_grid((2.5, 2.5, 2.5), (220, 240, 220)))

    load_template()
    ahead = [one.cache_info().misses for one in sampled]
    register(head.volume)

    assert [one.cache_info().misses for one in sampled] == ahead == [3, 1, 1]


def test_the_rigid_part_keeps_distances_and_the_brains_centre() -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (10, 20, 30), degrees=True).as_matrix() @ np.diag([1.1, 1.0, 0.9])
    affine[:3, 3] = 5, 6, 7
    registration = Registration(affine, 1.0, 1.0, 1.0)

    rigid = registration.rigid

    centre = np.linalg.inv(affine) @ [*BRAIN_CENTRE_LPS, 1]
    np.testing.assert_allclose(rigid[:3, :3] @ rigid[:3, :3].T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(rigid @ centre, affine @ centre, atol=1e-9)


def test_noise_in_an_empty_volume_resembles_no_anatomy() -> None:
    noise = np.random.default_rng(3).normal(100, 20, (60, 80, 80)).astype(np.float32)
    grid = Grid(noise.shape, axial_grid((3, 3, 3), (180, 240, 240)).affine_lps, "1.2.3")

    assert register(Volume(noise, grid)).anatomy < CLEAR_ANATOMY
