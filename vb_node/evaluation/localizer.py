"""``vb-node evaluate localizer``: how well lesions are found, and how often one is found where there is none."""

from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from vb_node.applications.virtual_biopsy.choice import choose, identify
from vb_node.applications.virtual_biopsy.localizer import Localizer
from vb_node.applications.virtual_biopsy.process import process
from vb_node.config import Settings, VirtualBiopsySettings
from vb_node.errors import ConfigError, Unfit
from vb_node.evaluation.case_by_case import Row, tell, walk
from vb_node.evaluation.figures import Figure
from vb_node.evaluation.finished import refuse_known
from vb_node.evaluation.report import Report
from vb_node.models.pins import MODEL, MODELS, site_folder
from vb_node.models.weights import open_weights
from vb_node.pipeline.resample import mask_to_grid
from vb_node.training.cases import DataCase, read_case, read_data_set
from vb_node.training.phantom import Progress
from vb_node.types import Mask, Prior, StandardVolume

HIT_MM = 5.0
ANALYSED, LOCALISED, FALSE = "analysed", "localised", "localised where there is no tumour"
FIRST, THIRD, ANY = "hit by the first region", "hit by the first three", "hit by any region"
DISTANCE, DICE, COVERAGE = "median distance of the first region, mm", "Dice", "coverage"
FIGURES = (ANALYSED, LOCALISED, FIRST, THIRD, ANY, DISTANCE, DICE, COVERAGE, FALSE)
NOTES = (
    f"A region hits where its centre is at most {HIT_MM:g} mm from the lesion. The distance is from the first region's "
    "centre to the lesion's. Dice and coverage are those of what was accepted; where nothing was, they are 0.",
)


def evaluate_localizer(data: Path, out: Path, node: Settings, seed: int, progress: Progress) -> dict[str, Figure]:
    """Localise in every case that has a mask or no tumour; write the report, give the figures."""
    found = read_data_set(data)
    cases = [case for case in found.cases if case.lesion is not None or case.tumour_class is None]
    if not cases:
        raise ConfigError(f"data set {data}: no case has a mask, and each has a tumour: nothing to compare with")
    settings, device = node.virtual_biopsy, node.work.device
    named = settings.localizer_weights
    weights = None if named is None else site_folder(node.data, named)
    if weights is not None:
        refuse_known(found, open_weights(MODEL, weights / MODELS))
    told, chosen = identify(settings, weights), choose(settings)
    how = f"{ {name: value for name, value in told.items() if name != 'localizer_folder'} } {device}"
    rows = walk(cases, how, partial(look, Localizer(), settings, device, weights), out / "kept", progress)
    about = {
        "data": data.name,
        "data sha256": found.sha256,
        "localizer": chosen,
        "weights": ", ".join(f"{name} sha256:{one}" for name, one in told["weights"].items()) or "none",
        "command": f"vb-node evaluate localizer --data {data.name} --localizer {chosen} --seed {seed}",
        "seed": str(seed),
    }
    left_out = len(found.cases) - len(cases)
    notes = (*NOTES, f"{left_out} cases with a tumour and without a mask were left out.") if left_out else NOTES
    return tell(out, Report("Tumor-Localizer, evaluated", about, notes, ()), cases, rows, FIGURES, seed)


def look(
    localizer: Localizer, settings: VirtualBiopsySettings, device: str, weights: Path | None, case: DataCase
) -> Row:
    """Localise in one case and compare with its mask."""
    volume, labels = read_case(case)
    try:
        standard = process(volume)
    except Unfit as error:
        return {"state": f"not analysed: {error.reason}", ANALYSED: 0.0}
    prior, _ = localizer.localise(standard, settings, device, lambda share: None, weights)
    row: Row = {"state": prior.state, "confidence": round(prior.confidence, 4), ANALYSED: 1.0}
    is_localised = float(prior.state == "localised")
    if labels is None:
        return row | {FALSE: is_localised}
    truth = mask_to_grid(labels > 0, volume.grid, standard.grid)
    return row | {LOCALISED: is_localised} | compare(prior, truth, standard)


def compare(prior: Prior, truth: Mask, standard: StandardVolume) -> Row:
    """Compare what was found with a lesion that is there; ``truth`` lies on the grid of ``standard``."""
    if not truth.any():
        return {"first hit": None}
    ranks = [rank for rank, far in enumerate(distances_mm(prior, truth, standard), start=1) if far <= HIT_MM]
    first = min(ranks, default=None)
    accepted = (prior.labels > 0) & (prior.state == "localised")
    common, size = int((accepted & truth).sum()), int(truth.sum())
    centre = standard.grid.to_lps(np.argwhere(truth)).mean(axis=0)
    away = [float(np.linalg.norm(np.array(region.centre_lps) - centre)) for region in prior.regions[:1]]
    return {
        "first hit": first,
        FIRST: float(first == 1),
        THIRD: float(first is not None and first <= 3),
        ANY: float(first is not None),
        DISTANCE: round(away[0], 1) if away else None,
        DICE: round(2 * common / (int(accepted.sum()) + size), 4),
        COVERAGE: round(common / size, 4),
        "lesion mL": round(size * standard.grid.voxel_mm3 / 1000, 2),
    }


def distances_mm(prior: Prior, truth: Mask, standard: StandardVolume) -> list[float]:
    """Give how far each region's centre is from the nearest voxel of the lesion, mm."""
    far = ndimage.distance_transform_edt(~truth, sampling=standard.grid.spacing_mm)
    centres = np.array([region.centre_lps for region in prior.regions]).reshape(-1, 3)
    index = np.clip(np.rint(standard.grid.to_index(centres)).astype(int), 0, np.array(truth.shape) - 1)
    return [float(one) for one in far[tuple(index.T)]]
