"""The evaluation commands on real files, through the real application."""

import json
from pathlib import Path

from vb_node.config import Settings
from vb_node.evaluation.diagnoser import ELSEWHERE, MCA, Protocol
from vb_node.evaluation.finished import SHIPPED
from vb_node.evaluation.measure_diagnoser import evaluate_diagnoser
from vb_node.evaluation.pipeline import ANALYSED, SECONDS, evaluate_pipeline
from vb_node.evaluation.prepare import Source
from vb_node.models.diagnoser import WEIGHTS
from vb_node.models.pins import PRETRAINED, read_pins
from vb_node.training.phantom import generate


def test_a_phantom_goes_from_dicom_to_a_line_of_the_report(tmp_path: Path) -> None:
    generate(tmp_path / "cases", 1, 12, "dicom", lambda done, total: None)

    figures = evaluate_pipeline(tmp_path / "cases", tmp_path / "out", Settings(), 1, lambda done, total: None)

    told = json.loads((tmp_path / "out" / "results.json").read_text())
    page = (tmp_path / "out" / "report.html").read_text()
    assert figures[ANALYSED].value == 1
    assert figures[SECONDS].value > 0
    assert len(told["about"]["data sha256"]) == 64
    assert "diagnoser.safetensors sha256:" in told["about"]["weights"]
    assert "phantom-000012-glioma" in (tmp_path / "out" / "cases.csv").read_text()
    assert "INVESTIGATIONAL" in page


def test_the_shipped_weights_read_phantoms_of_another_seed_by_their_masks(tmp_path: Path) -> None:
    protocol = Protocol(folds=5, seed=77, epochs=1)

    figures = evaluate_diagnoser(Source(None, 8), tmp_path, protocol, SHIPPED, lambda done, total: None)

    about = json.loads((tmp_path / "results.json").read_text())["about"]
    assert figures[MCA]["accuracy"].value >= figures[ELSEWHERE]["accuracy"].value + 0.2
    assert about["weights sha256"] == read_pins(PRETRAINED)[WEIGHTS].sha256
    assert about["command"] == "vb-node evaluate diagnoser --phantoms 8 --seed 77 --weights shipped"
