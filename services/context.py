"""What every route works with: the open store, a pool of the server's connections, the city's frame."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property

from pyproj import CRS
from starlette.requests import Request

from cim.catalog.model import Layer
from cim.crs import Operation, operation, to_wgs84
from cim.store import Cursor, Pool, Store
from tiles.frame import Frame


@dataclass(frozen=True, eq=False)
class Context:
    """The server's held resources and what derives from the city."""

    store: Store
    pool: Pool

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """Lend a cursor of the server's role."""
        with self.pool.connection() as connection, connection.cursor() as cursor:
            yield cursor

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
