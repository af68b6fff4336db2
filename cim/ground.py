"""The ground: heights of the stored terrain at places, the finest raster that has a value answering."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from pyproj import CRS

from cim.assets import asset_path
from cim.catalog.model import Layer
from cim.crs import Float, Operation
from cim.raster import Raster
from cim.store import Cursor, Store


@dataclass(frozen=True)
class Surface:
    """One terrain raster, and the operation from the city's CRS to its own."""

    raster: Raster
    from_city: Operation
    resolution_m: float
    sha256: str


def surfaces(cursor: Cursor, store: Store, layer: Layer, at: datetime | None = None) -> list[Surface]:
    """Return the terrain rasters that hold at a time (None: now), the finest first."""
    cursor.execute(
        """SELECT sha256, (about->>'resolution_m')::float8 FROM cim.asset
           WHERE layer = %s AND upper_inf(recorded) AND valid @> coalesce(%s, now())
           ORDER BY 2, 1""",
        [layer.id, at],
    )
    city = CRS.from_epsg(store.city.srid)
    found = []
    for sha256, resolution_m in cursor.fetchall():
        raster = Raster.open(asset_path(store.settings, sha256))
        found.append(Surface(raster, raster.operation_from(city, store.city.extent), resolution_m, sha256))
    return found


def heights(found: list[Surface], x: Float, y: Float) -> Float:
    """Return heights in the city's datum at places in the city's CRS; NaN where no raster has a value."""
    z = np.full(np.shape(x), np.nan)
    for surface in found:
        open_places = np.isnan(z)
        if not open_places.any():
            break
        z[open_places] = surface.raster.sample(*surface.from_city(x[open_places], y[open_places]))
    return z


def ground_heights(cursor: Cursor, store: Store, layer: Layer) -> Callable[[Float, Float], Float]:
    """Return a function from places to heights that looks the rasters up when it is first called."""
    found: list[Surface] | None = None

    def sample(x: Float, y: Float) -> Float:
        nonlocal found
        if found is None:
            found = surfaces(cursor, store, layer)
        return heights(found, x, y)

    return sample
