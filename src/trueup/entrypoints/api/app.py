"""The hub's web server: vendors' calls on plain asynchronous routes, the API and the pages behind them."""

import asyncio
import gc
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import msgspec
import structlog
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trueup.entrypoints.api import (
    adjusting,
    budgets,
    close,
    documents,
    effects,
    events,
    evidence,
    experience,
    issues,
    labour,
    metrics,
    problems,
    process,
    reconcile,
    subscribers,
    system,
)
from trueup.entrypoints.api.auth import Tokens
from trueup.entrypoints.api.hooks import Keeper, receiver
from trueup.entrypoints.api.openapi import describe
from trueup.entrypoints.api.problems import Problem
from trueup.entrypoints.web import pages
from trueup.kernel.errors import Broken
from trueup.pipeline.house import House

log = structlog.get_logger("trueup.api")

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32_768
HEALTH_SECONDS = 2.0
START_SECONDS = 10.0
STOP_SECONDS = 3


def create(house: House) -> "Guard":
    """Build the whole application over a house."""
    keeper = Keeper(house.database)

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(keeper.close)

    looking: list[asyncio.Task[None]] = []

    async def health(_: Request) -> Response:
        if not looking or looking[0].done():  # however many ask, one thread at most waits for the database
            looking[:] = [asyncio.create_task(asyncio.to_thread(_touch, house))]
            looking[0].add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await asyncio.shield(looking[0])
        except Exception as away:
            raise Problem("busy", "the database is away") from away
        return JSONResponse({"status": "ok"})

    api = _api(house)
    outer = Starlette(
        routes=[
            Route("/hooks/{system}", receiver(house, keeper), methods=METHODS),
            Route("/healthz", health, methods=["GET"]),
            Behind(("/hooks",), _nobody),
            Behind(("/v1", "/docs/errors"), api),
            *pages.routes(house),
        ],
        exception_handlers=dict(problems.HANDLERS),
        lifespan=life,
    )
    return Guard(outer, api)


PARTS = (
    events,
    subscribers,
    adjusting,
    budgets,
    issues,
    evidence,
    process,
    close,
    effects,
    reconcile,
    documents,
    experience,
    labour,
    metrics,
    system,
)
"""Everything the API is made of; fixed paths come before those of objects."""


def _api(house: House) -> FastAPI:
    """Build the API: its routes, its problems, its description."""
    api = FastAPI(title="Trueup", openapi_url=None, docs_url=None, redoc_url=None)
    api.state.house = house
    api.state.tokens = Tokens(house)
    api.state.streams = 0
    api.state.stopping = False
    for fault, answered in problems.HANDLERS.items():
        api.add_exception_handler(fault, answered)
    # Fixed paths come before those of objects: an identifier may have slashes.
    for part in PARTS:
        api.include_router(part.router)
    described: list[bytes] = []

    async def openapi(_: Request) -> Response:
        if not described:
            described.append(msgspec.json.encode(describe(api)))
        return Response(described[0], media_type="application/json")

    api.add_route("/v1/openapi.json", openapi, include_in_schema=False)
    api.add_route("/docs/errors/{code}", problems.page, include_in_schema=False)
    return api


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    raise Problem("not_found", "no system of this name calls here")


class Behind(BaseRoute):
    """An application that answers everything under some paths, without taking them off."""

    def __init__(self, paths: Sequence[str], app: ASGIApp) -> None:
        self._paths = tuple(paths)
        self._app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether the path is one of ours."""
        path = scope.get("path", "")
        ours = any(path == one or path.startswith(f"{one}/") for one in self._paths)
        return (Match.FULL, {}) if ours and scope["type"] == "http" else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        await self._app(scope, receive, send)


def _touch(house: House) -> None:
    with house.database.transaction() as tx:
        tx.value("select 1")


class Guard:
    """The outermost wall: no monstrous headers in, no exception out."""

    def __init__(self, app: ASGIApp, api: FastAPI) -> None:
        self._app = app
        self._api = api

    def stop(self) -> None:
        """Let what never ends by itself end: the server is going."""
        self._api.state.stopping = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
            await send(message)

        headers = scope["headers"]
        if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
            problem = Problem(
                "headers_too_large",
                f"more than {MAX_HEADER_BYTES} bytes or {MAX_HEADERS} headers",
                headers={"Connection": "close"},
            )
            await problems.response(scope, problem)(scope, receive, sending)
            return
        if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            problem = Problem("bad_request", "a NUL character stands in the address")
            await problems.response(scope, problem)(scope, receive, sending)
            return
        try:
            await self._app(scope, receive, sending)
        except Exception as fault:
            if not started:  # the routers answer what they know; this is what they do not
                await problems.response(scope, problems.of_exception(fault, scope))(scope, receive, sending)


def listen(host: str, port: int) -> socket.socket:
    """Take an address; port 0 takes a free one.

    Raises    Broken when somebody else has it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as wrong:
        taken.close()
        raise Broken(f"cannot listen on {host}:{port}: {wrong.strerror}; set another address") from wrong
    taken.listen(2048)
    return taken


def serve(app: Guard, host: str, port: int) -> None:
    """Serve until the process is told to stop."""
    place = listen(host, port)
    steady()
    _server(app).run(sockets=[place])


def steady() -> None:
    """Take everything loaded so far out of the collector's sight: its pauses were the slowest answers."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@contextmanager
def running(app: Guard, port: int = 0, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve in a thread for the length of a `with`; gives the base URL. Port 0 takes a free one."""
    place = listen(host, port)
    server = _server(app)
    thread = threading.Thread(target=server.run, args=([place],), name="api", daemon=True)
    thread.start()
    until = time.monotonic() + START_SECONDS
    while not server.started:
        if time.monotonic() > until or not thread.is_alive():
            raise Broken("the web server did not start")
        time.sleep(0.005)
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{place.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS + START_SECONDS)


def _server(app: Guard) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        loop="auto",
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="critical",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return _Server(config, app)


class _Server(uvicorn.Server):
    """Tells the application that it is about to stop, so that nobody waits for streams."""

    def __init__(self, config: uvicorn.Config, app: Guard) -> None:
        super().__init__(config)
        self._guard = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._guard.stop()
        await super().shutdown(sockets)
