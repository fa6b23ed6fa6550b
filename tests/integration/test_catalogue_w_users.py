"""Catalogue W-04, W-05, W-13 to W-17 and W-20 of RELIABILITY.md, section 4: who may do what by HTTP."""

from collections.abc import Iterator

import pytest
from people import ROLES, add_job, add_users, program
from web_process import WebProcess

from storage import audit
from storage.database import Database
from storage.schema import Event

DESTINATION = """
[[destinations]]
name = "pacs"
ae_title = "PACS"
"""
SEE, OPERATE, AUDIT = ("viewer", "operator", "auditor", "admin"), ("operator", "admin"), ("auditor", "admin")
ENDPOINTS = (
    ("GET", "/api/v1/jobs", SEE),
    ("GET", "/api/v1/jobs/{job}", SEE),
    ("GET", "/api/v1/destinations", SEE),
    ("GET", "/api/v1/stations", SEE),
    ("GET", "/api/v1/audit", AUDIT),
    ("GET", "/api/v1/audit/verify", AUDIT),
    ("POST", "/api/v1/jobs/{job}/retry", OPERATE),
    ("POST", "/api/v1/jobs/{job}/cancel", OPERATE),
    ("POST", "/api/v1/deliveries/{job}/send-again", OPERATE),
)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    process = WebProcess(tmp_path_factory.mktemp("web"), DESTINATION).start()
    add_users(process.database)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def database(web: WebProcess) -> Database:
    return web.database


def _events(database: Database, event: str) -> list[Event]:
    with database.read() as session:
        return list(audit.search(session, since=None, until=None, limit=1000, event=event))


@pytest.mark.parametrize("role", [None, *ROLES])
@pytest.mark.parametrize(("method", "path", "allowed"), ENDPOINTS, ids=str)
def test_w_13_each_role_may_what_it_may_and_nothing_else(
    web: WebProcess, database: Database, role: str | None, method: str, path: str, allowed: tuple[str, ...]
) -> None:
    job_id = add_job(database)

    with program(web.url, role) as client:
        answer = client.request(method, path.format(job=job_id))

    if role is None:
        assert answer.status_code == (401 if method == "GET" else 403)  # a change shows a token or an origin first
    elif role in allowed:
        assert answer.status_code == 200, answer.text
    else:
        assert answer.status_code == 403
        assert _events(database, "access refused")[-1].user == f"{role}-program"
