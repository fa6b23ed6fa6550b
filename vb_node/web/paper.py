"""What pages are made of: the ledger and the shelves they show, and the templates they are drawn by."""

import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from storage import audit
from storage.database import Database
from storage.disk import Disk
from storage.schema import Job
from vb_node import show
from vb_node.config import Settings
from vb_node.web import users, views
from vb_node.web.slices import Slices

LOOK_S = 60.0
PAGES: tuple[tuple[str, str, users.Action], ...] = (
    ("/", "Overview", "see"),
    ("/jobs", "Jobs", "see"),
    ("/destinations", "Destinations", "see"),
    ("/rules", "Rules", "see"),
    ("/shadow", "Shadow", "see"),
    ("/drift", "Drift", "see"),
    ("/upload", "Upload", "operate"),
    ("/audit", "Audit", "audit"),
    ("/system", "System", "see"),
)


class Looks:
    """Who looked at which job, and when last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[tuple[str, int], float] = {}

    def is_new(self, name: str, job_id: int) -> bool:
        """Say whether this user has not looked at the job for ``LOOK_S``."""
        key, now = (name, job_id), time.monotonic()
        with self._lock:
            is_new = now - self._last.get(key, -math.inf) > LOOK_S
            self._last = {one: at for one, at in self._last.items() if now - at <= LOOK_S} | {key: now}
        return is_new


@dataclass(frozen=True)
class House:
    """What the pages show, and through what they change it."""

    database: Database
    settings: Settings
    disk: Disk
    slices: Slices
    looks: Looks = field(default_factory=Looks)

    def tell(self, user: users.User, event: str, details: dict[str, Any], **keys: Any) -> None:
        """Write down what a user did on a page."""
        with self.database.write() as session:
            audit.record(session, event, now=time.time(), actor="web", user=user.name, details=details, **keys)

    def tell_look(self, user: users.User, job: Job) -> None:
        """Tell that a job is looked at: once while its page stays open, however often that asks."""
        if self.looks.is_new(user.name, job.id):
            self.tell(user, "job viewed", {}, **audit.keys_of(job))


class Paper:
    """Draws pages; every value is text, never markup."""

    def __init__(self, house: House) -> None:
        self._templates = Environment(
            loader=PackageLoader("vb_node.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.globals |= {
            "ago": views.ago,
            "clock": views.clock,
            "details": show.details,
            "ae_title": house.settings.node.ae_title,
        }

    def page(self, request: Request, user: users.User | None, name: str, here: str, **words: Any) -> HTMLResponse:
        """Draw a page of a user, or of a stranger; ``here`` is its path in the list of pages."""
        pages = [(path, title) for path, title, action in PAGES if user is not None and user.may(action)]
        shown = {"user": user, "here": here, "pages": pages, "csrf_token": users.csrf_token(request)}
        return HTMLResponse(self._templates.get_template(f"{name}.html").render(shown | words))
