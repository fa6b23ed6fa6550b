"""Who made a result, from what, and when: the same for every object of one job."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from vb_node.dicom import uid

MANUFACTURER = "Virtual Biopsy node"
MODEL_NAME = "vb-node"
REPORT_ROLE = "SR"
# Every name that a version of this software has ever written: a result of an old version is no input either.
OUR_EQUIPMENT = frozenset({(MANUFACTURER.casefold(), MODEL_NAME.casefold())})


@dataclass(frozen=True)
class Predecessor:
    """The SR document that a revision supersedes, ``revision`` of its lineage, and the file of its Segmentation."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    revision: int = 1
    segmentation: Path | None = None


@dataclass(frozen=True)
class Provenance:
    """What stands in every object of one job.

    ``job_key`` names this run: SOP Instance UIDs derive from it, and the tracking UIDs of lesions, but for those in
    ``carried`` (label to UID), which an earlier revision has given. ``lineage_key`` is the same for all revisions of
    one source series and application: result series derive from it. ``created`` comes from the ledger, never from
    the clock, so that the same job writes the same bytes; it is in the zone of the site and is written as it is where
    the source names no zone. ``weights`` pairs names with SHA-256 digests.
    ``series_number`` is the source's, for people.
    """

    job_key: str
    lineage_key: str
    created: datetime
    device_serial_number: str
    software_version: str
    algorithm_name: str
    algorithm_version: str
    weights: tuple[tuple[str, str], ...] = ()
    parameters: str = ""
    is_trained_on_synthetic_data: bool = True
    is_classified_by_synthetic_data: bool = True
    predecessor: Predecessor | None = None
    carried: Mapping[int, str] = field(default_factory=dict)
    series_number: str = ""

    @property
    def revision(self) -> int:
        """Count the results of one lineage from 1: viewers show the last instance of a series."""
        return self.predecessor.revision + 1 if self.predecessor else 1

    def of_refusal(self, reason: str) -> "Provenance":
        """Give the provenance of the report "not analysed" for one reason: other instances than an analysis would be.

        A retry may yet write those. One that fails again for the same reason supersedes nothing: it is the same.
        """
        refusal = replace(self, job_key=f"{self.job_key} not analysed {reason}")
        before = self.predecessor
        is_itself = before is not None and before.sop_instance_uid == refusal.sop_instance_uid(REPORT_ROLE)
        return replace(refusal, predecessor=None) if is_itself else refusal

    def sop_instance_uid(self, role: str) -> str:
        return uid.derive(self.job_key, f"{role} instance")

    def series_instance_uid(self, role: str) -> str:
        return uid.derive(self.lineage_key, f"{role} series")

    def identity(self, role: str, series_number: int) -> dict[str, Any]:
        """Give what highdicom's constructors ask of every object: who it is, and which device wrote it."""
        return {
            "series_instance_uid": self.series_instance_uid(role),
            "series_number": series_number,
            "sop_instance_uid": self.sop_instance_uid(role),
            "instance_number": self.revision,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MODEL_NAME,
            "software_versions": self.software_version,
            "device_serial_number": self.device_serial_number,
        }

    def tracking_uid(self, label: int) -> str:
        """Give the tracking UID of a lesion: the one it has had, or one of its own."""
        return self.carried.get(label) or uid.derive(self.job_key, "tracking", label)

    def tracking_uid_of(self, title: str) -> str:
        """Give the tracking UID of a group of the report that is no lesion."""
        return uid.derive(self.lineage_key, f"tracking {title}")


def is_ours(header: Dataset) -> bool:
    """Recognise a result of this node or of an earlier version, by the equipment that the object itself names.

    A result must never start a job. The AE title cannot tell: results come back from archives under the archive's own.
    """
    contributors = header.get("ContributingEquipmentSequence") or []
    return any(_equipment(item) in OUR_EQUIPMENT for item in (header, *contributors))


def _equipment(item: Dataset) -> tuple[str, ...]:
    """Read who made an object; archives that change the case of a text leave it recognisable."""
    return tuple(str(item.get(keyword, "")).strip().casefold() for keyword in ("Manufacturer", "ManufacturerModelName"))
