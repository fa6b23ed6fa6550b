"""The one application of the web station: what answers to which path, and how errors are told (RELIABILITY W-03)."""

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute

from storage.database import Database
from vb_node.config import Settings
from vb_node.web import api, users
from vb_node.web.paper import Paper

API_VERSION = "1"


def build(database: Database, settings: Settings, paper: Paper, routes: Sequence[BaseRoute]) -> FastAPI:
    """Put the API and other routes together; they find ledger, settings and paper in ``app.state``."""
    app = FastAPI(title="vb-node", version=API_VERSION, docs_url=None, redoc_url=None, routes=list(routes))
    app.state.database, app.state.settings, app.state.paper = database, settings, paper
    app.include_router(api.router)
    app.add_exception_handler(HTTPException, _tell)
    app.add_exception_handler(RequestValidationError, _tell_wrong_words)
    app.add_exception_handler(Exception, _tell_fault)
    return app


def _tell(request: Request, error: Exception) -> Response:
    """Tell a refusal: to a program of the API as JSON, to a person as a page, to all others as text."""
    code, why, headers = (getattr(error, name) for name in ("status_code", "detail", "headers"))
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": why}, code, headers)
    if code >= HTTPStatus.BAD_REQUEST and users.wants_page(request):
        paper: Paper = request.app.state.paper
        heading = HTTPStatus(code).phrase
        page = paper.page(request, users.known(request), "refusal", "", heading=heading, why=why)
        page.status_code = code
        page.headers.update(headers or {})
        return page
    return PlainTextResponse(why, code, headers)


async def _tell_wrong_words(_request: Request, error: Exception) -> Response:
    """Name each parameter that is wrong and what was expected; what came is not repeated."""
    problems = error.errors() if isinstance(error, RequestValidationError) else ()
    wrong = [
        {"parameter": None, "expected": "only names of /openapi.json"}
        if one["type"] == "extra_forbidden"
        else {"parameter": str(one["loc"][-1]), "expected": one["msg"]}
        for one in problems
    ]
    return JSONResponse({"error": "a parameter is not what was expected", "wrong": wrong}, 422)


async def _tell_fault(_request: Request, _error: Exception) -> Response:
    """Tell a fault of ours; what it was is in the log."""
    return JSONResponse({"error": "a fault of this node; its log says more"}, 500)
