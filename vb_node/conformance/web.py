"""What the statement says of DICOM Web Services: what the origin server of the Store transaction answers."""

from typing import Final

from vb_node.conformance.markdown import code, table
from vb_node.dimse import status
from vb_node.web import intake

ANSWERED: Final = {
    200: "every instance is on disk, safe from a power cut; also when the same content came before",
    202: "some instances are, others failed",
    400: "no multipart body, its closing delimiter did not come, or nothing in it is a DICOM file",
    401: "no token or certificate of a configured peer at this address: nothing of the body is read",
    409: "no instance was stored, each for the reason that is given",
    413: "more bytes or parts than the configuration allows, or each instance is too large; what came before is stored",
    415: 'not `multipart/related; type="application/dicom"`, or a body with a Content-Encoding',
    503: "the disk is too full, or an unexpected failure: send it again, not before Retry-After",
}
FURTHER_REASONS: Final = {
    status.CLASS_NOT_SUPPORTED: "the SOP class is none of annex F",
    intake.SYNTAX_NOT_SUPPORTED: "the transfer syntax is none of table 7-2",
    intake.OTHER_STUDY: "the instance is not of the study in the target URL",
    status.PROCESSING_FAILURE: "in Other Failures Sequence: a part of another media type, or the body ended early",
}


def answers() -> str:
    """List what the origin server answers a Store request (PS3.18 10.5.3, 8.5)."""
    return table(["HTTP status", "When"], [(code(str(value)), why) for value, why in ANSWERED.items()])


def reasons() -> str:
    """List the Failure Reasons beside those of C-STORE."""
    return table(["Failure Reason", "When"], [(code(f"{value:04X}"), why) for value, why in FURTHER_REASONS.items()])
