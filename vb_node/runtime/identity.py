"""Whose study is it? Slices of two patients never become one result."""

from collections.abc import Iterable, Mapping, Sequence

from storage.schema import Series
from vb_node.dicom.glance import Glance
from vb_node.errors import IdentityConflict


def conflict(study: Iterable[Series], glances: Mapping[str, Sequence[Glance]]) -> IdentityConflict | None:
    """Say where a study names more than one patient, without naming any.

    Within a series Patient ID and name must be the same in each instance that can be read; between series the Patient
    ID, where there is one.
    """
    remedy = "nothing of this study is analysed or sent: correct it at its source and send it under its own UIDs"
    for uid, seen in glances.items():
        if len({(one.patient_id, one.patient_name) for one in seen if one.is_read}) > 1:
            return IdentityConflict(f"expected one patient in series {uid}, came several by ID or name; {remedy}")
    patients = {series.patient_id for series in study if series.patient_id}
    if len(patients) > 1:
        return IdentityConflict(f"expected one patient in the study, came {len(patients)} by PatientID; {remedy}")
    return None
