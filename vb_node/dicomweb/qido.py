"""Asking by HTTP what a service holds: QIDO-RS as user agent (PS3.18 10.6)."""

import json

from vb_node.dicomweb.service import Service, exchange
from vb_node.errors import Unreachable

NOWHERE = "2.25.0"
SOP_INSTANCE_UID = "00080018"


def holds(service: Service, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> bool | None:
    """Say whether a service holds an instance, None if it does not tell; raise ``Unreachable`` or ``NoAnswer``."""
    path = f"/studies/{study_instance_uid}/series/{series_instance_uid}/instances"
    params = {"SOPInstanceUID": sop_instance_uid}
    answer = exchange(service, "GET", path, longest_s=2 * service.answer_s, params=params)
    if answer.status in (204, 404):
        return False
    try:
        found = [match[SOP_INSTANCE_UID]["Value"][0] for match in json.loads(answer.body)]
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return sop_instance_uid in found if answer.status == 200 else None


def probe(service: Service) -> None:
    """Return if a service answers and lets us in; raise ``Unreachable`` or ``NoAnswer``.

    The query is for a study that cannot be there: no patient data travels.
    """
    params = {"StudyInstanceUID": NOWHERE}
    answer = exchange(service, "GET", "/studies", longest_s=2 * service.answer_s, params=params)
    if answer.status in (401, 403, 429) or answer.status >= 500 and answer.status != 501:
        raise Unreachable(f"{service} answers HTTP {answer.status}: check that it runs, and authorization_file")
