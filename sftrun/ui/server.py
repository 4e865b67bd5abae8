"""The server of `sftrun ui`: files, JSON, and two things that it does: ask a run to stop, and ask its models.

It listens on this machine alone, and answers only who has the token: a page of another site can't read it (the cookie
is SameSite=Strict), can't write to it (the same, and Origin), and can't reach it under a name of its own (Host).
"""

import asyncio
import json
import math
import secrets
import signal
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import Any, Final

from aiohttp import web

from sftrun.contract.question import Question
from sftrun.disk import outside
from sftrun.errors import RunNotFound, SftrunError
from sftrun.ui.chats import Chats
from sftrun.ui.ledger_view import LedgerView
from sftrun.ui.watched import UNDER_WAY

HOST: Final = "127.0.0.1"
COOKIE: Final = "sftrun-ui"
RUNS: Final = web.AppKey("runs", LedgerView)
CHATS: Final = web.AppKey("chats", Chats)
TOKEN: Final = web.AppKey("token", str)
PAGE: Final = "index.html"
FILES: Final = {
    PAGE: "text/html",
    "app.js": "text/javascript",
    "charts.js": "text/javascript",
    "elements.js": "text/javascript",
    "run.js": "text/javascript",
    "style.css": "text/css",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
}
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(runs: LedgerView) -> web.Application:
    """The application, with a new token."""
    app = web.Application(middlewares=[_guard, _explain], client_max_size=1 << 20)
    app[RUNS], app[CHATS], app[TOKEN] = runs, Chats(), secrets.token_urlsafe(24)
    app.router.add_get("/", _page)
    app.router.add_get("/files/{name}", _file)
    app.router.add_get("/api/runs", _overview)
    app.router.add_get("/api/runs/{run}", _run)
    app.router.add_get("/api/compare", _compare)
    app.router.add_post("/api/runs/{run}/cancel", _cancel)
    app.router.add_post("/api/runs/{run}/ask", _ask)
    app.on_cleanup.append(_close_chats)
    return app


async def serve(app: web.Application, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM, or until the task is cancelled; `ready` hears the URL.  OSError where the port is taken."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        bound = runner.addresses[0][1]
        ready(f"http://{HOST}:{bound}/?token={app[TOKEN]}")
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        await ended.wait()
    finally:
        await runner.cleanup()


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Only by this machine's own name, only with the token, and to write only from a page of ours."""
    host = request.host.rpartition(":")[0] or request.host
    if host not in (HOST, "localhost"):
        return _refusal(403, "this page is served to this machine alone")
    if not _knows_token(request):
        return _refusal(401, "open the URL that `sftrun ui` printed: it holds the token")
    if request.method != "GET" and request.headers.get("Origin") != f"http://{request.host}":
        return _refusal(403, "only a page of this server may ask for that")
    response = await handler(request)
    response.headers.update(HEADERS)
    return response


@web.middleware
async def _explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is wrong with the world, in words and a help line."""
    try:
        return await handler(request)
    except RunNotFound as error:
        return _said(404, error)
    except SftrunError as error:
        return _said(409, error)


def _knows_token(request: web.Request) -> bool:
    token = request.app[TOKEN]
    given = (request.cookies.get(_cookie(request), ""), request.query.get("token", ""))
    return any(secrets.compare_digest(one.encode(), token.encode()) for one in given)


def _cookie(request: web.Request) -> str:
    """Cookies are shared by the ports of a host, and several ledgers may have their page."""
    return f"{COOKIE}-{request.host.rpartition(':')[2]}"


async def _page(request: web.Request) -> web.StreamResponse:
    """The page; a token in the address becomes a cookie and leaves the address."""
    if "token" in request.query:
        moved = web.Response(status=303, headers={"Location": "/"})
        moved.set_cookie(_cookie(request), request.app[TOKEN], httponly=True, samesite="Strict", path="/")
        return moved
    return _content(PAGE)


async def _file(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    return _content(name) if name in FILES else _refusal(404, "no such file")


def _content(name: str) -> web.Response:
    body = resources.files("sftrun.ui").joinpath("static", name).read_bytes()
    return web.Response(body=body, content_type=FILES[name], charset="utf-8")


async def _overview(request: web.Request) -> web.StreamResponse:
    return await _json(request.app[RUNS].overview)


async def _run(request: web.Request) -> web.StreamResponse:
    return await _json(lambda: request.app[RUNS].one(request.match_info["run"]).view())


async def _compare(request: web.Request) -> web.StreamResponse:
    names = [name for name in request.query.get("runs", "").split(",") if name]
    return await _json(lambda: request.app[RUNS].compared(names))


async def _cancel(request: web.Request) -> web.StreamResponse:
    """Ask for a stop at the next step, as `sftrun cancel` does."""

    def stop() -> Mapping[str, Any]:
        run = request.app[RUNS].one(request.match_info["run"])
        if run.state().status in UNDER_WAY:
            run.backend.request_stop(run.folder)
            return {"said": "it stops at its next step, with a checkpoint"}
        return {"said": "it is not under way"}

    return await _json(stop)


async def _ask(request: web.Request) -> web.StreamResponse:
    try:
        question = outside.parse_model(Question, await request.read())
    except outside.Damaged:
        return _refusal(400, "this is no question")
    run = request.match_info["run"]
    return await _json(lambda: request.app[CHATS].ask(request.app[RUNS].one(run), question).model_dump(mode="json"))


async def _json(make: Callable[[], Mapping[str, Any]]) -> web.Response:
    """What a thread finds: files are read and processes asked there."""
    found = await asyncio.get_running_loop().run_in_executor(None, make)
    return web.Response(text=json.dumps(_finite(found), ensure_ascii=False), content_type="application/json")


def _finite(value: Any) -> Any:
    """A loss that is no number is null: JSON has no name for it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


async def _close_chats(app: web.Application) -> None:
    await asyncio.get_running_loop().run_in_executor(None, app[CHATS].close)


def _said(status: int, error: SftrunError) -> web.Response:
    return web.json_response({"error": error.message, "help": error.help or ""}, status=status)


def _refusal(status: int, said: str) -> web.Response:
    return web.json_response({"error": said, "help": ""}, status=status, headers=HEADERS)
