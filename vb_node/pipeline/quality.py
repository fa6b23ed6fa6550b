"""The gate of MRI-Processor: is this a head, whole and clear enough, its brain found? What should a reader know?"""

from collections.abc import Mapping

import numpy as np

from vb_node.errors import Motion, NoBrain, NoContrast, OutOfCoverage, Unfit
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
_MOST_GHOSTS = 0.08  # a head that cannot be recognised has moved, from here on
_LEAST_CONTRAST_TO_NOISE = 1.5
_THICK_MM = 3.0
_NOTED_GHOSTS, _NOTED_CONTRAST_TO_NOISE, _NOTED_SINUS = 0.045, 5.0, 0.9


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


def check_registration(registration: Registration, figures: Mapping[str, float]) -> None:
    """Raise ``NoBrain``, ``Motion`` or ``OutOfCoverage`` for what does not match the atlas."""
    looks_like_a_head = registration.likeness >= _LEAST_LIKENESS
    ghosts = figures.get("ghosts", 0.0)
    if looks_like_a_head and registration.anatomy < CLEAR_ANATOMY and ghosts > _MOST_GHOSTS:
        raise Motion(
            f"the head moved during the scan: its ghosts in the air vary by {ghosts:.1%} of the brain's brightness, "
            f"at most {_MOST_GHOSTS:.1%} are expected, and no anatomy is recognised: scan again"
        )
    if registration.anatomy < CLEAR_ANATOMY or not looks_like_a_head:
        raise NoBrain(
            "no brain: the volume does not resemble a T1-weighted head "
            f"(likeness {registration.likeness:.2f}, anatomy {registration.anatomy:.2f})"
        )
    if registration.coverage < _LEAST_COVERAGE:
        raise OutOfCoverage(
            f"the field of view holds {registration.coverage:.0%} of the brain, {_LEAST_COVERAGE:.0%} are needed"
        )


def check_contrast(figures: Mapping[str, float]) -> None:
    """Raise ``NoContrast`` where noise drowns the tissues. What could not be measured is let pass."""
    contrast_to_noise = figures.get("contrast_to_noise", _LEAST_CONTRAST_TO_NOISE)
    if contrast_to_noise < _LEAST_CONTRAST_TO_NOISE:
        raise NoContrast(
            f"no contrast: white matter is {contrast_to_noise:.2f} standard deviations of the noise brighter than "
            f"fluid, at least {_LEAST_CONTRAST_TO_NOISE:.2f} are needed: scan again"
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


def flags(grid: Grid, figures: Mapping[str, float]) -> tuple[str, ...]:
    """Say what a reader of the results should know."""
    notes = []
    if (thickest := max(grid.spacing_mm)) > _THICK_MM:
        notes.append(f"thick slices ({thickest:.1f} mm)")
    if figures["coverage"] < 0.95:
        notes.append("field of view cuts the brain")
    if figures.get("ghosts", 0) > _NOTED_GHOSTS:
        notes.append("ghosts about the head: it may have moved")
    if figures.get("contrast_to_noise", _NOTED_CONTRAST_TO_NOISE) < _NOTED_CONTRAST_TO_NOISE:
        notes.append("much noise")
    if figures.get("sinus_brightness", _NOTED_SINUS) < _NOTED_SINUS:
        notes.append("no contrast agent seen in the superior sagittal sinus")
    return tuple(notes)
