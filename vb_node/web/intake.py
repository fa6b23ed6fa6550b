"""What becomes of one part of a Store request: the checks of an association, and then the same receiver."""

import errno
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from vb_node.dicom.admission import admit
from vb_node.dicom.part10 import FileMeta
from vb_node.dicomweb.store_response import Outcome
from vb_node.dimse import contexts, status
from vb_node.dimse.scp import StoreRequest
from vb_node.errors import Refused
from vb_node.runtime.receive import Receiver
from vb_node.web.part import Part

log = logging.getLogger(__name__)

OTHER_STUDY, SYNTAX_NOT_SUPPORTED = 0xA904, 0xC122  # PS3.18 table I.2-2


@dataclass(frozen=True)
class Visit:
    """One request: who sends it, to which study if it names one."""

    peer: str
    host: str
    study_instance_uid: str | None
    association_id: str


class Intake:
    """Stores parts, one at a time or several in threads."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._accepted: Mapping[str, list[str]] = {
            str(one.abstract_syntax): list(map(str, one.transfer_syntax))
            for one in contexts.accepted_as_scp()
            if one.abstract_syntax != contexts.VERIFICATION
        }

    def keep(self, part: Part, visit: Visit) -> Outcome:
        """Store one part if it may be; say what became of it."""
        uids, request = ("", ""), None
        try:
            meta = part.meta()
            uids = meta.sop_class_uid[:64], meta.sop_instance_uid[:64]
            request = self._request(part, meta, visit)
            self._receiver.store(request)
        except Refused as refused:
            if request is None:  # of what it refuses itself the receiver tells
                self._receiver.tell_refusal(visit.peer, visit.host, uids[1], refused)
            return _failed(uids, visit, refused.status, str(refused))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._receiver.spend_reserve()
            return _failed(uids, visit, status.OUT_OF_RESOURCES, "a part cannot be written to the disk")
        except Exception:
            log.exception("instance not stored", extra={"peer": visit.peer, "sop_instance_uid": uids[1]})
            return Outcome(*uids, status.OUT_OF_RESOURCES)
        return Outcome(*uids)

    def look(self, part: Part) -> bytes:
        """Check a part as one that is to be stored, and give its file; nothing is kept; raise ``Refused``."""
        meta = part.meta()
        self._check_kind(meta)
        admit(part.data(meta.start), meta.transfer_syntax_uid, meta.sop_class_uid, meta.sop_instance_uid)
        return bytes(part.data(0))

    def _check_kind(self, meta: FileMeta) -> None:
        syntaxes = self._accepted.get(meta.sop_class_uid)
        if syntaxes is None:
            raise Refused("a storage SOP class of the conformance statement expected", status.CLASS_NOT_SUPPORTED)
        if meta.transfer_syntax_uid not in syntaxes:
            raise Refused("a transfer syntax of the conformance statement expected", SYNTAX_NOT_SUPPORTED)

    def _request(self, part: Part, meta: FileMeta, visit: Visit) -> StoreRequest:
        """Take the data set; the file meta information of the peer goes no further."""
        self._check_kind(meta)
        request = StoreRequest(
            sop_class_uid=meta.sop_class_uid,
            sop_instance_uid=meta.sop_instance_uid,
            transfer_syntax_uid=meta.transfer_syntax_uid,
            data=part.data(meta.start),
            calling_ae_title=visit.peer,
            host=visit.host,
            association_id=visit.association_id,
        )
        if visit.study_instance_uid is not None:
            _check_study(request, visit.study_instance_uid)
        return request


def _check_study(request: StoreRequest, study_instance_uid: str) -> None:
    header = admit(request.data, request.transfer_syntax_uid, request.sop_class_uid, request.sop_instance_uid)
    if header.study_instance_uid != study_instance_uid:
        raise Refused("an instance of the study of the request expected, of another came", OTHER_STUDY)


def _failed(uids: tuple[str, str], visit: Visit, code: int, why: str) -> Outcome:
    ids = {"peer": visit.peer, "sop_instance_uid": uids[1], "status": f"{code:04X}", "why": why}
    log.warning("instance refused", extra=ids)
    return Outcome(*uids, code)
