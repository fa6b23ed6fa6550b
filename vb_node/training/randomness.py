"""Smooth random fields: the one source of irregularity in the phantom."""

import numpy as np
import torch
from numpy.random import Generator
from torch.nn import functional

from vb_node.types import Floats


def smooth_noise(shape: tuple[int, int, int], scale_voxels: float, rng: Generator) -> Floats:
    """Draw a field of about unit variance whose features are ``scale_voxels`` wide."""
    nodes = [max(4, round(n / scale_voxels) + 1) for n in shape]
    coarse = torch.from_numpy(rng.standard_normal((1, 1, *nodes), dtype=np.float32))
    fine = functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0, 0]
    # Interpolation between nodes loses variance: 2/3 per axis in the mean.
    return np.asarray(fine.numpy() * 1.84, dtype=np.float32)
