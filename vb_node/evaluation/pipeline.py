"""``vb-node evaluate pipeline``: from DICOM to class, through the application itself and with its settings."""

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from vb_node.applications.virtual_biopsy import application
from vb_node.applications.virtual_biopsy.choice import without_places
from vb_node.config import Settings
from vb_node.errors import ConfigError, Unfit
from vb_node.evaluation.case_by_case import RIGHT_OF_ALL, RIGHT_OF_BAND, Row, right_of, tell, walk
from vb_node.evaluation.figures import Figure
from vb_node.evaluation.report import Report
from vb_node.pipeline.application import Case, Outcome
from vb_node.training.cases import DataCase, case_files, lesion_ml, read_data_set
from vb_node.training.phantom import Progress

ANALYSED, LOCALISED, DETERMINED = "analysed", "localised", "class determined"
RIGHT = "right, of those determined"
PROBABLE = "most probable class right, of those localised"
FALSE = "class determined where there is no tumour"
SECONDS = "median seconds a case"
FIGURES = (ANALYSED, LOCALISED, DETERMINED, RIGHT, RIGHT_OF_ALL, RIGHT_OF_BAND, PROBABLE, FALSE, SECONDS)
NOTES = (
    "Each case went from its DICOM files to its report objects as a job's would; the objects were checked and not "
    "kept. What is not determined counts as not right. How large a tumour is, its drawn mask says.",
)


def evaluate_pipeline(data: Path, out: Path, settings: Settings, seed: int, progress: Progress) -> dict[str, Figure]:
    """Run the application over every DICOM case; write the report, give the figures."""
    found = read_data_set(data)
    cases = [case for case in found.cases if case.image.is_dir()]
    if not cases:
        raise ConfigError(f"data set {data}: cases of DICOM files expected, none came")
    plan = application.plan(settings)
    device = settings.work.device
    how = json.dumps(without_places(plan), sort_keys=True)
    rows = walk(cases, f"{how} {device}", partial(look, plan, device), out / "kept", progress)
    about = {
        "data": data.name,
        "data sha256": found.sha256,
        "settings": how,
        "weights": ", ".join(f"{name} sha256:{digest}" for name, digest in plan["weights"].items()),
        "command": f"vb-node evaluate pipeline --data {data.name} --seed {seed}",
        "seed": str(seed),
    }
    return tell(out, Report("Virtual Biopsy, from DICOM to class", about, NOTES, ()), cases, rows, FIGURES, seed)


def look(plan: dict[str, Any], device: str, data: DataCase) -> Row:
    """Run the application over one case and compare its class."""
    size_ml = lesion_ml(data)
    try:
        summary = run(tuple(case_files(data)), plan, device, f"evaluation {data.sha256}").summary
    except Unfit as error:
        missed = right_of(0.0, size_ml) if data.tumour_class else {}
        return missed | {"state": f"not analysed: {error.reason}", ANALYSED: 0.0}
    return judge(data, summary, size_ml)


def run(paths: tuple[Path, ...], plan: dict[str, Any], device: str, key: str) -> Outcome:
    """Run the application over the files of a series that was chosen by whoever made them a case."""
    case = Case(
        paths=paths,
        plan=plan | {"must_have_contrast": False},
        job_key=key,
        lineage_key=key,
        created=datetime.now(UTC),
        device=device,
        progress=lambda step, fraction: None,
        device_serial_number="VBNODE",
    )
    return application.run(case)


def judge(data: DataCase, summary: dict[str, Any], size_ml: float | None = None) -> Row:
    """Compare what a run said with the class of its case, whose tumour has ``size_ml`` if that is known."""
    probabilities, is_determined = summary["probabilities"], bool(summary["is_determined"])
    best = max(probabilities, key=probabilities.__getitem__, default=None)
    is_right = is_determined and best == data.tumour_class
    row: Row = {
        "state": summary["state"],
        "confidence": summary["confidence"],
        "novelty": summary["novelty"],
        "most probable": best or "",
        "why": summary["diagnosis_reason"],
        ANALYSED: 1.0,
        SECONDS: float(sum(summary["seconds"].values())),
    }
    if data.tumour_class is None:
        return row | {FALSE: float(is_determined)}
    row |= {LOCALISED: float(summary["state"] == "localised"), DETERMINED: float(is_determined)}
    row |= {PROBABLE: float(best == data.tumour_class)} if best else {}
    row |= {RIGHT: float(is_right)} if is_determined else {}
    return row | right_of(float(is_right), size_ml)
