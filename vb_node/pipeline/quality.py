"""The gate of MRI-Processor: is this a head, whole enough, and was its brain found? And what should a reader know?"""

import numpy as np

from vb_node.errors import NoBrain, OutOfCoverage, Unfit
from vb_node.pipeline.registration import CLEAR_ANATOMY, Registration
from vb_node.types import Grid, Mask, Volume

_LEAST_EXTENT_MM = 70.0
_LEAST_COVERAGE = 0.6
_LEAST_LIKENESS = 0.3
_HUMAN = {
    "stretch_least": (0.6, 1.3),
    "stretch_most": (0.6, 1.3),
    "brain_ml": (450.0, 2600.0),  # a small brain of which 60 % is in the field of view, to a large one and its CSF
    "overlap": (0.75, 1.0),
}
_THICK_MM = 3.0


def check_values(volume: Volume) -> Volume:
    """Give the volume with finite values only. Raises ``Unfit``."""
    finite = np.isfinite(volume.voxels)
    if finite.mean() < 0.99:
        raise Unfit(f"expected an image, got {1 - finite.mean():.0%} of voxels without a number: send the series again")
    voxels = np.where(finite, volume.voxels, 0).astype(np.float32)
    if np.ptp(voxels) < 1e-6:
        raise NoBrain("no brain: every voxel of the series has the same value")
    return Volume(voxels, volume.grid)


def check_extent(grid: Grid) -> None:
    """Raise ``OutOfCoverage`` for a slab that cannot hold most of a brain."""
    extent_mm = min(size * step for size, step in zip(grid.shape, grid.spacing_mm, strict=True))
    if extent_mm < _LEAST_EXTENT_MM:
        raise OutOfCoverage(
            f"the series covers {extent_mm:.0f} mm, at least {_LEAST_EXTENT_MM:.0f} mm of the head are needed"
        )


def check_registration(registration: Registration) -> None:
    """Raise ``NoBrain`` or ``OutOfCoverage`` for what does not match the atlas."""
    if registration.anatomy < CLEAR_ANATOMY or registration.likeness < _LEAST_LIKENESS:
        raise NoBrain(
            "no brain: the volume does not resemble a T1-weighted head "
            f"(likeness {registration.likeness:.2f}, anatomy {registration.anatomy:.2f})"
        )
    if registration.coverage < _LEAST_COVERAGE:
        raise OutOfCoverage(
            f"the field of view holds {registration.coverage:.0%} of the brain, {_LEAST_COVERAGE:.0%} are needed"
        )


def judge(standard_brain: Mask, atlas_brain: Mask, registration: Registration) -> dict[str, float]:
    """Give the figures of the gate, volume in mL. Raises ``NoBrain`` when the brain found is none of a human."""
    found, expected = int(np.count_nonzero(standard_brain)), int(np.count_nonzero(atlas_brain))
    figures = {
        "likeness": registration.likeness,
        "anatomy": registration.anatomy,
        "coverage": registration.coverage,
        "stretch_least": float(registration.stretches[-1]),
        "stretch_most": float(registration.stretches[0]),
        "brain_ml": found / 1000,
        "overlap": 2 * int(np.count_nonzero(standard_brain & atlas_brain)) / max(found + expected, 1),
    }
    for name, (low, high) in _HUMAN.items():
        if not low <= figures[name] <= high:
            raise NoBrain(f"no brain: {name} of what was found is {figures[name]:.2f}, a head has {low} to {high}")
    return {name: float(figure) for name, figure in figures.items()}


def flags(grid: Grid, figures: dict[str, float]) -> tuple[str, ...]:
    """Say what a reader of the results should know."""
    notes = []
    if (thickest := max(grid.spacing_mm)) > _THICK_MM:
        notes.append(f"thick slices ({thickest:.1f} mm)")
    if figures["coverage"] < 0.95:
        notes.append("field of view cuts the brain")
    return tuple(notes)
