"""One page as an Encapsulated PDF (PS3.3 A.45.1), for places that file documents: its words can be searched and copied.

No name, number or date of the patient stands on the page: the object around it says whose it is.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Final

from highdicom import SOPClass
from highdicom.sr import CodedConcept
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from vb_node.dicom import codes, source
from vb_node.dicom.key_image import WARNING, Picture
from vb_node.dicom.provenance import MODEL_NAME, Provenance

if TYPE_CHECKING:
    from fpdf import FPDF

ROLE = "PDF"
SERIES_NUMBER = 9006
SERIES_DESCRIPTION = "AI tumour page, not verified"
MIME_TYPE = "application/pdf"
# On white paper, the key image's orange would be hard to read.
RED: Final = (200, 30, 0)
BLACK: Final = (0, 0, 0)
MARGIN_MM, GAP_MM, LEAST_PICTURE_MM = 15, 4, 60
LINE_OF_POINTS_MM = 0.5
TITLE_POINTS, LINE_POINTS = 16, 10


def write_document(
    headers: Sequence[Dataset], title: str, lines: Sequence[str], picture: Picture | None, provenance: Provenance
) -> Dataset:
    """Write a page with the warning, the title, the lines and the picture (rows, columns, RGB), from bare headers.

    ``picture`` is None for a series that was not analysed; ``provenance`` is then that of a refusal.
    """
    result = SOPClass(
        study_instance_uid=headers[0].StudyInstanceUID,
        **provenance.identity(ROLE, SERIES_NUMBER),
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=SERIES_DESCRIPTION,
    )
    source.sign(result, headers[0], provenance)
    result.SourceInstanceSequence = source.references(headers)
    result.AcquisitionDateTime = None
    result.ConversionType = "WSD"
    result.BurnedInAnnotation = "YES"
    result.VerificationFlag = "UNVERIFIED"
    result.DocumentTitle = title
    result.ConceptNameCodeSequence = [CodedConcept.from_code(codes.REPORT_TITLE)]
    _encapsulate(result, page(title, lines, picture, provenance))
    return result


def page(title: str, lines: Sequence[str], picture: Picture | None, provenance: Provenance) -> bytes:
    """Lay out the page as a PDF; more lines than a page holds go on to another. The same input gives the same bytes."""
    from fpdf import FPDF  # late: half a second, and few destinations want a page

    pdf = FPDF(format="A4")
    created = provenance.created
    # A PDF's date needs a zone (ISO 32000-1 7.9.4).
    pdf.set_creation_date(created if created.tzinfo else created.replace(tzinfo=UTC))
    pdf.set_creator(f"{MODEL_NAME} {provenance.software_version}")
    pdf.set_title(_in_latin_1(title))
    pdf.set_lang("en-GB")
    pdf.set_margin(MARGIN_MM)
    pdf.set_auto_page_break(True, MARGIN_MM)
    pdf.add_page()
    _write(pdf, WARNING, TITLE_POINTS, RED, is_bold=True)
    _write(pdf, title, TITLE_POINTS, BLACK, is_bold=True)
    for line in lines:
        _write(pdf, line, LINE_POINTS, BLACK)
    if picture is not None:
        _show(pdf, picture)
    return bytes(pdf.output())


def _write(pdf: "FPDF", text: str, points: int, colour: tuple[int, int, int], *, is_bold: bool = False) -> None:
    pdf.set_font("Helvetica", "B" if is_bold else "", points)
    pdf.set_text_color(*colour)
    pdf.multi_cell(0, points * LINE_OF_POINTS_MM, _in_latin_1(text), align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.ln(1)


def _in_latin_1(text: str) -> str:
    """Put a question mark for what the PDF's own fonts cannot write: our words are Latin-1, a site's may not be."""
    return text.encode("latin-1", "replace").decode("latin-1")


def _show(pdf: "FPDF", picture: Picture) -> None:
    """Fit the picture under the text, or on a page of its own where too little is left."""
    from fpdf import Align  # late, as above

    pdf.ln(GAP_MM)
    if pdf.h - MARGIN_MM - pdf.get_y() < LEAST_PICTURE_MM:
        pdf.add_page()
    rows, columns = picture.shape[:2]
    scale = min(pdf.epw / columns, (pdf.h - MARGIN_MM - pdf.get_y()) / rows)
    pdf.image(Image.fromarray(picture), x=Align.C, w=columns * scale, h=rows * scale)


def _encapsulate(result: Dataset, pdf: bytes) -> None:
    result.MIMETypeOfEncapsulatedDocument = MIME_TYPE
    result.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    result.EncapsulatedDocumentLength = len(pdf)
