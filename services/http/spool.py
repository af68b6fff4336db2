"""Downloads on their way: made at the database's speed, sent at the client's, a temporary file between the two.

So no connection of the database waits for a client. A download is made in a thread, of which there are few; its bytes
go out while it is made; when the client leaves, its query ends and the file, which has no name, is gone.
"""

import asyncio
import os
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import IO

from prometheus_client import Gauge
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from cim.errors import TooManyDownloads
from cim.messages import say
from cim.store.connection import Connection, LostConnection
from services.http.flow import Dropped

MOST_MADE = 4  # at a time: more would not be faster, and the other connections stay with the pages
MOST_WAITING = 100  # for their turn
TURN_S = 120.0  # after which a download whose turn doesn't come is refused
PART_BYTES = 1 << 20  # that is read at once on its way out
LOOK_S = 1.0  # how often it is looked whether a client that waits is still there
LEFT_BEHIND_S = 86_400.0  # after which what a killed process left in the folder is removed
_SPOOLED = Gauge("cim_spooled_bytes", "Downloads on their way.", multiprocess_mode="livesum")


class Spools:
    """The downloads of a process: the threads that make them, and what they may take of the disk together."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            if time.time() - left.stat().st_mtime > LEFT_BEHIND_S:
                shutil.rmtree(left, ignore_errors=True)
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self._most_bytes, self._bytes = most_bytes, 0
        self._lock = threading.Lock()
        self._makers = ThreadPoolExecutor(MOST_MADE, "download")
        self.helpers = ThreadPoolExecutor(2, "spool")  # read files, end queries
        self._waiting = 0

    def close(self) -> None:
        """End: what waits isn't begun any more, and what is made has nowhere to go."""
        self._makers.shutdown(wait=False, cancel_futures=True)
        self.helpers.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def begin(self, make: "Make", client_left: Callable[[], Awaitable[bool]]) -> "Spool":
        """Begin a download, and return it when its first bytes are there.

        Args:
            make: writes it, in a thread of its own, as the asker.
            client_left: whether nobody waits for it any more.

        Raises:
            TooManyDownloads: its turn doesn't come.
            Dropped: nobody waits for it any more.
            CimError: what `make` raises before the first byte.

        """
        if self._waiting >= MOST_WAITING:
            raise TooManyDownloads(say("downloads-wait-already", most_waiting=MOST_WAITING))
        spool = Spool(self)
        spool.work = self._makers.submit(copy_context().run, spool.run, make)
        self._waiting += 1
        try:
            await spool.begun(client_left)
        except BaseException:
            spool.close()
            raise
        finally:
            self._waiting -= 1
        return spool

    def take(self, count: int) -> None:
        """Account for bytes on the disk.

        Raises:
            TooManyDownloads: there is no room for them.

        """
        with self._lock:
            if self._bytes + count > self._most_bytes:
                raise TooManyDownloads(say("downloads-under-way-take-mb", most_bytes=self._most_bytes / 1e6))
            self._bytes += count
            _SPOOLED.set(self._bytes)

    def give_back(self, count: int) -> None:
        """Account for bytes that are gone from the disk."""
        with self._lock:
            self._bytes -= count
            _SPOOLED.set(self._bytes)


class Spool:
    """One download: a thread writes it, its client's answer reads it."""

    work: Future[None]

    def __init__(self, spools: Spools) -> None:
        self._spools = spools
        self._loop = asyncio.get_running_loop()
        self._progress = asyncio.Event()
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._query: Connection | None = None
        self._fault: BaseException | None = None
        self._started = self._whole = self._left = False
        self.size = 0  # bytes that are there
        self._taken = 0  # bytes that are accounted for

    # what the thread that makes it calls

    def run(self, make: "Make") -> None:
        """Make it."""
        self._started = True
        try:
            make(self)
        except BaseException as fault:  # noqa: BLE001 - raised again where the answer is made
            self._fault = fault
        self._whole = True
        self._tell()

    def write(self, part: bytes) -> None:
        """Add bytes.

        Raises:
            Dropped: the client left.
            TooManyDownloads: there is no room for them.

        """
        self._stop_if_left()
        self._take(len(part))
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._spools.folder, buffering=0)  # noqa: SIM115 - closed by _release
        written = memoryview(part)
        while written:
            written = written[self._file.write(written) :]
        self.size += len(part)
        self._tell()

    def adopt(self, path: Path) -> None:
        """Take a finished file for the whole; its name may be removed then.

        Raises:
            Dropped: the client left.
            TooManyDownloads: there is no room for it.

        """
        self._stop_if_left()
        size = path.stat().st_size
        self._take(size)
        self._file = path.open("rb", buffering=0)
        self.size = size

    @contextmanager
    def asks(self, connection: Connection) -> Iterator[None]:
        """While the block runs the connection works for this download: a query is ended when the client leaves."""
        with self._lock:
            self._query = connection
        try:
            self._stop_if_left()
            yield
        finally:
            with self._lock:  # not before an end that is under way: it would meet the next who is lent the connection
                self._query = None

    def _take(self, count: int) -> None:
        self._spools.take(count)
        self._taken += count

    def _stop_if_left(self) -> None:
        if self._left:
            raise Dropped("the client left")

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server ends
            self._loop.call_soon_threadsafe(self._progress.set)

    # what the answer calls

    async def begun(self, client_left: Callable[[], Awaitable[bool]]) -> None:
        """Wait for the first bytes, as long as the client does."""
        until = time.monotonic() + TURN_S
        while not self.size and not self._whole:
            self._progress.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._progress.wait()
            except TimeoutError:
                if await client_left():
                    raise Dropped("the client left") from None
                if not self._started and time.monotonic() > until:
                    raise TooManyDownloads(say("other-downloads-go-before")) from None
        if self._fault is not None and not self.size:
            raise self._fault

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield its bytes, as they come.

        Raises:
            Dropped: it can't be made to the end.

        """
        at = 0
        while True:
            self._progress.clear()
            if at < self.size and self._file is not None:
                read = partial(os.pread, self._file.fileno(), min(PART_BYTES, self.size - at), at)
                part = await self._loop.run_in_executor(self._spools.helpers, read)
                at += len(part)
                yield part
            elif not self._whole:
                await self._progress.wait()
            elif at == self.size:
                if self._fault is not None:
                    raise Dropped(f"the answer can't be made to its end: {self._fault}") from self._fault
                return

    def close(self) -> None:
        """End it: its query stops, its file goes, as soon as the thread that makes it takes notice."""
        self._left = True
        if not self.work.cancel() and not self.work.done():
            with suppress(RuntimeError):  # the server ends
                self._spools.helpers.submit(self._end_query)
        self.work.add_done_callback(lambda _: self._release())

    def _end_query(self) -> None:
        with self._lock, suppress(LostConnection):
            if self._query is not None:
                self._query.cancel_safe(timeout=5.0)

    def _release(self) -> None:
        with self._lock:
            file, self._file = self._file, None
            taken, self._taken = self._taken, 0
        if file is not None:
            file.close()
        self._spools.give_back(taken)


Make = Callable[[Spool], None]


class SpoolResponse(StreamingResponse):
    """A download's answer; when it ends, however it does, the download does."""

    def __init__(self, spool: Spool, headers: dict[str, str], media_type: str | None = None) -> None:
        super().__init__(spool.parts(), headers=headers, media_type=media_type)
        self._spool = spool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._spool.close()
