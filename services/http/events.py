"""`/viewer/events`: what changed, pushed to the pages that show it (server-sent events)."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from cim.errors import CimError
from cim.store.connection import LostConnection, connect, notifications
from cim.store.outbox import UPDATED

QUIET_S = 15.0  # after which a comment keeps the connection open through proxies
MOST_WAITING = 100


class Events:
    """One connection that listens, and the pages that hear of it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pages: set[asyncio.Queue[str]] = set()
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to listen; called in the event loop."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, daemon=True).start()

    def stop(self) -> None:
        """End to listen."""
        self._stopping.set()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            with suppress(CimError, LostConnection), connect(self._url, autocommit=True) as connection:
                while not self._stopping.is_set():
                    for _, payload in notifications(connection, [UPDATED], 1.0):
                        if self._loop and not self._loop.is_closed():
                            self._loop.call_soon_threadsafe(self._tell, payload)
            self._stopping.wait(1.0)

    def _tell(self, payload: str) -> None:
        for page in self._pages:
            with suppress(asyncio.QueueFull):
                page.put_nowait(payload)

    async def of_page(self) -> AsyncIterator[str]:
        """Yield events as the stream writes them."""
        page: asyncio.Queue[str] = asyncio.Queue(MOST_WAITING)
        self._pages.add(page)
        try:
            yield "retry: 2000\n\n"
            while not self._stopping.is_set():
                try:
                    yield f"data: {await asyncio.wait_for(page.get(), QUIET_S)}\n\n"
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            self._pages.discard(page)


async def events(request: Request) -> Response:
    """Answer with an event for each layer that changes: {"layer", "tiles"}."""
    listener: Events = request.app.state.events
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(listener.of_page(), media_type="text/event-stream", headers=headers)


ROUTES = [Route("/viewer/events", events)]
