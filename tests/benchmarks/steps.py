"""Each step of a case beside what its peers make of the same input, in one run: real series and a large phantom.

Run ``python tests/benchmarks/steps.py [--runs 3]`` on a quiet machine; docs/benchmarks.md keeps its tables.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import plain_recipes as plain
import SimpleITK
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from places import REAL_DATA
from result_objects import dcmqi_command, write_ours
from results import analysis_of, two_lesions
from scipy import ndimage

from vb_node import show
from vb_node.applications.virtual_biopsy.localise import localise
from vb_node.applications.virtual_biopsy.network import NetworkDetector, network_input
from vb_node.applications.virtual_biopsy.process import about_brain, brain_of, process, shading_of, standard_grid
from vb_node.dicom.series import MIN_SLICES
from vb_node.dicom.volume import arrange_files, load_series, read_volume
from vb_node.evaluation.benchmarks.dicom_to_dicom import placed_image
from vb_node.models import diagnoser
from vb_node.models.lesion_network import NETWORK_MM
from vb_node.models.weights import open_weights
from vb_node.pipeline.atlas import atlas, place
from vb_node.pipeline.bias_field import remove_shading
from vb_node.pipeline.crop import bounding_box, crop_grid, paste
from vb_node.pipeline.registration import Registration, load_template, register
from vb_node.pipeline.resample import bin_voxels, field_of_view, to_grid
from vb_node.training.acquisition import Pose
from vb_node.training.phantom import make_case
from vb_node.training.phantom_dicom import write_dicom
from vb_node.types import Grid, Matrix, Series, StandardVolume, Volume

REAL = ("remind_022_t1ce_seg/3DAXT1postcontrast_MRI", "philips_mprage_3t/In/cl")
PHANTOM = 1_250_300
LARGE, LARGE_MM = (192, 512, 512), (1.0, 0.5, 0.5)
SURE = 0.8
FAILS = "fails"
COLUMNS = ("step", "by", "median s", "of ours", "outcome")


class Truth(NamedTuple):
    """What is known of a phantom: the affine of its pose, and its brain on its own grid."""

    atlas_from_patient: Matrix
    brain: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Case:
    """A series on disk, as every contender is given it."""

    name: str
    files: list[Path]
    series: Series
    volume: Volume
    truth: Truth | None


class Contender(NamedTuple):
    """One way to take a step, ours first; ``figure`` says how good its outcome is."""

    name: str
    take: Callable[[], Any]
    figure: Callable[[Any], str] = lambda _: ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    words = parser.parse_args()
    load_template()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for case in (_phantom(folder / "phantom"), *map(_real, REAL)):
            compare(case, words.runs, folder)


def _real(name: str) -> Case:
    """Take a series of the real cases."""
    return _case(name, arrange_files((REAL_DATA / name).glob("*.dcm")), None)


def _phantom(folder: Path) -> Case:
    case = make_case(PHANTOM, "Glioma", "axial", _lay_large)
    folder.mkdir()
    return _case("phantom", arrange_files(write_dicom(case, folder)), Truth(case.atlas_from_patient, case.brain))


def _lay_large(_acquisition: str, pose: Pose, frame_of_reference_uid: str, _rng: Generator) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, ::-1] * LARGE_MM
    middle = (np.linalg.inv(pose.atlas_from_patient) @ [0.0, 12, 8, 1])[:3]
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(LARGE) - 1) / 2)
    return Grid(LARGE, affine, frame_of_reference_uid)


def _case(name: str, series: Series, truth: Truth | None) -> Case:
    shape = " x ".join(map(str, series.grid.shape))
    files = sorted(set(series.paths))
    return Case(f"{name}, {shape}", files, series, read_volume(series), truth)


def compare(case: Case, runs: int, folder: Path) -> None:
    """Print what each contender of each step took, and how good its outcome is."""
    lines = []
    for step, contenders in _steps(case, folder):
        figures = {one.name: _outcome(one) for one in contenders}  # and what is loaded once is loaded
        seconds: dict[str, list[float]] = {one.name: [] for one in contenders if figures[one.name] != FAILS}
        for _ in range(runs):
            for one in contenders:
                if one.name in seconds:
                    begun = time.perf_counter()
                    one.take()
                    seconds[one.name].append(time.perf_counter() - begun)
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        ours = medians[contenders[0].name]
        for name, figure in figures.items():
            times = [f"{medians[name]:.3f}", f"{medians[name] / ours:.2f}"] if name in medians else ["", ""]
            lines.append([step, name, *times, figure])
    show.table(case.name, COLUMNS, lines)


def _outcome(one: Contender) -> str:
    """Take a step once and say how good the outcome is; a peer may not be able to."""
    try:
        return one.figure(one.take())
    except plain.Unable:
        return FAILS


def _steps(case: Case, folder: Path) -> Iterator[tuple[str, list[Contender]]]:
    volume = case.volume
    lean = bin_voxels(volume, 1)
    registration = register(lean)
    yield "read", _reading(case)
    yield "registration", _registering(case)
    whole = standard_grid(registration, volume.grid)
    grid = crop_grid(whole, about_brain(registration, whole))
    source, onto = placed_image(volume.voxels, volume.grid), placed_image(np.zeros(grid.shape, np.uint8), grid)
    yield (
        "to 1 mm",
        [
            Contender("vb-node, B-spline", lambda: to_grid(bin_voxels(volume, 1), grid, "bspline")),
            Contender("SimpleITK B-spline", lambda: plain.resampled(source, onto, SimpleITK.sitkBSpline)),
            Contender("vb-node, linear", lambda: to_grid(bin_voxels(volume, 1), grid)),
            Contender("SimpleITK linear", lambda: plain.resampled(source, onto, SimpleITK.sitkLinear)),
        ],
    )
    raw = to_grid(lean, grid, "bspline")
    yield "shading", _unshading(lean, raw, registration)
    yield "brain", _extracting(case, remove_shading(raw, shading_of(lean, registration)), registration)
    standard = process(volume)
    yield "localizer forward", _localizing(standard)
    yield "diagnoser forward", _diagnosing(standard)
    yield "SEG + SR", _writing(case, folder)


def _reading(case: Case) -> list[Contender]:
    folder = case.files[0].parent
    return [
        Contender("vb-node, headers whole, geometry checked", lambda: load_series(case.files, MIN_SLICES)),
        Contender("vb-node, the volume alone", lambda: read_volume(case.series)),
        Contender("the bytes alone", lambda: [path.read_bytes() for path in case.files]),
        Contender("SimpleITK", lambda: plain.simpleitk_series(case.files)),
        Contender("dcm2niix (a process)", lambda: plain.dcm2niix(folder)),
        Contender("MONAI PydicomReader", lambda: plain.monai_series(folder)),
        Contender("dicom2nifti", lambda: plain.dicom2nifti_series(folder)),
    ]


def _registering(case: Case) -> list[Contender]:
    volume = case.volume
    inside = atlas(2).grid.to_lps(np.argwhere(atlas(2).brain)[::50])

    def apart(patient_from_atlas: Matrix) -> str:
        """Say how far the atlas brain ends from where it belongs; nothing where that is not known."""
        likeness = f"likeness {_likeness(volume, patient_from_atlas):.2f}"
        if case.truth is None:
            return likeness
        there = np.column_stack([inside, np.ones(len(inside))]).T
        miss = (patient_from_atlas - np.linalg.inv(case.truth.atlas_from_patient)) @ there
        return f"{likeness}, off by {np.linalg.norm(miss[:3], axis=0).mean():.1f} mm"

    return [
        Contender("vb-node", lambda: np.linalg.inv(register(bin_voxels(volume, 1)).atlas_from_patient), apart),
        Contender("SimpleITK Mattes MI, 8-4", lambda: plain.affine_by_mutual_information(volume), apart),
        Contender(
            "SimpleITK Mattes MI, 4-2-1",
            lambda: plain.affine_by_mutual_information(volume, (4, 2, 1), (2, 1, 0)),
            apart,
        ),
    ]


def _likeness(volume: Volume, patient_from_atlas: Matrix) -> float:
    """Correlate the template with the patient in the atlas brain."""
    reference = atlas(2)
    there = Grid(reference.grid.shape, patient_from_atlas @ reference.grid.affine_lps, "")
    inside = reference.brain & field_of_view(volume.grid, there)
    if inside.sum() < reference.brain.sum() / 10:
        return 0.0
    return float(np.corrcoef(to_grid(volume, there).voxels[inside], reference.template.voxels[inside])[0, 1])


def _unshading(volume: Volume, raw: Volume, registration: Registration) -> list[Contender]:
    image = placed_image(raw.voxels, raw.grid)
    placed = place(registration.atlas_from_patient, raw.grid)
    white = (placed.white > SURE) & field_of_view(volume.grid, raw.grid)

    def evenness(voxels: NDArray[Any]) -> str:
        """Say how broad white matter is: its smooth part, so that noise and lesions weigh little."""
        share = ndimage.gaussian_filter(white.astype(np.float32), 8.0)
        smooth = ndimage.gaussian_filter(np.where(white, voxels, 0), 8.0) / np.maximum(share, 1e-3)
        return f"white matter varies by {smooth[white].std() / smooth[white].mean():.1%}"

    def ours() -> NDArray[Any]:
        return remove_shading(raw, shading_of(volume, registration)).voxels

    return [
        Contender("vb-node, N4 at 4 mm in the atlas brain", ours, evenness),
        Contender(
            "SimpleITK N4, shrink 4", lambda: plain.n4(image), lambda it: evenness(SimpleITK.GetArrayFromImage(it))
        ),
        Contender("as it came", lambda: raw.voxels, evenness),
    ]


def _extracting(case: Case, even: Volume, registration: Registration) -> list[Contender]:
    image = placed_image(even.voxels, even.grid)

    whole = standard_grid(registration, case.volume.grid)
    where = about_brain(registration, whole)

    def ours() -> NDArray[Any]:
        placed = place(registration.atlas_from_patient, even.grid).in_whole(where, whole.shape)
        seen = paste(field_of_view(case.volume.grid, even.grid), where, whole.shape)
        return brain_of(paste(even.voxels, where, whole.shape), placed, seen)[where]

    def dice(brain: NDArray[Any]) -> str:
        volume = f"{brain.sum() * even.grid.voxel_mm3 / 1000:.0f} mL"
        if case.truth is None:
            return volume
        true = to_grid(Volume(case.truth.brain.astype(np.float32), case.volume.grid), even.grid).voxels > 0.5
        return f"{volume}, Dice {2 * (brain & true).sum() / (brain.sum() + true.sum()):.3f}"

    return [
        Contender("vb-node", ours, dice),
        Contender(
            "SimpleITK Otsu, opening, largest piece",
            lambda: plain.brain_by_morphology(image),
            lambda it: dice(SimpleITK.GetArrayFromImage(it) > 0),
        ),
    ]


def _localizing(standard: StandardVolume) -> list[Contender]:
    detector = NetworkDetector.load()
    k, j, i = (slice(s.start, s.stop - (s.stop - s.start) % 2) for s in bounding_box(standard.brain, margin=2))
    where = k, j, i
    coarse, fine = (torch.from_numpy(network_input(standard, where, step))[None] for step in (int(NETWORK_MM), 1))
    return [
        Contender("vb-node, fields drawn, the head as one, 2 mm", lambda: detector.probability(standard, where, 2)),
        Contender("MONAI UNet, sliding window, 2 mm", lambda: plain.slid_over(coarse)),
        Contender("MONAI UNet, sliding window, 1 mm", lambda: plain.slid_over(fine)),
    ]


def _diagnosing(standard: StandardVolume) -> list[Contender]:
    network = diagnoser.DiagnoserNetwork.of(open_weights(diagnoser.WEIGHTS)).eval()
    image, lesion = diagnoser.network_input(standard, localise(standard, NetworkDetector.load()))

    def ours() -> None:
        with torch.inference_mode():
            network.answer(image, lesion)

    return [
        Contender("vb-node, head and mirror image", ours),
        *(Contender(f"MONAI {name}", lambda name=name: plain.classified(name, image)) for name in plain.CLASSIFIERS),
    ]


def _writing(case: Case, folder: Path) -> list[Contender]:
    labels = two_lesions(case.series.grid.shape)
    analysis = analysis_of(case.series, labels)
    dcmqi = dcmqi_command(case.series, labels, folder)
    return [
        Contender("vb-node, SEG and SR", lambda: write_ours(case.series, labels, analysis, folder)),
        Contender("dcmqi, SEG alone (a process)", lambda: subprocess.run(dcmqi, check=True, capture_output=True)),
    ]


if __name__ == "__main__":
    main()
