"""The evaluation commands on real files, through the real application."""

import json
from pathlib import Path

from typer.testing import CliRunner

from vb_node.cli import app
from vb_node.config import Settings
from vb_node.evaluation.case_by_case import RIGHT_OF_ALL
from vb_node.evaluation.diagnoser import ELSEWHERE, MCA, Protocol
from vb_node.evaluation.finished import SHIPPED, open_finished
from vb_node.evaluation.learn import train_on_cases
from vb_node.evaluation.measure_diagnoser import evaluate_diagnoser
from vb_node.evaluation.pipeline import ANALYSED, SECONDS, evaluate_pipeline
from vb_node.evaluation.prepare import Source
from vb_node.models.diagnoser import WEIGHTS
from vb_node.models.pins import PRETRAINED, read_pins
from vb_node.training.diagnoser import BUNDLE
from vb_node.training.fit import Course
from vb_node.training.phantom import class_of, generate, make_case
from vb_node.training.phantom_dicom import write_study


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


def test_shipped_weights_go_on_to_learn_from_phantoms_as_the_node_sees_them_and_are_cross_validated(
    tmp_path: Path,
) -> None:
    data, out = tmp_path / "cases", tmp_path / "out"
    for seed in (1_250_005, 1_250_008, 1_250_009, 1_250_016, 1_260_000, 1_260_001):
        folder = data / f"phantom-{seed:06d}-{class_of(seed).lower()}"
        folder.mkdir(parents=True)
        write_study(make_case(seed, class_of(seed)), folder)
    source, course = Source(data, masks="localizer"), Course(1, 1, start=open_finished(SHIPPED))

    figures = train_on_cases(source, out, course, lambda done, total: None)
    told = open_finished(out / BUNDLE).metadata

    assert figures["held_out_cases"] == 6
    assert figures["accuracy_localizers_mask"] >= 0.5
    assert told["is_trained_on_synthetic_data"]
    assert told["started_from_sha256"] == read_pins(PRETRAINED)[WEIGHTS].sha256
    assert told["trained_on"].startswith("6 cases of the data set")
    assert told["classes"] == ["Glioma", "PCNSL", "Germinoma", "Rare"]
    words = ["evaluate", "cases", data, "--masks", "localizer", "--start", "shipped", "--epochs", "1", "--out", out]
    heard = CliRunner().invoke(app, [*map(str, words), "--json"])
    results = json.loads(heard.stdout)
    assert heard.exit_code == 0
    assert results["about"]["command"].startswith("vb-node evaluate diagnoser --data cases --masks localizer --seed 1 ")
    assert "--folds 3" in results["about"]["command"]  # three patients of a class
    assert results["figures"]["arms"][MCA]["measured"]["accuracy"]["value"] >= 0.5
    assert results["figures"]["from image to class"][RIGHT_OF_ALL]["cases"] == 6
    assert "<svg" in (out / "report.html").read_text()
