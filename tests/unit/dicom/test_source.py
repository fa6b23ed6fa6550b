"""The patient and the study of a result are the source's, whatever the source does to the Standard."""

import logging
import warnings
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from factories import affine, head, mr_series, turned
from pydicom import dcmread
from pydicom.dataset import Dataset
from results import SHAPE, oblique, provenance, reread, series_of, to_bytes, two_lesions, written

from vb_node.dicom.check import check_not_analysed, check_result
from vb_node.dicom.source import identity
from vb_node.dicom.sr import write_not_analysed
from vb_node.errors import NoBrain

REQUIRED = ("StudyID", "AccessionNumber", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate")
NAMES = {
    "Chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
    "Greek": ("ISO_IR 126", "Διονυσιος"),
    "Japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "Korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "Latin": ("ISO_IR 100", "Müller^Jörg"),
}


def _header(**attributes: Any) -> Dataset:
    return oblique(**attributes).headers[0]


@pytest.mark.parametrize(("charset", "name"), NAMES.values(), ids=NAMES.keys())
def test_a_name_in_any_script_is_the_same_name_in_the_result(charset: Any, name: str) -> None:
    instances = [reread(item) for item in mr_series(head(SHAPE), SpecificCharacterSet=charset, PatientName=name)]

    report, segmentation = (reread(result) for result in written(series_of(instances), two_lesions(), provenance()))

    assert str(report.PatientName) == str(segmentation.PatientName) == name
    assert report.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("keyword", [*REQUIRED, "StudyTime", "ReferringPhysicianName", "SliceThickness"])
def test_a_missing_attribute_is_written_empty(keyword: str) -> None:
    report, segmentation = written(oblique(**{keyword: None}), two_lesions(), provenance())

    if keyword != "SliceThickness":
        assert report[keyword].is_empty
        assert segmentation[keyword].is_empty


def test_an_identity_that_breaks_its_vr_is_kept_so_that_the_archive_files_it_with_its_patient() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = _header(PatientID="7" * 70, AccessionNumber="A" * 20)

    found = identity(header)

    assert (found.PatientID, found.AccessionNumber) == ("7" * 70, "A" * 20)


@pytest.mark.parametrize(
    ("keyword", "came", "kept"),
    [
        ("StudyTime", "10:15:00", "101500"),
        ("PatientBirthDate", "1960.01.31", "19600131"),
        ("PatientBirthDate", "1960", ""),
        ("StudyDate", "***", ""),
        ("PatientSex", "m", "M"),
        ("PatientSex", "U", ""),
    ],
)
def test_old_and_broken_spellings_are_mended_or_left_empty(keyword: str, came: str, kept: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = _header(**{keyword: came})

    assert str(identity(header)[keyword].value or "") == kept


def test_private_elements_stay_behind() -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "MR1", "99X", "Kopf"
    code.add_new((0x0009, 0x0010), "LO", "VENDOR")
    header = _header(ProcedureCodeSequence=[code])

    found = identity(header)

    assert [element.tag.group for element in found.ProcedureCodeSequence[0]] == [8, 8, 8]


def test_the_source_is_left_as_it_came() -> None:
    series = oblique()
    before = [header.to_json() for header in series.headers]

    written(series, two_lesions(), provenance())

    assert [header.to_json() for header in series.headers] == before


def test_no_identifier_reaches_the_log_or_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        series = oblique(PatientName="CANARY" * 20, PatientID="CANARY" * 20, PatientBirthDate="CANARY")

    caplog.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        written(series, two_lesions(), provenance())

    assert "CANARY" not in caplog.text
    assert not [str(one.message) for one in caught if "CANARY" in str(one.message)]


@pytest.mark.parametrize("keyword", ["PatientWeight", "SliceThickness"])
def test_a_number_that_is_none_does_no_harm(keyword: str) -> None:
    instances = [
        dcmread(BytesIO(to_bytes(item).replace(b"1234.5  ", b"***     ").replace(b"1234.5", b"***   ")))
        for item in mr_series(head(SHAPE), **{keyword: "1234.5"})
    ]

    _, segmentation = written(series_of(instances), two_lesions(), provenance())

    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert "PatientWeight" not in segmentation
    assert float(measures.SliceThickness) == 1.0


def test_a_damaged_zone_is_no_zone() -> None:
    report, _ = written(
        oblique(TimezoneOffsetFromUTC="***"), two_lesions(), provenance(created=datetime(2021, 2, 3, tzinfo=UTC))
    )

    assert "TimezoneOffsetFromUTC" not in report


def test_a_rough_geometry_is_written_as_unit_vectors_and_passes_our_own_check() -> None:
    instances = mr_series(head(SHAPE), affine((3.0, 0.8, 1.1), turned(17.0)))
    for k, instance in enumerate(instances):
        instance.ImageOrientationPatient = [f"{0.995 * float(v):.6f}" for v in instance.ImageOrientationPatient]
        instance.ImagePositionPatient = [float(v) + 0.1 * (k % 3 == 1) for v in instance.ImagePositionPatient]
    series = series_of(instances)

    report, segmentation = written(series, two_lesions(), provenance())

    shared = segmentation.SharedFunctionalGroupsSequence[0]
    along = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    assert np.linalg.norm(along, axis=1) == pytest.approx([1, 1], abs=1e-6)
    check_result(series, two_lesions(), report, segmentation)


def _item(**attributes: str) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


@pytest.mark.parametrize(
    ("keyword", "item"),
    [
        ("OtherPatientIDsSequence", _item(PatientID="OLD-1")),
        ("ProcedureCodeSequence", _item()),
        ("ProcedureCodeSequence", _item(CodeValue="MR1", CodingSchemeDesignator="99X")),
        ("ProcedureCodeSequence", _item(CodeValue="MR1", CodingSchemeDesignator="99X", CodeMeaning="")),
        ("ReferencedStudySequence", _item(ReferencedSOPClassUID="1.2.3")),
        ("DeidentificationMethodCodeSequence", _item(CodeValue="113100", CodingSchemeDesignator="DCM")),
    ],
)
def test_an_incomplete_item_of_the_source_costs_neither_result_nor_refusal(keyword: str, item: Dataset) -> None:
    series, labels = oblique(**{keyword: [item]}), two_lesions()

    report, segmentation = written(series, labels, provenance())
    refusal = write_not_analysed(series.headers, NoBrain(), provenance().of_refusal("NO_BRAIN"))

    assert keyword not in report
    check_result(series, labels, report, segmentation)
    check_not_analysed(series.headers, refusal)
