"""The page as a PDF: it warns first, its words are text, nothing of the patient stands on it."""

import re
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from factories import head, mr_series
from pydicom.dataset import Dataset
from results import SHAPE, oblique, provenance, reread, series_of, to_bytes

from vb_node.dicom.check_companions import check_document
from vb_node.dicom.document import page, write_document
from vb_node.dicom.key_image import WARNING
from vb_node.errors import BadResult

SERIES = oblique()
TITLE = "AI tumour analysis"
LINES = ("one lesion (left thalamus, 12.3 mL)", "Algorithm virtual_biopsy 0.1.0")
PICTURE = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)


def _streams(pdf: bytes) -> list[bytes]:
    return [zlib.decompress(stream) for stream in re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)]


def _words(pdf: bytes) -> list[str]:
    return [text.decode("latin-1") for text in re.findall(rb"\((.*?)(?<!\\)\) Tj", b"\n".join(_streams(pdf)))]


def _pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\n", pdf))


def _write(picture: np.ndarray | None = PICTURE) -> Dataset:
    return reread(write_document(SERIES.headers, TITLE, LINES, picture, provenance()))


def _pdf_of(document: Dataset) -> bytes:
    return bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])


def test_the_warning_is_the_first_word_and_coloured() -> None:
    pdf = page(TITLE, LINES, PICTURE, provenance())

    first = _streams(pdf)[0].split(b" Tj")[0]
    assert _words(pdf)[:2] == [WARNING, TITLE]
    assert re.search(rb"0\.78\d* 0\.11\d* 0 rg", first)


def test_every_line_is_there_and_the_page_is_one() -> None:
    pdf = page(TITLE, LINES, PICTURE, provenance())

    said = " ".join(_words(pdf)).replace("\\", "")
    assert all(line in said for line in LINES)
    assert _pages(pdf) == 1


def test_the_picture_is_embedded_whole() -> None:
    pdf = page(TITLE, LINES, PICTURE, provenance())

    sizes = re.search(rb"/Height (\d+)[^>]*/Width (\d+)", pdf)
    assert sizes is not None
    assert tuple(map(int, sizes.groups())) == PICTURE.shape[:2]


def test_long_text_goes_on_to_another_page_instead_of_being_cut_off() -> None:
    pdf = page(TITLE, [f"line {number}" for number in range(80)], PICTURE, provenance())

    assert "line 79" in _words(pdf)
    assert _pages(pdf) == 3


def test_letters_outside_latin_1_become_question_marks() -> None:
    pdf = page(TITLE, ["score ≥ 0.5 by 王 and Müller"], None, provenance())

    assert "score ? 0.5 by ? and Müller" in _words(pdf)


def test_it_is_an_encapsulated_pdf_that_names_its_sources() -> None:
    document = _write()

    sources = [item.ReferencedSOPInstanceUID for item in document.SourceInstanceSequence]
    assert document.SOPClassUID.name == "Encapsulated PDF Storage"
    assert (document.Modality, document.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
    assert (document.BurnedInAnnotation, document.VerificationFlag) == ("YES", "UNVERIFIED")
    assert (document.DocumentTitle, document.SeriesNumber) == (TITLE, 9006)
    assert sources == [header.SOPInstanceUID for header in SERIES.headers]
    check_document(SERIES.headers, document)


@pytest.mark.parametrize("title", [TITLE, f"{TITLE}."])
def test_the_pdf_is_whole_and_padded_to_an_even_length(title: str) -> None:
    document = reread(write_document(SERIES.headers, title, LINES, None, provenance()))

    assert _pdf_of(document) == page(title, LINES, None, provenance())
    assert len(document.EncapsulatedDocument) == document.EncapsulatedDocumentLength + len(_pdf_of(document)) % 2


def test_a_series_that_was_not_analysed_gets_another_instance_without_a_picture() -> None:
    analysed = _write()
    refused = reread(write_document(SERIES.headers, TITLE, LINES, None, provenance().of_refusal("NO_BRAIN")))

    assert refused.SOPInstanceUID != analysed.SOPInstanceUID
    assert refused.SeriesInstanceUID == analysed.SeriesInstanceUID
    assert b"/Subtype /Image" in _pdf_of(analysed)
    assert b"/Subtype /Image" not in _pdf_of(refused)
    check_document(SERIES.headers, refused)


def test_the_patient_does_not_change_the_page() -> None:
    pdfs = []
    for name in ("Canary^One", "Other^Two"):
        headers = series_of(mr_series(head(SHAPE), PatientName=name, PatientID=name)).headers
        pdfs.append(_pdf_of(write_document(headers, TITLE, LINES, PICTURE, provenance())))

    assert pdfs[0] == pdfs[1]


def test_the_same_job_writes_the_same_bytes() -> None:
    made = [write_document(SERIES.headers, TITLE, LINES, PICTURE, provenance()) for _ in range(2)]

    assert to_bytes(made[0]) == to_bytes(made[1])


def _cut_off_the_end(document: Dataset) -> None:
    document.EncapsulatedDocument = document.EncapsulatedDocument[:-200]


def _state_another_length(document: Dataset) -> None:
    document.EncapsulatedDocumentLength -= 100


def _hold_a_text(document: Dataset) -> None:
    document.EncapsulatedDocument, document.EncapsulatedDocumentLength = b"a report", 8


def _warn_of_nothing(document: Dataset) -> None:
    pdf = _pdf_of(document)
    first = re.search(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)
    assert first is not None
    silent = zlib.compress(zlib.decompress(first[1]).replace(WARNING.encode(), b"Tumour"))
    silenced = pdf.replace(first[1], silent)
    document.EncapsulatedDocument = silenced + b"\0" * (len(silenced) % 2)
    document.EncapsulatedDocumentLength = len(silenced)


def _name_another_type(document: Dataset) -> None:
    document.MIMETypeOfEncapsulatedDocument = "text/xml"


def _claim_to_be_verified(document: Dataset) -> None:
    document.VerificationFlag = "VERIFIED"


def _deny_burned_in_text(document: Dataset) -> None:
    document.BurnedInAnnotation = "NO"


def _forget_a_source(document: Dataset) -> None:
    del document.SourceInstanceSequence[0]


def _call_it_a_report(document: Dataset) -> None:
    document.Modality = "SR"


def _give_it_to_another_patient(document: Dataset) -> None:
    document.PatientID = "SOMEBODY-ELSE"


FAULTS = {
    _cut_off_the_end: "no whole PDF",
    _state_another_length: "no whole PDF",
    _hold_a_text: "no whole PDF",
    _warn_of_nothing: "does not warn",
    _name_another_type: "MIME type",
    _claim_to_be_verified: "claims to be verified",
    _deny_burned_in_text: "burned in",
    _forget_a_source: "lists 23 instances",
    _call_it_a_report: "modality DOC",
    _give_it_to_another_patient: "PatientID is not the source's",
}


@pytest.mark.parametrize(("fault", "said"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
def test_a_seeded_fault_is_caught(fault: Callable[[Dataset], None], said: str) -> None:
    document = _write()
    fault(document)

    with pytest.raises(BadResult, match=said):
        check_document(SERIES.headers, document)
