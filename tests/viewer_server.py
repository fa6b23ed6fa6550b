"""OHIF beside a PACS: its files, every page of the application, and the PACS's DICOMweb under one address."""

import json
import threading
import urllib.error
import urllib.request
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from processes import HOST

VIEWER = Path(__file__).parent / "viewer"
DIST = VIEWER / "node_modules" / "@ohif" / "app" / "dist"
DICOM_WEB = "/dicom-web"
DICOMWEB_SOURCE = {
    "name": "pacs",
    "friendlyName": "PACS",
    "qidoRoot": DICOM_WEB,
    "wadoRoot": DICOM_WEB,
    "wadoUriRoot": DICOM_WEB,
    "imageRendering": "wadors",
    "thumbnailRendering": "wadors",
    "qidoSupportsIncludeField": False,
    "supportsFuzzyMatching": False,
    "bulkDataURI": {"enabled": True},
}
SETTINGS = {
    "routerBasename": None,
    "showStudyList": True,
    "extensions": [],
    "modes": [],
    "investigationalUseDialog": {"option": "never"},
    "maxNumberOfWebWorkers": 2,
    "defaultDataSourceName": "pacs",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "pacs",
            "configuration": DICOMWEB_SOURCE,
        }
    ],
}


class Ohif:
    """The web server of a site that shows its PACS in OHIF."""

    def __init__(self, pacs_url: str, port: int) -> None:
        assert (DIST / "index.html").is_file(), f"OHIF expected in {DIST}: run tests/viewer/install.sh"
        self.url = f"http://{HOST}:{port}"
        self._server = ThreadingHTTPServer((HOST, port), partial(_Handler, pacs_url))
        self._thread = threading.Thread(target=self._server.serve_forever)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # a page asks for hundreds of files: connections are kept

    def __init__(self, pacs_url: str, *arguments: Any) -> None:
        self._pacs_url = pacs_url
        super().__init__(*arguments, directory=str(DIST))

    def do_GET(self) -> None:
        if self.path.startswith(DICOM_WEB + "/"):
            self._pass_on()
        elif self.path == "/app-config.js":
            self._answer(HTTPStatus.OK, "text/javascript", f"window.config = {json.dumps(SETTINGS)};".encode())
        else:
            if not Path(self.translate_path(self.path)).is_file():
                self.path = "/index.html"  # one page answers for every route of the application
            super().do_GET()

    def end_headers(self) -> None:
        if not self.path.startswith(DICOM_WEB + "/"):
            self.send_header("Cache-Control", "max-age=3600")
        # without these two a browser gives the page no shared memory, which OHIF's volumes need
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def _pass_on(self) -> None:
        kept = {name: self.headers[name] for name in ("Accept", "Host") if name in self.headers}
        try:
            with urllib.request.urlopen(urllib.request.Request(self._pacs_url + self.path, headers=kept)) as answer:
                self._answer(answer.status, answer.headers["Content-Type"], answer.read())
        except urllib.error.HTTPError as refusal:
            self._answer(refusal.code, refusal.headers["Content-Type"], refusal.read())

    def _answer(self, status: int, content_type: str | None, body: bytes) -> None:
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing of each of them."""
