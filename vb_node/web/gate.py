"""What every request passes: the host's name, its origin, its CSRF token (RELIABILITY W-04, W-15).

A program that shows the API a token, and no cookie, has no origin and no CSRF token to show. Peers have doors of
their own: STOW-RS, and /health and /ready, which say nothing of anybody.
"""

import hmac
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vb_node.dicomweb import multipart
from vb_node.web.users import cookie_of, csrf_of

OWN_DOORS = ("/dicom-web/", "/health", "/ready")
SAFE = ("GET", "HEAD", "OPTIONS")
LONGEST_FORM, MOST_FIELDS = 1 << 16, 100
LONGEST_TOKEN = 200
URLENCODED, FORM_DATA = "application/x-www-form-urlencoded", "multipart/form-data"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
TRANSPORT = {"Strict-Transport-Security": "max-age=31536000"}


class Gate:
    """Wraps the whole application; ``hosts`` are its names beside localhost and the address of the connection."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = HEADERS | (TRANSPORT if scope["scheme"] == "https" else {})

        async def dress(message: Message) -> None:
            """Add each header that the answer does not have already."""
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in headers.items():
                    given.setdefault(name, value)
            await send(message)

        if scope["path"].startswith(OWN_DOORS):
            await self._app(scope, receive, dress)
            return
        try:
            receive = await self._check(scope, receive)
        except HTTPException as refused:
            await _refusal(refused, scope["path"])(scope, receive, dress)
            return
        await self._app(scope, receive, dress)

    async def _check(self, scope: Scope, receive: Receive) -> Receive:
        """Raise ``HTTPException`` for a request that must not pass; give its body to read."""
        request = Request(scope, receive)
        if not self._is_ours(request):
            raise HTTPException(403, "an address or a name of [web] hosts expected as Host")
        if request.method in SAFE:
            return receive
        secret = cookie_of(request)
        if not secret and scope["path"].startswith("/api/"):  # a program: it is known by its token, or not at all
            return receive
        _check_origin(request)
        shown = request.headers.get("x-csrf-token", "")
        media_type, parameters = multipart.content_type(request.headers.get("content-type", ""))
        if media_type == URLENCODED:
            body = await _body(request)
            fields = _fields(body)
            scope.setdefault("state", {})["form"] = fields
            shown, receive = shown or fields.get("csrf_token", ""), _again([_message(body)], receive)
        elif media_type == FORM_DATA and secret and not shown:
            shown, read = await _first_field(parameters.get("boundary", ""), receive)
            receive = _again(read, receive)
        if secret and not hmac.compare_digest(shown.encode(), csrf_of(secret).encode()):
            raise HTTPException(403, "the CSRF token of the session expected: load the page again")
        return receive

    def _is_ours(self, request: Request) -> bool:
        """Say whether the Host is ours: a name that an attacker lets point here is not (DNS rebinding)."""
        try:
            host = (urlsplit(f"//{request.headers.get('host', '')}").hostname or "").rstrip(".")
        except ValueError:
            return False
        server = request.scope.get("server") or ("", 0)
        return host in self._hosts or host == server[0] or (host == "localhost" and _is_loopback(server[0]))


def _refusal(refused: HTTPException, path: str) -> Response:
    if path.startswith("/api/"):
        return JSONResponse({"error": refused.detail}, refused.status_code)
    return PlainTextResponse(refused.detail, refused.status_code)


def form(request: Request) -> Mapping[str, str]:
    """Give the fields of the form that a request brings; of a name that comes twice the last."""
    return getattr(request.state, "form", {})


def _check_origin(request: Request) -> None:
    """Refuse a change that a page of another origin asks for; a program that shows a token needs no origin."""
    if "authorization" in request.headers:
        return
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    own = f"{request.url.scheme}://{request.headers.get('host', '')}".lower()
    if (origin or "").lower() != own or site not in (None, "same-origin"):
        raise HTTPException(403, "an API token, or the Origin of a page of this node, expected")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_FORM:
            raise HTTPException(413, f"a form of {LONGEST_FORM} bytes at most expected")
    return bytes(body)


def _fields(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise HTTPException(400, f"a form of {MOST_FIELDS} fields at most, in UTF-8, expected") from error


async def _first_field(boundary: str, receive: Receive) -> tuple[str, list[Message]]:
    """Read a form with files as far as its first field, the token; give that, empty if it is another, and what came."""
    read: list[Message] = []
    value, is_token = b"", False
    try:
        reader = multipart.Reader(boundary, MOST_FIELDS)
        while len(value) <= LONGEST_TOKEN:
            read.append(await receive())
            for event in reader.feed(read[-1].get("body", b"")):
                if isinstance(event, multipart.Begin):
                    is_token = 'name="csrf_token"' in event.headers.get("content-disposition", "")
                elif isinstance(event, bytes):
                    value += event
                else:
                    return (value.decode("ascii", "replace") if is_token else ""), read
            if not read[-1].get("more_body"):
                break
    except (multipart.Malformed, multipart.TooMuch):
        pass  # a form without the token
    return "", read


def _message(body: bytes) -> Message:
    return {"type": "http.request", "body": body, "more_body": False}


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Let who comes next read what was read."""

    async def read() -> Message:
        return messages.pop(0) if messages else await receive()

    return read


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
