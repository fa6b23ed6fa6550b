"""The network of the `network` slice detector: where in a standardised head a lesion may be.

Backbone: residual U-Net of MONAI (Kerfoot et al., STACOM 2018), whose first step already halves the resolution.
Input: (b, 5, k, j, i) at 2 mm, sides multiples of ``STRIDE``: z-scores, their mirror image, and where the voxel lies in
MNI152 (distance from the midline, posterior, superior; dm). Output: logits (b, 1, k, j, i).
Weights: ``localizer.safetensors``.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from vb_node.models.nets import UNet
from vb_node.models.pins import LOCALIZER
from vb_node.types import Floats, Matrix

WEIGHTS = LOCALIZER
NETWORK_MM = 2.0
PATCH = (40, 40, 40)  # of the training; a whole head is looked at as one
STRIDE = 8
CHANNELS = 5
# z-scores beyond this are vessels and artefacts
LIMIT = 5.0


SHAPE = {
    "spatial_dims": 3,
    "in_channels": CHANNELS,
    "out_channels": 1,
    "channels": (16, 32, 64, 96),
    "strides": (2, 2, 2),
    "num_res_units": 2,
    # of the training, not of the patch: a patch at the brain's edge has a statistic of its own
    "norm": "batch",
}


def build() -> UNet:
    """Build the network, 0.9 million parameters."""
    return UNet(**SHAPE)  # type: ignore[arg-type]


def averaged(field: Floats, step: int) -> Floats:
    """Average a field (k, j, i) over cells of ``step`` voxels along each axis; what fills no cell is left out."""
    return np.asarray(functional.avg_pool3d(torch.from_numpy(np.ascontiguousarray(field))[None], step)[0].numpy())


def cells(affine: Matrix, first: Sequence[int], step: int) -> Matrix:
    """Give the affine of the cells of a box that begins at voxel ``first``: a cell's middle lies between its voxels."""
    index = np.diag([step, step, step, 1.0])
    index[:3, 3] = [start + (step - 1) / 2 for start in first]
    return np.asarray(affine @ index)


def stack_fields(voxels: Floats, mirror: Floats, atlas_lps_mm: Floats) -> Floats:
    """Stack the network's input (5, k, j, i): z-scores, mirror image, and MNI152 LPS mm (3, k, j, i) of each voxel."""
    x, y, z = atlas_lps_mm / 100
    scores = [np.clip(field, -LIMIT, LIMIT) for field in (voxels, mirror)]
    return np.stack([*scores, np.abs(x), y, z]).astype(np.float32)


def atlas_positions(shape: tuple[int, int, int], atlas_from_index: Matrix) -> Floats:
    """Give MNI152 LPS mm (3, k, j, i) of every voxel of a grid."""
    index = np.indices(shape, dtype=np.float32)
    turn = atlas_from_index[:3, :3].astype(np.float32)
    return np.tensordot(turn, index, axes=1) + atlas_from_index[:3, 3, None, None, None].astype(np.float32)
