"""Users of pages and API, a ledger with something to see, and browsers and programs that ask for it."""

import time
from itertools import count

import httpx2

from storage import arrivals, jobs, users
from storage.arrivals import Arrived
from storage.database import Database
from storage.schema import Delivery, Job, Result, User
from vb_node.web import passwords
from vb_node.web.users import csrf_of, digest_of

PASSWORD = "correct horse battery"
ROLES = ("viewer", "operator", "auditor", "admin")
TOKENS = {role: f"token-of-the-{role}-0123456789abcdef" for role in ROLES}
_numbers = count(1)
MR = "1.2.840.10008.5.1.4.1.1.4"


def add_users(database: Database) -> None:
    """Add a person of each role, named by it, and a program of each role, with a token."""
    hashed = passwords.hashed(PASSWORD)
    with database.write() as session:
        for role in ROLES:
            users.add(session, User(name=role, role=role, password=hashed, created_at=time.time()), by="test")
            program = User(name=f"{role}-program", role=role, token=digest_of(TOKENS[role]), created_at=time.time())
            users.add(session, program, by="test")


def add_job(database: Database, **columns: object) -> int:
    """Put an instance, a job of it, a result and a parked delivery on the shelves; give the id of job and delivery."""
    number = next(_numbers)
    uid = f"1.2.826.{number}"
    keys = {"study_instance_uid": f"{uid}.1", "series_instance_uid": f"{uid}.2"}
    person = {"patient_id": f"P{number}", "accession_number": f"A{number}"}
    now = time.time()
    arrived = Arrived(
        sop_instance_uid=f"{uid}.3",
        sop_class_uid=MR,
        sha256=f"{number:064x}",
        size_bytes=10,
        peer="SENDER",
        received_at=now,
        **keys,
        **{name: str(columns.get(name, value)) for name, value in person.items()},
    )
    words = {"application": "virtual_biopsy", "version": "1", "route": "r", "plan": {}, "destinations": ["pacs"]}
    words |= {"key": f"{number:064x}", "closed_by": "released", "created_at": now} | keys | person | columns
    with database.write() as session:
        arrivals.record(session, [arrived], actor="receive")
        job = jobs.schedule(session, Job(**words), [(f"{uid}.3", f"{number:064x}")])
        assert job is not None
        session.add(_result(uid, job.id, now))
        session.flush()
        parked = {"state": "parked", "created_at": now, "due_at": now, "detail": "no answer"}
        session.add(Delivery(sop_instance_uid=f"{uid}.4", job_id=job.id, destination="pacs", **parked))
        return job.id


def _result(uid: str, job_id: int, now: float) -> Result:
    words = {"role": "SR", "rank": 1, "sop_class_uid": "1.2", "path": f"{job_id}/1/sr.dcm", "sha256": "0" * 64}
    return Result(sop_instance_uid=f"{uid}.4", job_id=job_id, series_instance_uid=f"{uid}.5", created_at=now, **words)


class Browser(httpx2.Client):
    """What a person uses: it keeps cookies; ``host`` is its own address."""

    def __init__(self, url: str, host: str = "127.0.0.1") -> None:
        self.origin, self.host = url, host
        super().__init__(base_url=url, timeout=30, transport=httpx2.HTTPTransport(local_address=host, verify=False))

    def log_in(self, name: str, password: str = PASSWORD, **fields: str) -> httpx2.Response:
        form = {"name": name, "password": password} | fields
        return self.post("/login", data=form, headers={"Origin": self.origin})

    @property
    def csrf(self) -> dict[str, str]:
        """Give what a page's script sends: the token of the session."""
        (secret,) = self.cookies.values()
        return {"X-CSRF-Token": csrf_of(secret)}

    @property
    def page(self) -> dict[str, str]:
        """Give what tells a page of ours: the origin beside the token."""
        return {"Origin": self.origin} | self.csrf


def program(url: str, role: str | None) -> httpx2.Client:
    """Make the client of a program with the token of a role, or of a stranger."""
    bearer = {"Authorization": f"Bearer {TOKENS[role]}"} if role is not None else {}
    return httpx2.Client(base_url=url, headers=bearer, timeout=30)
