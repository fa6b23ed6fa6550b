"""Our own results are known by what they say of themselves, and dates come from the ledger."""

from datetime import UTC, datetime

import numpy as np
from factories import head, mr_series
from pydicom.dataset import Dataset
from results import SHAPE, analysis_of, enhanced, oblique, provenance, two_lesions, write_key_image, written

from vb_node.dicom.provenance import is_ours
from vb_node.dicom.sr import write_not_analysed
from vb_node.errors import NoBrain


def test_everything_we_write_is_known_as_ours() -> None:
    series, labels = oblique(), two_lesions()
    findings = analysis_of(series, labels).findings

    results = [
        *written(series, labels, provenance()),
        write_not_analysed(series.headers, NoBrain(), provenance()),
        write_key_image(series, np.zeros(SHAPE, np.float32), findings, [], provenance()),
    ]

    assert all(is_ours(result) for result in results)


def test_what_modalities_and_others_write_is_not_ours() -> None:
    foreign = [mr_series(head(SHAPE))[0], enhanced().headers[0], Dataset()]

    assert not any(is_ours(header) for header in foreign)


def test_a_result_that_others_changed_is_still_known_by_its_contributors() -> None:
    report, _ = written(oblique(), two_lesions(), provenance())
    item, changed = Dataset(), Dataset()
    item.Manufacturer, item.ManufacturerModelName = report.Manufacturer, report.ManufacturerModelName

    changed.Manufacturer, changed.ContributingEquipmentSequence = "An archive", [item]

    assert is_ours(changed)


def test_an_archive_that_writes_in_capitals_cannot_make_a_job_of_a_result() -> None:
    report, _ = written(oblique(), two_lesions(), provenance())

    report.Manufacturer, report.ManufacturerModelName = report.Manufacturer.upper(), "VB-NODE"

    assert is_ours(report)


def test_a_result_never_has_the_series_number_of_its_source() -> None:
    series = oblique(SeriesNumber=9001)

    report, segmentation = written(series, two_lesions(), provenance())

    assert (segmentation.SeriesNumber, report.SeriesNumber) == (9101, 9002)


def test_the_scanner_is_named_as_contributor() -> None:
    _, segmentation = written(oblique(), two_lesions(), provenance())

    assert segmentation.ContributingEquipmentSequence[0].Manufacturer == "Phantom maker"


def test_every_date_is_the_ledgers() -> None:
    results = written(oblique(), two_lesions(), provenance())

    for result in results:
        dates = {result.InstanceCreationDate, result.ContentDate, result.SeriesDate}
        times = {result.InstanceCreationTime, result.ContentTime, result.SeriesTime}
        contributed = {str(item.get("ContributionDateTime", "2021")) for item in result.ContributingEquipmentSequence}
        assert dates == {"20210203"}
        assert times == {"040506.000789"}
        assert all(when.startswith("2021") for when in contributed)


def test_times_follow_the_zone_that_the_source_names() -> None:
    made_by = provenance(created=datetime(2021, 2, 3, 20, 5, 6, tzinfo=UTC))

    report, _ = written(oblique(TimezoneOffsetFromUTC="+0900"), two_lesions(), made_by)

    assert (report.ContentDate, report.ContentTime) == ("20210204", "050506.000000")
    assert report.TimezoneOffsetFromUTC == "+0900"


def test_without_a_zone_in_the_source_none_is_claimed() -> None:
    made_by = provenance(created=datetime(2021, 2, 3, 20, 5, 6, tzinfo=UTC))

    report, _ = written(oblique(), two_lesions(), made_by)

    assert "TimezoneOffsetFromUTC" not in report
