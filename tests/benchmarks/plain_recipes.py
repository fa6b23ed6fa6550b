"""What one writes who follows the manuals of SimpleITK and MONAI: the peers of tests/benchmarks/steps.py."""

import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import dicom2nifti
import numpy as np
import SimpleITK
import torch
from monai.data.image_reader import PydicomReader
from monai.inferers.utils import sliding_window_inference
from monai.networks.nets.densenet import DenseNet121
from monai.networks.nets.resnet import resnet18
from monai.networks.nets.unet import UNet
from torch import Tensor, nn

from vb_node.evaluation.benchmarks.dicom_to_dicom import placed_image
from vb_node.pipeline.atlas import atlas
from vb_node.types import Matrix, Volume


class Unable(Exception):
    """A peer cannot take the step with this input."""


def simpleitk_series(files: list[Path]) -> SimpleITK.Image:
    """Read a series as SimpleITK's example does, its files sorted by GDCM."""
    if len(files) == 1:
        return SimpleITK.ReadImage(str(files[0]), SimpleITK.sitkFloat32)
    return SimpleITK.ReadImage(
        SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(files[0].parent)), SimpleITK.sitkFloat32
    )


def dcm2niix(folder: Path) -> None:
    """Convert a folder by dcm2niix, a process, uncompressed."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(["dcm2niix", "-z", "n", "-o", out, str(folder)], check=True, capture_output=True)


def dicom2nifti_series(folder: Path) -> None:
    """Convert a folder by dicom2nifti."""
    with tempfile.TemporaryDirectory() as out:
        try:
            dicom2nifti.dicom_series_to_nifti(str(folder), str(Path(out) / "series.nii"), reorient_nifti=False)
        except TypeError as error:  # of a series without echo time
            raise Unable from error


def monai_series(folder: Path) -> np.ndarray:
    """Read a folder by MONAI's PydicomReader."""
    reader = PydicomReader()
    return np.asarray(reader.get_data(reader.read(folder))[0])


def affine_by_mutual_information(
    volume: Volume, shrink: tuple[int, ...] = (8, 4), smooth_mm: tuple[int, ...] = (4, 2)
) -> Matrix:
    """Fit the affine (4, 4) from atlas to patient, LPS mm: Mattes, 5 % of the voxels, regular steps down the gradient.

    The template has no skull: only its brain is compared.
    """
    template = atlas(1)
    fixed, moving = placed_image(template.template.voxels, template.grid), placed_image(volume.voxels, volume.grid)
    transform = SimpleITK.CenteredTransformInitializer(
        fixed, moving, SimpleITK.AffineTransform(3), SimpleITK.CenteredTransformInitializerFilter.GEOMETRY
    )
    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricFixedMask(placed_image(template.brain.astype(np.uint8), template.grid))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.05, 1)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(list(shrink))
    method.SetSmoothingSigmasPerLevel(list(smooth_mm))
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    method.SetInitialTransform(transform)
    found = SimpleITK.AffineTransform(SimpleITK.CompositeTransform(method.Execute(fixed, moving)).GetBackTransform())
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(found.GetMatrix(), (3, 3))
    matrix[:3, 3] = found.TransformPoint((0.0, 0.0, 0.0))
    return matrix


def n4(image: SimpleITK.Image, shrink: int = 4) -> SimpleITK.Image:
    """Remove shading as SimpleITK's example does: foreground by Otsu, the image shrunk, the field at full size."""
    mask = SimpleITK.OtsuThreshold(image, 0, 1, 200)
    corrector = SimpleITK.N4BiasFieldCorrectionImageFilter()
    corrector.Execute(SimpleITK.Shrink(image, [shrink] * 3), SimpleITK.Shrink(mask, [shrink] * 3))
    return image / SimpleITK.Exp(corrector.GetLogBiasFieldAsImage(image))


def resampled(image: SimpleITK.Image, onto: SimpleITK.Image, interpolator: int) -> SimpleITK.Image:
    """Resample an image onto the place of another."""
    return SimpleITK.Resample(image, onto, SimpleITK.Transform(), interpolator, 0.0, SimpleITK.sitkFloat32)


def brain_by_morphology(image: SimpleITK.Image) -> SimpleITK.Image:
    """Take the largest piece of the foreground after an erosion for the brain."""
    head = SimpleITK.OtsuThreshold(image, 0, 1, 200)
    loose = SimpleITK.BinaryErode(head, [4] * 3)
    pieces = SimpleITK.RelabelComponent(SimpleITK.ConnectedComponent(loose), sortByObjectSize=True)
    return SimpleITK.BinaryFillhole(SimpleITK.BinaryDilate(pieces == 1, [4] * 3))


@cache
def monai_unet(channels: int) -> nn.Module:
    """Build the U-Net of MONAI's segmentation tutorials, random weights."""
    return UNet(3, channels, 2, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="batch").eval()


def slid_over(fields: Tensor) -> Tensor:
    """Ask it about fields (1, channels, k, j, i) by MONAI's sliding window, 128 cells wide, overlap one quarter."""
    with torch.inference_mode():
        answer: Tensor = sliding_window_inference(fields, (128, 128, 128), 1, monai_unet(fields.shape[1]), 0.25)
    return answer


@cache
def monai_classifier(name: str) -> nn.Module:
    """Build one of ``CLASSIFIERS`` for four classes, random weights."""
    return CLASSIFIERS[name]().eval()


CLASSIFIERS: dict[str, Callable[[], nn.Module]] = {
    "ResNet18": lambda: resnet18(n_input_channels=1, num_classes=4),
    "DenseNet121": lambda: DenseNet121(3, 1, 4),
}


def classified(name: str, image: Tensor) -> Tensor:
    """Ask MONAI's network of a name about an image (1, 1, k, j, i)."""
    with torch.inference_mode():
        answer: Tensor = monai_classifier(name)(image)
    return answer
