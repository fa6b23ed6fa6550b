"""Asking by HTTP what a service holds: QIDO-RS as user agent (PS3.18 10.6)."""

import json
from typing import Any

from vb_node.dicomweb.service import Service, exchange
from vb_node.errors import Later, Unreachable

NOWHERE = "2.25.0"
SOP_INSTANCE_UID, SERIES_INSTANCE_UID = "00080018", "0020000E"
NUMBER_OF_SERIES_RELATED_INSTANCES = "00201209"


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


def count_by_series(service: Service, study_instance_uid: str) -> dict[str, int]:
    """Ask how many instances a service has of each series of a study; a series that it does not count is left out.

    Raises
    ------
    Later
        The service cannot be reached, or its answer is none of a search.
    """
    path, params = f"/studies/{study_instance_uid}/series", {"includefield": NUMBER_OF_SERIES_RELATED_INSTANCES}
    answer = exchange(service, "GET", path, longest_s=2 * service.answer_s, params=params)
    if answer.status in (204, 404):
        return {}
    if answer.status != 200:
        raise Later(f"{service} answered a search with HTTP {answer.status}, expected 200")
    try:
        counts = [
            (_value(one, SERIES_INSTANCE_UID), _value(one, NUMBER_OF_SERIES_RELATED_INSTANCES))
            for one in json.loads(answer.body)
        ]
        return {str(uid): int(count) for uid, count in counts if uid is not None and count is not None}
    except (ValueError, TypeError, AttributeError) as error:
        raise Later(f"{service} answered a search with what is no DICOM JSON (PS3.18 F)") from error


def _value(match: Any, tag: str) -> Any:
    values = match.get(tag, {}).get("Value") or [None]
    return values[0]


def probe(service: Service) -> None:
    """Return if a service answers and lets us in; raise ``Unreachable`` or ``NoAnswer``.

    The query is for a study that cannot be there: no patient data travels.
    """
    params = {"StudyInstanceUID": NOWHERE}
    answer = exchange(service, "GET", "/studies", longest_s=2 * service.answer_s, params=params)
    if answer.status in (401, 403, 429) or answer.status >= 500 and answer.status != 501:
        raise Unreachable(f"{service} answers HTTP {answer.status}: check that it runs, and authorization_file")
