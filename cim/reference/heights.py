"""Vertical datums: from a dataset's heights to the city's, by the rules of the model.

The city's datum is taken as it is; ellipsoidal heights lose the height anomaly; any other datum needs an operation
that is really installed. PROJ alone would shift by zero without a word.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pyproj import CRS
from pyproj.crs import CompoundCRS

from cim.city import City
from cim.errors import NoOperation, UnknownCrs, UnknownVerticalDatum
from cim.messages import say
from cim.reference.crs import Float, label, operations, parse, split

# x, y in the city's CRS, z in the dataset's datum → z in the city's
ToCityHeight = Callable[[Float, Float, Float], Float]


@dataclass(frozen=True)
class Anomaly:
    """The city's height anomaly: ellipsoidal height = stored height + this, in metres."""

    city: City

    def __call__(self, x: Float, y: Float) -> Float:
        """Return the anomaly at places in the city's CRS."""
        if self.city.height_anomaly_grid is None:
            return np.full(np.shape(x), self.city.height_anomaly_m)
        return self._grid(x, y)

    @cached_property
    def _grid(self) -> Callable[[Float, Float], Float]:
        from cim.reference.grid import Raster

        grid = self.city.height_anomaly_grid
        assert grid is not None  # noqa: S101 - for the type checker: __call__ asked
        raster = Raster.open(grid)
        to_grid = raster.operation_from(CRS.from_epsg(self.city.srid), self.city.extent)

        def sample(x: Float, y: Float) -> Float:
            values = raster.sample(*to_grid(x, y))
            return np.where(np.isnan(values), self.city.height_anomaly_m, values)

        return sample


def to_city_heights(datum: str, city: City) -> tuple[str, ToCityHeight]:
    """Return the name of the operation from a dataset's vertical datum to the city's, and the operation.

    Args:
        datum: `city`, `ellipsoidal`, or a CRS text such as EPSG:5709.
        city: whose heights the store holds.

    Raises:
        UnknownVerticalDatum: the text names no vertical datum.
        NoOperation: no installed operation leads to the city's datum.

    """
    if datum == "city" or _same_datum(datum, city.vertical_datum):
        return "heights as they are", lambda x, y, z: z  # noqa: ARG005
    if datum == "ellipsoidal":
        anomaly = Anomaly(city)
        grid = city.height_anomaly_grid
        model = f"the grid {grid.name}" if grid else f"{city.height_anomaly_m:g} m"
        return f"minus height anomaly ({model})", lambda x, y, z: z - anomaly(x, y)
    crs = parse(datum)
    if crs.is_geographic and len(crs.axis_info) == 3:
        return to_city_heights("ellipsoidal", city)
    _, vertical = split(crs)
    vertical = vertical or (crs if crs.is_vertical else None)
    if vertical is None:
        raise UnknownVerticalDatum(say("has-no-heights", datum=datum, crs=crs.name))
    return _by_registry(vertical, city)


def datum_of(crs: CRS | None) -> str | None:
    """Return the vertical datum that a file's CRS declares, as text, or None."""
    vertical = split(crs)[1] if crs else None
    if vertical is None:
        return None
    return "ellipsoidal" if vertical.is_geographic or vertical.is_projected else label(vertical)


def _same_datum(datum: str, stored: str) -> bool:
    return datum.casefold().strip() == stored.casefold().strip()


def _by_registry(vertical: CRS, city: City) -> tuple[str, ToCityHeight]:
    name = f"{label(vertical)} ({vertical.name})"
    try:
        target_vertical = parse(city.vertical_datum)
    except UnknownCrs as fault:
        raise NoOperation(say("heights-cannot-brought-city", name=name, vertical_datum=city.vertical_datum)) from fault
    metric = CRS.from_epsg(city.srid)
    source = CompoundCRS("source", [metric, vertical])
    target = CompoundCRS("target", [metric, target_vertical])
    group = operations(source, target)
    usable = [t for t in group.transformers if "ballpark" not in t.description.lower()]
    if not usable:
        grids = {grid.short_name for op in group.unavailable_operations for grid in op.grids}
        wanted = say("needs-grid", grids=", ".join(sorted(grids))) if grids else say("registry-knows-none")
        raise NoOperation(
            say("no-installed-operation-leads-heights", name=name, vertical_datum=city.vertical_datum, wanted=wanted)
        )
    best = usable[0]
    return best.description, lambda x, y, z: np.asarray(best.transform(x, y, z)[2], np.float64)
