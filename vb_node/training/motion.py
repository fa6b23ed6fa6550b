"""A head that moves while it is scanned: ghosts, and edges drawn twice.

The lines of k-space along one phase-encoding axis are taken in some poses, one after the other. The pose at the centre
of k-space is the head's own: labels stay true (Zaitsev et al., JMRI 2015, doi:10.1002/jmri.24850).
"""

import numpy as np
from numpy.random import Generator
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from vb_node.types import Floats, Matrix

POSES = 5


def moved(signal: Floats, in_plane_mm: tuple[float, float], motion_mm: float, rng: Generator) -> Floats:
    """Take a volume [k, j, i] of a head that moves in the plane of its slices.

    Shifts have a standard deviation of ``motion_mm`` along rows and columns, turns one of as many degrees;
    ``in_plane_mm`` is the distance of rows and of columns.
    """
    phase = int(rng.integers(1, 3))
    lines = signal.shape[phase]
    # linear order: from one end of k-space through its centre to the other
    time = fft.ifftshift(np.arange(lines)) / lines
    changes = np.sort(rng.uniform(0, 1, POSES - 1))
    pose_at, own = np.searchsorted(changes, time), int(np.searchsorted(changes, time[0]))
    spectrum = fft.fft(signal, axis=phase)
    for pose in range(POSES):
        shift_mm, degrees = rng.normal(0, motion_mm, 2), float(rng.normal(0, motion_mm))
        if pose != own:
            other = fft.fft(_posed(signal, in_plane_mm, shift_mm / in_plane_mm, degrees), axis=phase)
            taken = np.flatnonzero(pose_at == pose)
            np.moveaxis(spectrum, phase, 0)[taken] = np.moveaxis(other, phase, 0)[taken]
    return np.asarray(np.abs(fft.ifft(spectrum, axis=phase)), dtype=np.float32)


def _posed(signal: Floats, in_plane_mm: tuple[float, float], shift_voxels: Matrix, degrees: float) -> Floats:
    """Turn a volume about the middle of its slices, and shift it."""
    turn = np.eye(3)
    # in mm, so that rows and columns of different distances do not shear
    turn[1:, 1:] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()[:2, :2]
    turn[1:, 1:] *= np.divide.outer(1 / np.array(in_plane_mm), 1 / np.array(in_plane_mm))
    middle = (np.array(signal.shape) - 1) / 2
    offset = middle - turn @ middle - [0, *shift_voxels]
    return np.asarray(ndimage.affine_transform(signal, turn, offset, order=1, output=np.float32))
