"""One ASGI application: tiles, OGC APIs, the viewer, health."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cim.config import Settings, read_settings
from cim.errors import CimError
from cim.store import LostConnection, open_pool, open_store
from services import http_errors, observation_routes, ogc_routes, tile_routes, viewer_routes
from services.ask import ASK, read_ask
from services.context import Context, of


def health(request: Request) -> Response:
    """Answer whether the database answers."""
    context = of(request)
    with context.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JSONResponse({"status": "ok", "city": context.store.city.name})


async def _ask(request: Request, following: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        ASK.set(read_ask(request))
    except CimError as error:
        return http_errors.answer(request, error)
    return await following(request)


def create_app(settings: Settings) -> Starlette:
    """Make the application of a state; it opens the store when it starts and closes it when it stops."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with ExitStack() as stack:
            store = stack.enter_context(open_store(settings))
            pool = stack.enter_context(open_pool(store.server_url))
            app.state.context = Context(store, pool)
            yield

    return Starlette(
        routes=[
            Route("/health", health),
            *tile_routes.ROUTES,
            *observation_routes.ROUTES,
            *ogc_routes.ROUTES,
            *viewer_routes.ROUTES,
        ],
        middleware=[
            Middleware(GZipMiddleware, minimum_size=700, compresslevel=1),
            Middleware(BaseHTTPMiddleware, _ask),
        ],
        exception_handlers={CimError: http_errors.answer, LostConnection: http_errors.lost_connection},
        lifespan=lifespan,
    )


def from_environment() -> Starlette:
    """Make the application of the environment's state; what a worker process of the server calls."""
    return create_app(read_settings(os.environ))
