"""Benchmarks A, B and C as commands: their gates hold in short, and one that does not is the exit status."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vb_node.cli import app
from vb_node.cli.evaluation import _judge
from vb_node.config import Settings
from vb_node.evaluation.benchmarks import run
from vb_node.evaluation.benchmarks.dicom_to_dicom import _shuffled, benchmark_c
from vb_node.evaluation.benchmarks.gates import Found, Gate
from vb_node.evaluation.benchmarks.tiny_lesions import ARMS

RUNNER = CliRunner()


def silent(done: int, total: int) -> None:
    return


def test_a_gate_holds_within_its_limits_and_never_for_what_is_no_number() -> None:
    assert Gate("x", 0.9, least=0.9).holds
    assert not Gate("x", 0.89, least=0.9).holds
    assert not Gate("x", 0.5, most=0.4).holds
    assert not Gate("x", float("nan"), least=0.0).holds
    assert Gate("x", 4, least=4, most=4).limits == "at least 4.000 and at most 4.000"


def test_benchmark_a_fails_where_nothing_was_learned() -> None:
    found = run.benchmark_a([0], silent, epochs=1)

    assert list(found.lines) == list(ARMS)
    assert not found.holds


@pytest.mark.timeout(300)
def test_benchmark_b_holds_by_its_command_and_is_told_as_json() -> None:
    heard = RUNNER.invoke(app, ["evaluate", "localizer", "--seeds", "1", "--json"])

    told = json.loads(heard.stdout)
    assert heard.exit_code == 0
    assert told["holds"]
    assert [gate["holds"] for gate in told["gates"]] == [True] * 6
    assert set(told["figures"]) == {f"seed 0, {name}" for name in ("boxes", "coarse", "classifier", "union")}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("localizer --localizer classical", "--localizer is of a site's cases"),
        ("localizer --out there", "--out is of a site's cases"),
        ("localizer --data cases --seeds 2", "--seeds is of the benchmark"),
        ("pipeline --seed 3", "--seed is of a site's cases"),
        ("pipeline --data cases --seeds 2", "--seeds is of the benchmark"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(words: str, why: str) -> None:
    heard = RUNNER.invoke(app, ["evaluate", *words.split()])

    assert why in str(heard.exception)


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
def test_a_gate_that_does_not_hold_is_the_exit_status_and_is_marked(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    missed = Found("A", [0], {"arm": {"seed 0": 0.5, "mean": float("nan")}}, [Gate("accuracy", 0.5, least=0.9)])

    with pytest.raises(typer.Exit) as ended:
        _judge(missed, as_json)

    said = capsys.readouterr().out
    assert ended.value.exit_code == 1
    assert json.loads(said)["figures"]["arm"] == {"seed 0": 0.5, "mean": None} if as_json else "NO" in said


@pytest.mark.timeout(300)
def test_benchmark_c_takes_a_phantom_from_shuffled_dicom_to_a_report_and_a_mask_that_others_read() -> None:
    found = benchmark_c([0], Settings(), silent, ["thick"])

    assert found.holds
    assert list(found.lines) == ["thick, phantom 1250193"]


def test_the_files_of_a_series_lose_names_and_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"slice-{n}" for n in range(30)]
    for n, path in enumerate(paths):
        path.write_text(str(n))

    shuffled = _shuffled(paths, 1)

    read = [int(path.read_text()) for path in shuffled]
    assert sorted(read) == list(range(30)) != read
    assert not any("slice" in path.name for path in tmp_path.iterdir())
