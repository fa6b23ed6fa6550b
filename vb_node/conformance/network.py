"""What the statement says of associations: contexts and statuses, read from what the node runs on."""

from collections.abc import Iterable
from itertools import groupby, zip_longest
from typing import Final

from pydicom.uid import UID
from pynetdicom.presentation import PresentationContext

from storage import deliveries
from vb_node.conformance.markdown import code, table
from vb_node.conformance.origin import Written
from vb_node.dicom import admission, structure
from vb_node.dimse import contexts, door, status

ANSWERED: Final = {
    status.SUCCESS: "the instance is on disk, safe from a power cut; also when the same content came before",
    status.DUPLICATE: "the SOP Instance UID is known with other content: the first is kept",
    status.CLASS_NOT_SUPPORTED: "the SOP Class UID of the request is not that of the presentation context",
    status.UNRECOGNISED_OPERATION: "a request other than C-STORE and C-ECHO",
    status.MISTYPED_ARGUMENT: "Message ID, Affected SOP Class UID or Affected SOP Instance UID is missing",
    status.TOO_LARGE: "the instance is larger than the node's configuration allows",
    status.OUT_OF_RESOURCES: "the disk or the ledger cannot be written, or an unexpected failure: send it again",
    admission.CLASS_MISMATCH: "the SOP Class UID of the data set is not that of the request",
    admission.INSTANCE_MISMATCH: "the SOP Instance UID of the data set is not that of the request",
    admission.PIXEL_LENGTH: "native Pixel Data is not as long as rows, columns, frames and bits allocated ask for",
    structure.CANNOT_PARSE: "the data set has no structure in the negotiated transfer syntax",
    structure.TRUNCATED: "the data set ends early, or an image has no Pixel Data",
    structure.TOO_MUCH: f"more than {structure.MOST_ELEMENTS} elements, or more than {structure.MOST_DEPTH} levels",
    admission.MISSING_UID: "no SOP Class, SOP Instance, Series Instance or Study Instance UID",
    admission.ILLEGAL_UID: "one of these UIDs breaks the rules of PS3.5 9.1",
}
REJECTED: Final = (
    door.VERSION_UNKNOWN,
    door.CALLED_AE_UNKNOWN,
    door.CALLING_AE_UNKNOWN,
    door.OTHER_CERTIFICATE,
    door.CONTEXT_UNKNOWN,
    door.CONGESTED,
    door.LIMIT_EXCEEDED,
)
FOLLOWS: Final = {
    "stored": "the object is there: the delivery ends",
    "busy": "tried again, slower and slower, for as long as the destination's `retry_for_h`; then parked",
    "refused": f"tried {deliveries.MOST_REFUSALS} times, {deliveries.REFUSAL_WAIT_S / 3600:g} h apart; then parked. "
    f"{status.DUPLICATE:04X}: looked up where the destination has `query`, the delivery ends if ours is there; else "
    "parked at once",
}


def accepted_classes() -> str:
    """List every storage class that the listener accepts, three in a row."""
    uids = [context.abstract_syntax for context in contexts.accepted_as_scp()]
    cells = iter([_named(uid) for uid in uids if uid != contexts.VERIFICATION])
    return table(["SOP class"] * 3, zip_longest(cells, cells, cells, fillvalue=""))


def accepted_contexts() -> str:
    """List the presentation contexts of the listener; classes with the same transfer syntaxes share their rows."""
    rows = []
    for syntaxes, group in groupby(contexts.accepted_as_scp(), _transfer_syntaxes):
        classes = [context.abstract_syntax for context in group]
        name = f"each of the {len(classes)} classes of annex F" if len(classes) > 1 else _named(classes[0])
        rows += [(name, _named(syntax), "SCP", "None") for syntax in syntaxes]
    return table(["Abstract syntax", "Transfer syntax", "Role", "Extended negotiation"], rows)


def proposed_contexts(written: Iterable[Written]) -> str:
    """List what the sender proposes for each kind of object, fall-back classes included."""
    proposed = {(one.dataset.SOPClassUID, one.dataset.file_meta.TransferSyntaxUID) for one in written}
    rows = [
        (_named(wish), _named(syntax), "SCU", "None", "" if wish == own else f"used where {_name(own)} is not accepted")
        for own, syntax in sorted(proposed)
        for wish in (own, *contexts.FALL_BACK.get(own, ()))
    ]
    return table(["Abstract syntax", "Transfer syntax", "Role", "Extended negotiation", "Note"], rows)


def rejections() -> str:
    """List how the listener rejects an association."""
    rows = [(" / ".join(map(str, one.numbers)), one.why) for one in REJECTED]
    return table(["Result / source / reason", "When"], rows)


def answers() -> str:
    """List what the listener answers a C-STORE request."""
    rows = [(_shown(value), why) for value, why in ANSWERED.items()]
    return table(["Status", "When"], rows)


def meanings() -> str:
    """List what the sender makes of every status that a peer can answer."""
    spans: dict[str, list[str]] = {word: [] for word in FOLLOWS}
    for word, group in groupby(range(0x10000), status.meaning):
        values = list(group)
        spans[word].append(_shown(values[0]) + (f" to {_shown(values[-1])}" if len(values) > 1 else ""))
    spans["refused"] = ["every other"]
    rows = [(", ".join(spans[word]), word, follows) for word, follows in FOLLOWS.items()]
    return table(["Status", "Taken as", "What follows"], rows)


def _transfer_syntaxes(context: PresentationContext) -> tuple[UID, ...]:
    return tuple(context.transfer_syntax)


def _name(uid: str | None) -> str:
    return UID(uid or "").name


def _named(uid: str | None) -> str:
    return f"{_name(uid)} {code(uid)}"


def _shown(value: int) -> str:
    return code(f"{value:04X}")
