"""What crosses the wall of a cell: a case and an outcome come through whole, and nothing else does."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from factories import head, mr_series, write

from vb_node.dicom.provenance import Predecessor
from vb_node.errors import BadResult, Later, NoBrain, NodeError, Unfit
from vb_node.pipeline.application import Case, Outcome
from vb_node.runtime import handover


def _case(tmp_path: Path, **changes: Any) -> Case:
    paths = write(mr_series(head((3, 8, 8))), tmp_path / "spool")
    settled = {
        "paths": tuple(paths),
        "plan": {"weights": {"a": "b"}, "flag": True},
        "job_key": "job",
        "lineage_key": "lineage",
        "created": datetime(2026, 11, 21, 1, 2, 3, tzinfo=UTC),
        "device": "cpu",
        "progress": lambda _step, _fraction: None,
        "device_serial_number": "serial",
        "left_out": frozenset({"1.2.3"}),
    }
    return Case(**settled | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "cell"
    made.mkdir()
    handover.prepare(made)
    return made


def test_a_case_comes_in_whole(tmp_path: Path, folder: Path) -> None:
    seg = write(mr_series(head((1, 8, 8))), tmp_path / "seg")[0]
    before = Predecessor("1.2", "1.3", "1.4", "1.5", 2, seg)
    case = _case(tmp_path, predecessor=before)

    handover.put_case(folder, "copier", case, NoBrain("no brain"))
    name, taken, error = handover.take_case(folder, case.progress)

    contents = [path.read_bytes() for path in case.paths]
    assert (name, type(error), str(error)) == ("copier", NoBrain, "no brain")
    assert [path.read_bytes() for path in taken.paths] == contents
    assert taken.predecessor is not None
    assert taken.predecessor.segmentation is not None
    assert taken.predecessor.segmentation.read_bytes() == seg.read_bytes()
    for name in ("plan", "job_key", "lineage_key", "created", "device", "device_serial_number", "left_out"):
        assert getattr(taken, name) == getattr(case, name)


def test_an_input_that_is_missing_stays_missing(tmp_path: Path, folder: Path) -> None:
    case = _case(tmp_path)
    case.paths[1].unlink()

    handover.put_case(folder, "copier", case)
    _, taken, _ = handover.take_case(folder, case.progress)

    assert [path.is_file() for path in taken.paths] == [True, False, True]


def test_an_outcome_comes_out_byte_for_byte(tmp_path: Path, folder: Path) -> None:
    datasets = mr_series(head((2, 8, 8)))
    written = [path.read_bytes() for path in write(datasets, tmp_path / "written")]

    handover.put_answer(folder, Outcome((("SEG", datasets[0]), ("SR", datasets[1])), {"state": "done"}))
    outcome = handover.take_answer(folder)

    again = [path.read_bytes() for path in write([dataset for _, dataset in outcome.objects], tmp_path / "again")]
    assert [role for role, _ in outcome.objects] == ["SEG", "SR"]
    assert outcome.summary == {"state": "done"}
    assert again == written


@pytest.mark.parametrize(
    ("error", "nature", "reason", "text"),
    [
        (NoBrain("no brain"), Unfit, "NoBrain", "no brain"),
        (Later("no GPU"), Later, "Later", "no GPU"),
        (OSError(28, "No space left"), Later, "OSError", handover.UNEXPECTED),
        (KeyError("CANARY^PATIENT"), NodeError, "KeyError", handover.UNEXPECTED),
    ],
)
def test_an_error_is_told_with_its_nature_and_without_foreign_words(
    error: Exception, nature: type[NodeError], reason: str, text: str
) -> None:
    told = handover.retell(json.loads(json.dumps(handover.tell(error))))

    assert isinstance(told, nature)
    assert (told.reason, str(told)) == (reason, text)


def test_an_error_that_nobody_here_knows_keeps_its_name() -> None:
    told = handover.retell({"nature": "Unfit", "name": "TooManyTeeth", "text": "33"})

    assert isinstance(told, Unfit)
    assert told.reason == "TooManyTeeth"


def _link(out: Path, secret: Path) -> None:
    (out / "0.dcm").unlink()
    (out / "0.dcm").symlink_to(secret)


def _pipe(out: Path, _secret: Path) -> None:
    (out / "0.dcm").unlink()
    os.mkfifo(out / "0.dcm")


def _cut(out: Path, _secret: Path) -> None:
    content = (out / "0.dcm").read_bytes()
    (out / "0.dcm").write_bytes(content[:-40])


def _missing(out: Path, _secret: Path) -> None:
    (out / "0.dcm").unlink()


def _answer(text: str) -> Callable[[Path, Path], None]:
    def change(out: Path, _secret: Path) -> None:
        (out / "answer.json").write_text(text)

    return change


@pytest.mark.parametrize(
    "change",
    [
        _link,
        _pipe,
        _cut,
        _missing,
        _answer("{"),
        _answer("[]"),
        _answer('{"roles": ["SR"]}'),
        _answer('{"roles": [7], "summary": {}}'),
        _answer('{"roles": "SR", "summary": 1}'),
        _answer("[" * 100_000),
        _answer(json.dumps({"roles": ["SR"] * 65, "summary": {}})),
    ],
)
def test_an_answer_that_is_none_is_a_bad_result(
    tmp_path: Path, folder: Path, change: Callable[[Path, Path], None]
) -> None:
    (dataset,) = mr_series(head((1, 8, 8)))
    (secret,) = write(mr_series(head((1, 8, 8))), tmp_path / "other")
    handover.put_answer(folder, Outcome((("SR", dataset),), {}))

    change(folder / handover.OUT, secret)

    with pytest.raises(BadResult):
        handover.take_answer(folder)


def test_nothing_of_a_case_waits_for_the_next(tmp_path: Path, folder: Path) -> None:
    handover.put_case(folder, "copier", _case(tmp_path))
    (folder / handover.OUT / "deep" / "er").mkdir(parents=True)

    handover.prepare(folder)

    assert [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))] == ["in", "out", "out/scratch"]
