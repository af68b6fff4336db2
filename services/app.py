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
from cim.store.connection import LostConnection, open_pool, open_store
from services import (
    data_routes,
    edit_routes,
    events,
    http_errors,
    observation_routes,
    ogc_routes,
    processes,
    style_routes,
    tile_routes,
    upload_routes,
    viewer_routes,
    watch,
)
from services.ask import ASK, read_ask
from services.context import Context, of


def health(request: Request) -> Response:
    """Answer whether the database answers."""
    context = of(request)
    with context.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JSONResponse({"status": "ok", "city": context.store.city.name})


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
            await http_errors.answer(request, error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _warm_up() -> None:
    """Import what the first frame and the first form need: seconds that nobody should wait for."""
    from cim.analysis.engine.registry import analyses

    for row in analyses().values():
        row.code  # noqa: B018 - imports it


def create_app(settings: Settings) -> Starlette:
    """Make the application of a state; it opens the store when it starts and closes it when it stops."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with ExitStack() as stack:
            store = stack.enter_context(open_store(settings))
            pool = stack.enter_context(open_pool(store.server_url))
            app.state.context = Context(store, pool)
            app.state.events = events.Events(store.server_url)
            app.state.events.start()
            threading.Thread(target=_warm_up, daemon=True).start()
            yield
            app.state.events.stop()

    return Starlette(
        routes=[
            Route("/health", health),
            *watch.ROUTES,
            *tile_routes.ROUTES,
            *style_routes.ROUTES,
            *observation_routes.ROUTES,
            *data_routes.ROUTES,
            *processes.ROUTES,
            *edit_routes.ROUTES,
            *upload_routes.ROUTES,
            *ogc_routes.ROUTES,
            *events.ROUTES,
            *viewer_routes.ROUTES,
        ],
        middleware=[
            Middleware(watch.WatchMiddleware),
            Middleware(GZipMiddleware, minimum_size=700, compresslevel=1),
            Middleware(AskMiddleware),
        ],
        exception_handlers={CimError: http_errors.answer, LostConnection: http_errors.lost_connection},
        lifespan=lifespan,
    )


def from_environment() -> Starlette:
    """Make the application of the environment's state; what a worker process of the server calls."""
    settings = read_settings(os.environ)
    if settings.log == "json":
        watch.log_as_json()
    return create_app(settings)
