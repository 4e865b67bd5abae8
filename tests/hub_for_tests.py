"""As much of the Hub on loopback as its own client asks for: one model, gated or not, and what goes wrong."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """`asked` are the requests so far, `heard` their (path, authorization, range).

    `is_gated` refuses them as the Hub does, `refusal` with a status and the Hub's own word for it; `elsewhere` is the
    store that it sends readers of weights to, `info` an answer in the place of what is told of the model.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.files = name, {path.name: path for path in folder.iterdir() if path.is_file()}
        self.asked: list[str] = []
        self.heard: list[tuple[str, str | None, str | None]] = []
        self.is_gated = False
        self.refusal: tuple[int, str] | None = None
        self.elsewhere: str | None = None
        self.info: bytes | None = None
        self.url = ""


@contextmanager
def serve(name: str, folder: Path) -> Iterator[Hub]:
    hub = Hub(name, folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)  # how soon it hears of its end
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None: ...

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(f"{self.command} {path}")
        self.hub.heard.append((path, self.headers["Authorization"], self.headers["Range"]))
        if self.hub.refusal is not None:
            status, word = self.hub.refusal
            return self._send(b"refused", status, {"X-Error-Code": word} if word else {}, with_body=with_body)
        if path.startswith(f"/{self.hub.name}/resolve/"):
            return self._file(path.rpartition("/")[2], with_body=with_body)
        if path.startswith(f"/api/models/{self.hub.name}/tree/"):
            rows = [{"type": "file", "path": n, "size": p.stat().st_size, "oid": _hash(p)} for n, p in self._files()]
            return self._send(json.dumps(rows).encode(), with_body=with_body)
        if path.startswith(f"/api/models/{self.hub.name}"):
            siblings = [{"rfilename": name} for name in self.hub.files]
            gated = "manual" if self.hub.is_gated else False
            told = {"id": self.hub.name, "sha": COMMIT, "siblings": siblings, "private": False, "gated": gated}
            said = json.dumps(told).encode() if self.hub.info is None else self.hub.info
            return self._send(said, with_body=with_body)
        return self._send(b"no such thing", 404, with_body=with_body)

    def _files(self) -> list[tuple[str, Path]]:
        return sorted(self.hub.files.items())

    def _file(self, name: str, *, with_body: bool) -> None:
        if self.hub.is_gated:
            return self._send(b"gated", 403, {"X-Error-Code": "GatedRepo"}, with_body=with_body)
        if self.hub.elsewhere and self.headers["Range"]:
            return self._send(b"", 302, {"Location": f"{self.hub.elsewhere}{self.path}"}, with_body=with_body)
        if name not in self.hub.files:
            return self._send(b"", 404, {"X-Error-Code": "EntryNotFound"}, with_body=with_body)
        path = self.hub.files[name]
        data, headers = path.read_bytes(), {"ETag": f'"{_hash(path)}"', "X-Repo-Commit": COMMIT}
        span = self.headers.get("Range", "").removeprefix("bytes=")
        if not span:
            return self._send(data, 200, headers, with_body=with_body)
        first, _, last = span.partition("-")
        end = min(int(last or len(data)), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{end}/{len(data)}"
        return self._send(data[int(first) : end + 1], 206, headers, with_body=with_body)

    def _send(
        self, data: bytes, status: int = 200, headers: dict[str, str] | None = None, *, with_body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if with_body:
            self.wfile.write(data)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:40]
