"""What an application is: a plug-in pipeline that takes a series and gives objects.

An application joins by the entry-point group ``vb_node.applications``; the runtime knows it by this protocol alone.
Importing it must not import torch: the listener and the selection run without.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from pydicom import Dataset

from vb_node.config import Settings
from vb_node.dicom.provenance import Predecessor
from vb_node.dicom.viewers import PROFILES, STANDARD
from vb_node.errors import ConfigError, Unfit
from vb_node.pipeline.select import Choice

GROUP = "vb_node.applications"
Found = TypeVar("Found")


@dataclass(frozen=True)
class Candidate:
    """One series of a study: the header of one of its instances, and how many have come."""

    header: Dataset
    instances: int


@dataclass(frozen=True)
class Case:
    """One run: the files of a whole series, what was planned for them, and who the results will be.

    ``job_key`` names the run, ``lineage_key`` all revisions of it; ``created`` dates its objects. ``progress``
    hears (step, fraction 0-1) and may raise to stop the run. ``left_out`` are SOP classes that no destination takes:
    an object of one need not be written.
    """

    paths: tuple[Path, ...]
    plan: Mapping[str, Any]
    job_key: str
    lineage_key: str
    created: datetime
    device: str
    progress: Callable[[str, float], None]
    device_serial_number: str
    predecessor: Predecessor | None = None
    left_out: Collection[str] = PROFILES[STANDARD]


@dataclass(frozen=True)
class Outcome:
    """What a run gave: objects with their roles, in the order in which they may be sent, and a summary for the ledger.

    ``summary`` is plain JSON without patient data: states, figures, seconds a step.
    """

    objects: tuple[tuple[str, Dataset], ...]
    summary: dict[str, Any] = field(default_factory=dict)


class Application(Protocol):
    """A plug-in pipeline."""

    name: str
    version: str

    def select(self, study: Sequence[Candidate], plan: Mapping[str, Any]) -> list[Choice]:
        """Say of each series of a study whether it is taken, and why."""

    def plan(self, settings: Settings) -> dict[str, Any]:
        """Give all that changes the result, in plain JSON: settings, and as ``weights`` their SHA-256 by name."""

    def run(self, case: Case) -> Outcome:
        """Work on one series.

        Raises
        ------
        Unfit
            The series will never work; ``refuse`` then writes the report that says so.
        Later
            Not now.
        """

    def refuse(self, case: Case, error: Unfit) -> Outcome:
        """Write the report "not analysed" with its reason."""


@runtime_checkable
class Furnished(Protocol):
    """An application whose runs read more than their case and its own package."""

    def reads(self, settings: Settings) -> tuple[Path, ...]:
        """Name the files and folders; nothing else can be read where runs are confined."""


@runtime_checkable
class Warmed(Protocol):
    """An application that has much to load before it can run."""

    def warm(self, plan: Mapping[str, Any], device: str) -> None:
        """Load what runs of a plan need and keep it; what cannot be loaded, a run says again."""


def furniture(applications: Iterable[object], settings: Settings) -> tuple[Path, ...]:
    """Give all that the applications read beside their cases, by the node's settings and by those of its routes."""
    told = [settings, *(settings.of_route(route) for route in settings.routes if route.virtual_biopsy is not None)]
    furnished = [one for one in applications if isinstance(one, Furnished)]
    return tuple(dict.fromkeys(path for each in told for one in furnished for path in one.reads(each)))


def installed() -> dict[str, Application]:
    """Load the applications that are installed, by name."""
    found = [point.load() for point in entry_points(group=GROUP)]
    return {application.name: application for application in found}


def find(applications: Mapping[str, Found], name: str) -> Found:
    """Find one by name; raise ``ConfigError`` naming those that are installed."""
    if name not in applications:
        raise ConfigError(f"application {name!r} is not installed; installed are {sorted(applications)}")
    return applications[name]
