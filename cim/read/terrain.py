"""The ground: heights of the stored terrain at places, the finest raster that has a value answering."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
from pyproj import CRS

from cim.catalog.model import Layer
from cim.city import City
from cim.reference.crs import Float, Operation
from cim.reference.grid import Raster
from cim.store.assets import asset_path
from cim.store.connection import Cursor, Store


@dataclass(frozen=True)
class Surface:
    """One terrain raster, and the operation from the city's CRS to its own."""

    raster: Raster
    from_city: Operation
    resolution_m: float
    sha256: str


def surfaces(
    cursor: Cursor,
    store: Store,
    layer: Layer,
    at: datetime | None = None,
    recorded_at: datetime | None = None,
    *,
    public_only: bool = False,
) -> list[Surface]:
    """Return the rasters of a layer that hold at a time (None: now): the finest first, of equals the newest."""
    files = _files(cursor, store, layer, at, recorded_at, public_only=public_only)
    return [_opened(*file, store.city) for file in files]


def _files(
    cursor: Cursor,
    store: Store,
    layer: Layer,
    at: datetime | None = None,
    recorded_at: datetime | None = None,
    *,
    public_only: bool,
) -> list[tuple[Path, float, str]]:
    as_recorded = "recorded @> %(recorded_at)s::timestamptz" if recorded_at else "upper_inf(recorded)"
    cursor.execute(
        f"""SELECT sha256, (about->>'resolution_m')::float8 FROM cim.asset
           WHERE layer = %(layer)s AND {as_recorded} AND valid @> coalesce(%(at)s, now())
             AND (public OR NOT %(public_only)s)
           ORDER BY round((about->>'resolution_m')::numeric, 3), lower(valid) DESC NULLS LAST, 1""".encode(),
        {"layer": layer.id, "at": at, "recorded_at": recorded_at, "public_only": public_only},
    )
    return [(asset_path(store.settings, sha256), resolution_m, sha256) for sha256, resolution_m in cursor.fetchall()]


def _opened(path: Path, resolution_m: float, sha256: str, city: City) -> Surface:
    raster = Raster.open(path)
    return Surface(raster, raster.operation_from(CRS.from_epsg(city.srid), city.extent), resolution_m, sha256)


def heights(stack: list[Surface], x: Float, y: Float) -> Float:
    """Return heights in the city's datum at places in the city's CRS; NaN where no raster has a value."""
    z = np.full(np.shape(x), np.nan)
    for surface in stack:
        open_places = np.isnan(z)
        if not open_places.any():
            break
        z[open_places] = surface.raster.sample(*surface.from_city(x[open_places], y[open_places]))
    return z


def median_height(stack: list[Surface], x: Float, y: Float) -> float | None:
    """Return the median of the heights at places, in the city's datum; None where no raster has a value at any."""
    z = heights(stack, x, y)
    return float(np.nanmedian(z)) if np.isfinite(z).any() else None


@dataclass(frozen=True)
class Ground:
    """The terrain as it is now, for any process: the rasters are opened when a height is first asked."""

    files: tuple[tuple[Path, float, str], ...] = ()  # raster, its resolution in metres, its SHA-256; the finest first
    city: City | None = None

    @cached_property
    def _surfaces(self) -> list[Surface]:
        return [_opened(*file, self.city) for file in self.files] if self.city else []

    def __call__(self, x: Float, y: Float) -> Float:
        """Return heights in the city's datum at places in the city's CRS; NaN where the city has no terrain."""
        return heights(self._surfaces, x, y)


def ground_of(cursor: Cursor, store: Store, *, public_only: bool = False) -> Ground:
    """Return the ground of the city, as far as the cursor's transaction sees it.

    Args:
        cursor: a read.
        store: the city.
        public_only: what stands on it is public, so that no height may come from a raster that isn't.

    """
    layer = store.catalog.with_role("ground")
    return Ground(tuple(_files(cursor, store, layer, None, public_only=public_only)), store.city) if layer else Ground()
