"""What an administrator watches: `/metrics` in the text format of Prometheus, and a log of one JSON line a request."""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cim.errors import NoDatabase
from cim.messages import say
from cim.store.connection import WATCH_S
from services.http import context
from services.http.ask import ASK

_REQUESTS = Counter("cim_requests", "Requests answered, by door, method and status.", ["door", "method", "status"])
_SECONDS = Histogram(
    "cim_request_seconds", "Time to the end of an answer, by door.", ["door"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)  # fmt: skip
_DOORS = frozenset(
    {"ogc", "3dtiles", "tiles", "terrain", "styles", "qgis", "viewer", "data", "observations", "health", "metrics"}
)
_LOOKS = ThreadPoolExecutor(2, "look")
_LOG = logging.getLogger("cim.access")
_ERROR = 500


def log_as_json() -> None:
    """Write the log of requests to standard error, a JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    _LOG.propagate = False


class WatchMiddleware:
    """Counts and times each answer, and logs it; an answer that goes on for ever (events) counts when it ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, size = time.perf_counter(), _ERROR, 0

        async def watched(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - started
            door = scope["path"].lstrip("/").split("/", 1)[0]
            door = door if door in _DOORS else "page"
            _REQUESTS.labels(door, scope["method"], str(status)).inc()
            _SECONDS.labels(door).observe(seconds)
            if _LOG.handlers:
                _LOG.info(_line(scope, status, seconds, size))


def _line(scope: Scope, status: int, seconds: float, size: int) -> str:
    """Return the log line of an answer; a query may hold names of people, and stays out."""
    ask = ASK.get(None)
    entry: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "error" if status >= _ERROR else "info",
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "ms": round(seconds * 1000, 1),
        "bytes": size,
        "address": scope["client"][0] if scope.get("client") else None,
        "account": ask.account.name if ask and ask.account else None,
        "process": os.getpid(),
    }
    return json.dumps(entry, ensure_ascii=False)


class _TwinCollector:
    """What the database knows: jobs by status, the age of the oldest that waits, when something last came in."""

    def __init__(self, state: context.Context) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """Read the figures."""
        with self._state.watching() as cursor:
            jobs = cursor.execute("SELECT status, count(*) FROM cim.job GROUP BY 1").fetchall()
            waits = (
                "SELECT coalesce(extract(epoch FROM now() - min(created)), 0) FROM cim.job WHERE status = 'accepted'"
            )
            waited = cursor.execute(waits).fetchone()
            loaded = cursor.execute(
                "SELECT count(*), coalesce(extract(epoch FROM max(started)), 0) FROM cim.load"
            ).fetchone()
            size = cursor.execute("SELECT pg_database_size(current_database())").fetchone()
        by_status = GaugeMetricFamily("cim_jobs", "Jobs known, by status.", labels=["status"])
        for status, count in jobs:
            by_status.add_metric([status], count)
        yield by_status
        yield GaugeMetricFamily(
            "cim_job_oldest_wait_seconds", "Age of the oldest job that waits.", value=float((waited or [0])[0])
        )
        yield GaugeMetricFamily("cim_loads", "Loads so far.", value=float((loaded or [0, 0])[0]))
        yield GaugeMetricFamily(
            "cim_last_load_timestamp_seconds", "When data last came in.", value=float((loaded or [0, 0])[1])
        )
        yield GaugeMetricFamily("cim_database_bytes", "Size of the database.", value=float((size or [0])[0]))


async def looked[T](look: Callable[[], T]) -> T:
    """Return what a look at the database gives, in a thread that nothing else is done in.

    Raises:
        NoDatabase: it takes too long.

    """
    looking = asyncio.get_running_loop().run_in_executor(_LOOKS, look)
    try:
        async with asyncio.timeout(2 * WATCH_S):
            return await looking
    except TimeoutError as fault:
        raise NoDatabase(say("database-not-answer")) from fault


async def metrics(request: Request) -> Response:
    """Answer the figures of all processes of this server."""
    state = context.of(request)
    return Response(await looked(lambda: _figures(state)), media_type=CONTENT_TYPE_LATEST)


def _figures(state: context.Context) -> bytes:
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    text = generate_latest(registry if "PROMETHEUS_MULTIPROC_DIR" in os.environ else REGISTRY)
    twin = CollectorRegistry()
    twin.register(_TwinCollector(state))
    return text + generate_latest(twin)


ROUTES = [Route("/metrics", metrics)]
