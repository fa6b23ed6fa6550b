"""Training samples for Adaptive-Diagnoser: phantoms acquired straight on the network's grid, as if standardised.

A sample goes through the same ``network_input`` as a patient's volume. What a real standardisation gets wrong is drawn
here: a few degrees and millimetres of registration, a brain mask that is a little too large or small.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from scipy import ndimage
from scipy.linalg import polar
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from vb_node.models.diagnoser import NETWORK_MM, network_input
from vb_node.pipeline.intensity import z_score
from vb_node.training.acquisition import Acquisition, Pose
from vb_node.training.code import code_sha256
from vb_node.training.phantom import PhantomCase, Progress, class_of, make_case
from vb_node.training.randomness import smooth_noise
from vb_node.training.tumour import CLASSES
from vb_node.types import Floats, Grid, Labels, Mask, Prior, StandardVolume

# The grid on which samples are acquired reaches past the network's, so that centring on the brain loses nothing.
SAMPLE_SHAPE = (88, 104, 88)
THICK_MM = 6.0
# The share of the coil's shading that bias field correction leaves.
REMAINING_SHADING = 0.25


@dataclass(frozen=True, eq=False)
class Sample:
    """One network input: image and lesion (1, 80, 96, 80), half precision to save memory, and its class' index.

    ``is_found``: the lesion's mask is Tumor-Localizer's, with its faults, and not a drawn one.
    """

    image: Tensor
    lesion: Tensor
    target: int
    is_found: bool = False


def lay_standard(acquisition: Acquisition, pose: Pose, frame_of_reference_uid: str, rng: Generator) -> Grid:
    """Lay a grid along the template's axes, as a rigid registration would find them, give or take its error."""
    turn, _ = polar(np.linalg.inv(pose.atlas_from_patient)[:3, :3])
    error = Rotation.from_euler("xyz", rng.normal(0, 1.5, 3), degrees=True).as_matrix()
    k_mm = THICK_MM if acquisition == "thick" else NETWORK_MM
    shape = (round(SAMPLE_SHAPE[0] * NETWORK_MM / k_mm), *SAMPLE_SHAPE[1:])
    affine = np.eye(4)
    # Columns k, j, i are the LPS directions z, y, x.
    affine[:3, :3] = (error @ turn)[:, ::-1] * [k_mm, NETWORK_MM, NETWORK_MM]
    middle = (np.linalg.inv(pose.atlas_from_patient) @ [0.0, 16, 6, 1])[:3] + rng.normal(0, 2, 3)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine, frame_of_reference_uid)


def make_sample(seed: int, tumour_class: str) -> Sample:
    """Generate one sample."""
    case = make_case(seed, tumour_class, lay=lay_standard, shading=REMAINING_SHADING)
    image, lesion = network_input(*as_standardised(case, np.random.default_rng([seed, 1])))
    return Sample(image[0].half(), lesion[0].half(), tuple(CLASSES).index(tumour_class))


def as_standardised(case: PhantomCase, rng: Generator) -> tuple[StandardVolume, Prior]:
    """Give a case acquired by ``lay_standard`` as MRI-Processor and a faultless Tumor-Localizer would."""
    voxels, brain, lesion = (_thin(field) for field in (case.volume.voxels, case.brain, case.labels))
    outline = _jitter_brain(brain, rng)
    affine = case.volume.grid.affine_lps.copy()
    affine[:, 0] *= case.volume.grid.shape[0] / SAMPLE_SHAPE[0]
    grid = Grid(SAMPLE_SHAPE, affine, case.volume.grid.frame_of_reference_uid)
    standard = StandardVolume(z_score(voxels, outline), grid, outline, case.atlas_from_patient)
    labels = (lesion > 0.5).astype(np.uint8)
    return standard, Prior(labels.astype(np.float32), labels, (), 1.0, "localised")


def _thin(field: Floats | Mask | Labels) -> Floats:
    """Interpolate thick slices to the sample grid."""
    dense = torch.from_numpy(np.asarray(field, dtype=np.float32))[None, None]
    if dense.shape[2] != SAMPLE_SHAPE[0]:
        dense = functional.interpolate(dense, size=SAMPLE_SHAPE, mode="trilinear", align_corners=False)
    return np.asarray(dense[0, 0].numpy(), dtype=np.float32)


def _jitter_brain(brain: Floats, rng: Generator) -> Mask:
    """Move the brain's outline by up to about 2 mm in or out, here more and there less."""
    soft = ndimage.gaussian_filter(brain, 1.0)
    return np.asarray(soft > rng.uniform(0.3, 0.7) + 0.08 * smooth_noise(SAMPLE_SHAPE, 8, rng), dtype=np.bool_)


def make_samples(folder: Path, cases: int, seed: int, workers: int, progress: Progress) -> list[Sample]:
    """Generate ``cases`` samples, classes in turn, or read those that ``folder`` keeps from this code."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"sample-{seed + index}-{code_sha256()[:12]}.npz" for index in range(cases)]
    # Spawned, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(_keep, paths, range(seed, seed + cases), range(cases)), start=1):
            progress(done, cases)
    return [read_sample(path) for path in paths]


def _keep(path: Path, seed: int, index: int) -> None:
    torch.set_num_threads(1)
    if not path.exists():
        sample = make_sample(seed, class_of(index))
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, image=sample.image.numpy(), lesion=sample.lesion.numpy(), target=sample.target)
        part.replace(path)


def read_sample(path: Path) -> Sample:
    """Read a kept sample."""
    with np.load(path) as kept:
        return Sample(torch.from_numpy(kept["image"]), torch.from_numpy(kept["lesion"]), int(kept["target"]))
