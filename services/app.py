"""One ASGI application: tiles, OGC APIs, the viewer, health."""

import os
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cim.config import Settings, read_settings
from cim.errors import CimError
from cim.store.connection import LostConnection, UnusableValue, open_pool, open_store, open_watch_pool
from services.http import data, errors, events, flow, observations, styles, tiles, uploads, viewer, watch
from services.http.ask import ASK, read_ask
from services.http.context import Context, of
from services.http.spool import Spools
from services.ogc import processes, result_collection, routes, transactions


async def health(request: Request) -> Response:
    """Answer whether the database answers, whatever else is being asked of it."""
    context = of(request)
    await watch.looked(lambda: _answers(context))
    return JSONResponse({"status": "ok", "city": context.store.city.name})


def _answers(context: Context) -> None:
    with context.watching() as cursor:
        cursor.execute("SELECT 1")


ROUTES = [
    Route("/health", health),
    *watch.ROUTES,
    *tiles.ROUTES,
    *styles.ROUTES,
    *observations.ROUTES,
    *data.ROUTES,
    *processes.ROUTES,
    *result_collection.ROUTES,
    *transactions.ROUTES,
    *uploads.ROUTES,
    *routes.ROUTES,
    *events.ROUTES,
    *viewer.ROUTES,
]


class AskMiddleware:
    """Reads who asks, when, in which language, from which address, and lets the request through with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            ask = read_ask(request)
            if "authorization" in request.headers or "x-api-key" in request.headers:
                ask = replace(ask, account=await run_in_threadpool(of(request).account, request.headers))
            ASK.set(ask)
        except CimError as error:
            await errors.answer(request, error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _warm_up() -> None:
    """Import what the first frame and the first form need: seconds that nobody should wait for."""
    from cim.analysis.engine.registry import analyses

    for row in analyses().values():
        row.declaration  # noqa: B018 - imports it


def create_app(settings: Settings) -> Starlette:
    """Make the application of a state; it opens the store when it starts and closes it when it stops."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, float]]:
        with ExitStack() as stack:
            store = stack.enter_context(open_store(settings))
            pool = stack.enter_context(open_pool(store.server_url))
            watch_pool = stack.enter_context(open_watch_pool(store.server_url))
            spools = Spools(settings.spool_store, settings.spool_mb * 1_000_000)
            stack.callback(spools.close)
            app.state.context = Context(store, pool, watch_pool, spools)
            app.state.events = events.Events(store.server_url)
            app.state.events.start()
            threading.Thread(target=_warm_up, daemon=True).start()
            yield {flow.WAIT_KEY: settings.client_wait_s}
            app.state.events.stop()

    return Starlette(
        routes=ROUTES,
        middleware=[
            Middleware(flow.FlowMiddleware, wait_s=settings.client_wait_s, files=("/viewer/uploads",)),
            Middleware(watch.WatchMiddleware),
            Middleware(GZipMiddleware, minimum_size=700, compresslevel=1),
            Middleware(AskMiddleware),
        ],
        exception_handlers={
            CimError: errors.answer,
            LostConnection: errors.lost_connection,
            UnusableValue: errors.unusable_value,
        },
        lifespan=lifespan,
    )


def from_environment() -> Starlette:
    """Make the application of the environment's state; what a worker process of the server calls."""
    settings = read_settings(os.environ)
    if settings.log == "json":
        watch.log_as_json()
    return create_app(settings)
