"""Bytes in and out: what a client that is slow, silent, or goes on for ever may hold of the server.

A client that takes none of an answer's next quarter of a megabyte for a while (`client_wait_s`), or sends nothing of a
body that it announced, is dropped; a body has a largest size. Behind the application the system drops a connection
whose last bytes nobody acknowledges, so that none outlives its client.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cim.errors import TooLarge
from cim.messages import say

PIECE_BYTES = 262_144  # that a client has to take in the time that it has
LARGEST_BODY = 16_000_000  # of a request, where its route doesn't take files
WAIT_KEY = "client_wait_s"  # in the state that the application shares with its connections
DROP = "cim.drop"  # the extension of a request by which its connection is ended at once
_LOG = logging.getLogger("uvicorn.error")


class Dropped(Exception):
    """An answer that ends where it is, its connection with it."""


class FlowMiddleware:
    """Gives each piece of an answer, and of a request's body, its time, and the body a largest size."""

    def __init__(self, app: ASGIApp, wait_s: float, files: tuple[str, ...] = ()) -> None:
        self._app = app
        self._wait_s = wait_s  # that a client has for a piece
        self._files = files  # paths that begin so take files, and say themselves how large one may be

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size, whole = 0, False

        async def received_in_time() -> Message:
            nonlocal size, whole
            if whole:  # the client has nothing more to send: it may wait as long as the answer takes
                return await receive()
            async with _in_time(self._wait_s, "sent nothing more of its request"):
                message = await receive()
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > LARGEST_BODY and not scope["path"].startswith(self._files):
                raise TooLarge(say("body-more-than-mb", largest_body=LARGEST_BODY // 1_000_000))
            return message

        async def sent_in_time(message: Message) -> None:
            for piece in _pieces(message):
                async with _in_time(self._wait_s, "took nothing more of its answer"):
                    await send(piece)

        try:
            await self._app(scope, received_in_time, sent_in_time)
        except (Dropped, ClientDisconnect) as fault:
            _LOG.warning(
                "%s %s is dropped: %s", scope["method"], scope["path"], fault or "the client left",
                exc_info=fault.__cause__,
            )  # fmt: skip
            drop = scope.get("extensions", {}).get(DROP)
            if drop is None:
                raise
            drop()
            await asyncio.sleep(0)  # in which the connection takes notice


@asynccontextmanager
async def _in_time(seconds: float, otherwise: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Dropped(f"in {seconds:g} s the client {otherwise}") from None


def _pieces(message: Message) -> Iterator[Message]:
    """Yield a message, a large body in pieces, of which each begins when the one before has been taken."""
    body = message.get("body", b"")
    if len(body) <= PIECE_BYTES:
        yield message
        return
    view = memoryview(body)
    for start in range(0, len(body), PIECE_BYTES):
        end = start + PIECE_BYTES
        more = end < len(body) or message.get("more_body", False)
        yield {**message, "body": bytes(view[start:end]), "more_body": more}


class Connection(HttpToolsProtocol):
    """A connection of uvicorn's that ends when no request comes, and when nobody acknowledges what was sent."""

    _headers: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, with the time after which the system gives up a client that acknowledges nothing."""
        super().connection_made(transport)
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._wait_s * 1000))
        self._expect_headers()

    def on_message_begin(self) -> None:
        """Begin a request, and tell the application how to end its connection."""
        super().on_message_begin()
        self.scope["extensions"] = {DROP: self.drop}  # type: ignore[dict-item]
        self._expect_headers()

    def drop(self) -> None:
        """End at once: what nobody took is forgotten, here and in the system."""
        connected = self.transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def on_headers_complete(self) -> None:
        """Hand a request on."""
        self._forget_headers()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._forget_headers()
        super().connection_lost(exc)

    @property
    def _wait_s(self) -> float:
        return float(self.app_state.get(WAIT_KEY, 60))

    def _expect_headers(self) -> None:
        self._forget_headers()
        self._headers = self.loop.call_later(self._wait_s, self.drop)

    def _forget_headers(self) -> None:
        if self._headers is not None:
            self._headers.cancel()
            self._headers = None
