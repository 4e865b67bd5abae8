"""The Hub, without its library: a few range requests that read headers instead of weights.

`huggingface_hub` takes 0.2 s to import and is no part of the base install; the `resolve` address is public and stable.
This page is imported only when the Hub is asked: urllib alone would slow every `validate`.  The token goes to the Hub's
own host and never along a redirect to another.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from sftrun.errors import Problem
from sftrun.facts.model.headers import INDEX, SINGLE, Malformed, header_length, parse_header, parse_object, shard_names
from sftrun.facts.model.hub_cache import home
from sftrun.facts.model.tensor_names import Tensor

_FIRST_BYTES = 200_000
_CONNECTIONS = 8


def token_of(environment: dict[str, str]) -> str | None:
    """The user's token: from the environment, or from where `hf auth login` put it."""
    for key in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if environment.get(key):
            return environment[key].strip()
    path = environment.get("HF_TOKEN_PATH")
    try:
        return (Path(path) if path else home(environment) / "token").read_text().strip() or None
    except (OSError, ValueError):
        return None


class Hub:
    """A repository of the Hub at a revision.  Every failure is a `Malformed` with a clear word."""

    def __init__(self, name: str, revision: str | None, environment: dict[str, str], timeout: float) -> None:
        self.name = name
        self.revision = revision or "main"
        self._endpoint = environment.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        self._token = token_of(environment)
        self._timeout = timeout
        self._opener: OpenerDirector = build_opener(_Redirects())

    def info(self) -> dict[str, object]:
        """What the Hub says of the repository: `sha`, `siblings`, `gated`."""
        path = f"/api/models/{self.name}/revision/{quote(self.revision, safe='')}"
        return parse_object(self._get(path), self.name)

    def config(self) -> dict[str, object]:
        return parse_object(self._file("config.json"), f"{self.name}: config.json")

    def tensors(self, files: frozenset[str]) -> dict[str, Tensor]:
        """All tensors of the checkpoint, by range requests, a few at a time."""
        names = self._weight_files(files)
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            parts = list(pool.map(self._header, names))
        return {name: tensor for part in parts for name, tensor in part.items()}

    def _weight_files(self, files: frozenset[str]) -> tuple[str, ...]:
        if INDEX in files:
            where = f"{self.name}: {INDEX}"
            return shard_names(parse_object(self._file(INDEX), where), where)
        if SINGLE in files:
            return (SINGLE,)
        raise Malformed(
            Problem("unsafe", f"{self.name} has no safetensors weights on the Hub", "choose a model that has them")
        )

    def _header(self, file: str) -> dict[str, Tensor]:
        where = f"{self.name}: {file}"
        start = self._file(file, last_byte=_FIRST_BYTES - 1)
        end = 8 + header_length(start, where)
        text = start[8:end] if end <= len(start) else self._file(file, last_byte=end - 1)[8:end]
        return parse_header(text, where)

    def _file(self, file: str, last_byte: int | None = None) -> bytes:
        return self._get(f"/{self.name}/resolve/{quote(self.revision, safe='')}/{quote(file)}", last_byte)

    def _get(self, path: str, last_byte: int | None = None) -> bytes:
        headers = {"User-Agent": "sftrun"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if last_byte is not None:
            headers["Range"] = f"bytes=0-{last_byte}"
        request = Request(self._endpoint + path, headers=headers)
        return self._translated(lambda: self._read(request, last_byte))

    def _read(self, request: Request, last_byte: int | None) -> bytes:
        with self._opener.open(request, timeout=self._timeout) as answer:
            # a server that ignores ranges would send the weights
            body: bytes = answer.read() if last_byte is None else answer.read(last_byte + 1)
            return body

    def _translated(self, call: Callable[[], bytes]) -> bytes:
        try:
            return call()
        except HTTPError as error:
            raise Malformed(self._refused(error.code)) from None
        except (URLError, HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            host = urlsplit(self._endpoint).hostname
            said = str(reason).lower() or type(reason).__name__
            raise Malformed(
                Problem("unreachable", f"{host} can't be reached: {said}", "check the network, or work `--offline`")
            ) from None

    def _refused(self, status: int) -> Problem:
        if status in (401, 403):
            why = "needs a token that may read it" if not self._token else "is not open to this token"
            return Problem("unknown", f"{self.name} {why}", "accept its terms on the Hub, then set `HF_TOKEN`")
        if status == 404:
            message = f"the Hub has no model {self.name} at `{self.revision}`"
            return Problem("missing", message, "check `model.name_or_path` and `model.revision`")
        return Problem("unreachable", f"the Hub answered {status} for {self.name}", "try again, or work `--offline`")


class _Redirects(HTTPRedirectHandler):
    """Follows a redirect, and leaves the token behind when it leads to another host."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            following.remove_header("Authorization")
        return following


def siblings(info: dict[str, object]) -> frozenset[str]:
    """File names of the Hub's answer."""
    listed: Any = info.get("siblings")
    rows = listed if isinstance(listed, list) else []
    return frozenset(str(row["rfilename"]) for row in rows if isinstance(row, dict) and "rfilename" in row)
