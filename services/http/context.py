"""What every route works with: the open store, a pool of the server's connections, the city's frame."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

from pyproj import CRS
from starlette.datastructures import Headers
from starlette.requests import Request

from cim.access.accounts import Account, account_of, hash_of
from cim.catalog.model import Layer
from cim.city import Extent
from cim.errors import UnknownKey
from cim.messages import say
from cim.read import layers as reads
from cim.reference.crs import Operation, operation, to_wgs84
from cim.store.connection import Connection, Cursor, Pool, Store, see_as
from services.http.ask import ASK, read_key
from services.http.spool import Spools
from tiles.frame import Frame

KEY_KNOWN_S = 5.0  # a removed key is refused after this
MOST_KEYS_KNOWN = 1000
MOST_COUNTED = 100_000  # features of a layer
SIZE_KNOWN_S = 30.0


@dataclass(frozen=True, eq=False)
class Context:
    """The server's held resources and what derives from the city."""

    store: Store
    pool: Pool
    watch_pool: Pool
    spools: Spools

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """Lend a cursor of the server's role, which sees what the asker may see."""
        ask = ASK.get(None)
        role = ask.account.role if ask and ask.account else ""
        with self.pool.connection() as connection, connection.cursor() as cursor:
            if self._role_of.get(connection, "") != role:
                see_as(cursor, role)
                self._role_of[connection] = role
            yield cursor

    @cached_property
    def _role_of(self) -> WeakKeyDictionary[Connection, str]:
        """The role that each connection of the pool was last lent in."""
        return WeakKeyDictionary()

    @contextmanager
    def watching(self) -> Iterator[Cursor]:
        """Lend a cursor for a look at how the database does; who reads and downloads has no part in these."""
        with self.watch_pool.connection() as connection, connection.cursor() as cursor:
            yield cursor

    def account(self, headers: Headers) -> Account | None:
        """Return who a request's key says it is.

        Raises:
            UnknownKey: the key is nobody's, or another's than the name says.

        """
        given = read_key(headers)
        if given is None:
            return None
        name, key = given
        cached = self._accounts.get(hash_of(key))
        if cached is None or cached[0] < time.monotonic():
            with self.pool.connection() as connection, connection.cursor() as cursor:
                cached = (time.monotonic() + KEY_KNOWN_S, account_of(cursor, key))
            self._accounts.clear() if len(self._accounts) > MOST_KEYS_KNOWN else None
            self._accounts[hash_of(key)] = cached
        if cached[1] is None or (name is not None and name != cached[1].name):
            raise UnknownKey(say("key-belongs-nobody-here"))
        return cached[1]

    @cached_property
    def _accounts(self) -> dict[bytes, tuple[float, Account | None]]:
        """Whose a key was found to be, and until when that is believed."""
        return {}

    def counts(self, cursor: Cursor, layer: Layer) -> bool:
        """Whether pages of a layer say how many features match: not where counting costs more than the page."""
        until, counts = self._counts.get(layer.id, (0.0, False))
        if until < time.monotonic():
            counts = reads.row_estimate(cursor, layer) <= MOST_COUNTED
            self._counts[layer.id] = (time.monotonic() + SIZE_KNOWN_S, counts)
        return counts

    @cached_property
    def _counts(self) -> dict[str, tuple[float, bool]]:
        """Whether a layer's matches are counted, and until when that is believed."""
        return {}

    @cached_property
    def frame(self) -> Frame:
        """The city's way to the globe."""
        return Frame(self.store.city)

    @cached_property
    def from_wgs84(self) -> Operation:
        """From WGS 84 to the city's CRS."""
        city = self.store.city
        return operation(to_wgs84_crs(), CRS.from_epsg(city.srid), city.extent)

    @cached_property
    def to_wgs84(self) -> Operation:
        """From the city's CRS to WGS 84."""
        return to_wgs84(CRS.from_epsg(self.store.city.srid), self.store.city.extent)

    @cached_property
    def ground_heights(self) -> dict[tuple[str, Extent], float]:
        """What `services.http.viewer` found of the ground: by the name of the terrain's root, and a box."""
        return {}

    def layer(self, name: str) -> Layer:
        """Return a layer of the catalog.

        Raises:
            UnknownLayer: there is none of that name.

        """
        return self.store.catalog.layer(name)


def to_wgs84_crs() -> CRS:
    """Return WGS 84, longitude and latitude."""
    return CRS.from_epsg(4326)


CONTEXT: ContextVar[Context] = ContextVar("context")  # for what a library calls without a request


def of(request: Request) -> Context:
    """Return the context of the application that answers a request."""
    context: Context = request.app.state.context
    return context
