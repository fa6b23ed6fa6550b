"""Benchmark C: phantoms as shuffled DICOM series through the application, and what it writes read by others.

``vb-node evaluate pipeline`` without a data set. The SEG is read by highdicom and held against the mask of the
pipeline's space, which SimpleITK carries to the source's grid. Through a node to a PACS, read by dcmqi:
``tests/benchmarks/end_to_end.py``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import highdicom
import numpy as np
import SimpleITK
from pydicom import Dataset

from vb_node.applications.virtual_biopsy import application
from vb_node.applications.virtual_biopsy.localizer import Localizer
from vb_node.applications.virtual_biopsy.process import process
from vb_node.config import Settings
from vb_node.dicom import codes, seg, sr
from vb_node.dicom.sr_tree import find, number, walk
from vb_node.dicom.volume import load_series
from vb_node.evaluation.benchmarks.gates import Found, Gate
from vb_node.evaluation.pipeline import run
from vb_node.training.acquisition import ACQUISITIONS, Acquisition
from vb_node.training.phantom import Progress, class_of, make_case
from vb_node.training.phantom_dicom import write_dicom
from vb_node.training.tumour import CLASSES
from vb_node.types import Grid, Mask

# No weights have learned from these.
FIRST = 1_250_190
LEAST_DICE, SUM_WITHIN = 0.95, 1e-3
Line = dict[str, float | str]


def benchmark_c(
    seeds: Sequence[int], settings: Settings, progress: Progress, acquisitions: Sequence[Acquisition] = ACQUISITIONS
) -> Found:
    """Take a phantom of each acquisition a seed the whole way; every gate is held against the worst of them."""
    lines: dict[str, Line] = {}
    for seed in seeds:
        for acquisition in acquisitions:
            number_of_case = FIRST + len(ACQUISITIONS) * seed + ACQUISITIONS.index(acquisition)
            lines[f"{acquisition}, phantom {number_of_case}"] = _judge(acquisition, number_of_case, settings)
            progress(len(lines), len(acquisitions) * len(seeds))
    localised = [line for line in lines.values() if line["state"] == "localised"]

    def worst(name: str) -> float:
        return min((float(line.get(name, "nan")) for line in localised), default=float("nan"))

    # weights of a site's own may know fewer
    fewest = len(CLASSES) if settings.virtual_biopsy.diagnoser is None else 2
    gates = [
        Gate("localised, share of the phantoms", len(localised) / len(lines), least=0.5),
        Gate("Dice of the SEG with the pipeline's own mask", worst("Dice"), least=LEAST_DICE),
        Gate("class probabilities of a report", worst("classes"), least=fewest),
        Gate("their sum, off 1 by", max((float(line["off 1"]) for line in localised), default=np.nan), most=SUM_WITHIN),
        Gate("reports that name every digest and the confidence", worst("named"), least=1.0),
    ]
    return Found("C: from DICOM to DICOM", seeds, lines, gates)


def _judge(acquisition: Acquisition, seed: int, settings: Settings) -> Line:
    with TemporaryDirectory() as room:
        case = make_case(seed, class_of(seed), acquisition)
        paths = _shuffled(write_dicom(case, Path(room)), seed)
        plan = application.plan(settings)
        objects = run(paths, plan, settings.work.device, f"benchmark C {seed}").objects
        series, volume = load_series(paths)
    report = next(written for role, written in objects if role == sr.ROLE)
    segmentation = next((written for role, written in objects if role == seg.ROLE), None)
    standard = process(volume)
    own = Path(plan["localizer_folder"]) if "localizer_folder" in plan else None
    prior, _ = Localizer().localise(standard, settings.virtual_biopsy, settings.work.device, lambda share: None, own)
    line: Line = {"state": prior.state, "confidence": round(prior.confidence, 3), **_said(report, plan)}
    if segmentation is None:
        return line
    shown = shown_in(segmentation, series.grid)
    expected = carried(prior.labels > 0, standard.grid, series.grid)
    return line | {"Dice": 2 * float((shown & expected).sum()) / float(shown.sum() + expected.sum())}


def _shuffled(paths: Sequence[Path], seed: int) -> tuple[Path, ...]:
    """Give the files names and an order that say nothing of the slices."""
    order = np.random.default_rng(seed).permutation(len(paths))
    return tuple(paths[n].rename(paths[n].with_name(f"{place:04d}.dcm")) for place, n in enumerate(order))


def _said(report: Dataset, plan: Mapping[str, Any]) -> Line:
    """Give what a report says of classes, digests and the confidence of the localisation."""
    probabilities = [number(item) / 100 for item in find(report, codes.PROBABILITY)]
    words = " ".join(str(item.get("TextValue", "")) for item in walk(report))
    digests = [*plan["weights"].values(), *plan["prompts"].values()]
    names_all = all(digest in words for digest in digests) and len(find(report, codes.LOCALISATION_SCORE)) == 1
    return {"classes": len(probabilities), "off 1": abs(sum(probabilities) - 1), "named": float(names_all)}


def shown_in(segmentation: Dataset, grid: Grid) -> Mask:
    """Read a Segmentation as highdicom does, every segment, on the grid of its source."""
    source = highdicom.VolumeGeometry(grid.affine_lps, grid.shape, coordinate_system="PATIENT")
    volume = highdicom.seg.Segmentation.from_dataset(segmentation).get_volume(combine_segments=True)
    return np.asarray(volume.match_geometry(source).array > 0)


def carried(mask: Mask, grid: Grid, source: Grid) -> Mask:
    """Carry a mask to the source's grid by SimpleITK: averaged over the thickness of a slice, cut at one half."""
    parts = max(1, round(float(np.linalg.norm(source.affine_lps[:3, 0]))))
    image, share = placed_image(mask.astype(np.float32), grid), np.zeros(source.shape, np.float32)
    for part in range(parts):
        affine = source.affine_lps.copy()
        affine[:3, 3] += affine[:3, 0] * ((part + 0.5) / parts - 0.5)
        place = placed_image(np.zeros(source.shape, np.uint8), Grid(source.shape, affine, ""))
        moved = SimpleITK.Resample(image, place, SimpleITK.Transform(), SimpleITK.sitkLinear, 0.0)
        share += SimpleITK.GetArrayFromImage(moved) / parts
    return np.asarray(share > 0.5)


def placed_image(voxels: np.ndarray[Any, Any], grid: Grid) -> SimpleITK.Image:
    """Give voxels (k, j, i) of a grid as SimpleITK has them, at the same place, LPS mm."""
    image = SimpleITK.GetImageFromArray(voxels)
    spacing_mm = [float(mm) for mm in grid.spacing_mm[::-1]]
    image.SetDirection((grid.affine_lps[:3, [2, 1, 0]] / spacing_mm).ravel().tolist())
    image.SetSpacing(spacing_mm)
    image.SetOrigin(grid.affine_lps[:3, 3].tolist())
    return image
