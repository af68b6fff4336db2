"""What an analysis may ask of the twin: layers, terrain, rasters, bodies, series; bounded by a box, as of one moment.

A family sees only this protocol; `engine.store_inputs` answers it from the store, a test from frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from cim.catalog.assumptions import Assumptions
from cim.catalog.model import Catalog, Layer
from cim.city import City
from cim.errors import NotFound
from cim.geometry.body_batch import Bodies
from cim.messages import say

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from affine import Affine
    from pyproj import CRS

    from cim.analysis.engine.result import Computed

Float = NDArray[np.float64]


@dataclass(frozen=True)
class MetricBox:
    """A box in the city's CRS, metres."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float

    @classmethod
    def around(cls, shape: Any, margin_m: float = 0.0) -> "MetricBox":
        """Return the box of a geometry (metres, not empty), widened on each side."""
        xmin, ymin, xmax, ymax = shapely.bounds(shape)
        return cls(float(xmin) - margin_m, float(ymin) - margin_m, float(xmax) + margin_m, float(ymax) + margin_m)


@dataclass(frozen=True)
class RasterWindow:
    """Cells over a box: `cells` (rows, columns) float64, the first row in the north, NaN where nothing is known."""

    cells: Float
    transform: "Affine"  # (column, row) of a cell's corner → x, y
    crs: "CRS"

    @property
    def void(self) -> NDArray[np.bool_]:
        """(rows, columns): where nothing is known."""
        return np.isnan(self.cells)

    @property
    def cell_m(self) -> float:
        """A cell's side, metres."""
        return float(self.transform.a)


@dataclass(frozen=True)
class LayerBodies:
    """The finest body of each object: `ids` (n,) and n bodies in the city's CRS and vertical datum."""

    ids: NDArray[np.object_]
    bodies: Bodies


class Inputs(Protocol):
    """The twin at one moment of city time, as it was known at one moment."""

    assumptions: Assumptions
    at: datetime
    recorded_at: datetime

    @property
    def city(self) -> City:
        """The city's file."""
        ...

    @property
    def catalog(self) -> Catalog:
        """The city's catalog."""
        ...

    def frame(
        self,
        layer: Layer,
        *,
        box: MetricBox | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
    ) -> "gpd.GeoDataFrame":
        """Return the objects of a layer, in the order of their ids.

        Args:
            layer: a feature or observation layer.
            box: only objects whose box meets it; None: all.
            columns: fields by role or name, beside `id`, `parent_id` and `geometry`; None: all fields.
            where: CQL2.

        Returns:
            2D geometries in the city's CRS, none invalid or empty: those that were are made valid and counted, or left
            out and counted. A field that plays a role stands under the role's name. An empty layer has all columns.

        """
        ...

    def is_empty(self, layer: Layer) -> bool:
        """Whether a feature layer holds nothing at all at that moment, wherever."""
        ...

    def raster(self, layer: Layer, box: MetricBox, cell_m: float | None = None) -> RasterWindow | None:
        """Return a raster layer's cells over a box, of the finest sheet that has a value; None: no sheet lies there.

        Args:
            layer: a raster layer.
            box: in the city's CRS.
            cell_m: side of a cell; None: that of the finest sheet, on its own grid where it lies in the city's CRS.

        Raises:
            BadRequest: there would be too many cells.

        """
        ...

    def terrain(self, box: MetricBox, cell_m: float | None = None) -> RasterWindow | None:
        """Return the ground's heights in the city's datum over a box, as `raster` does."""
        ...

    def bodies(self, layer: Layer, box: MetricBox | None = None) -> LayerBodies:
        """Return the finest bodies of a layer's objects, in the order of ids; objects without one are left out."""
        ...

    def series(self, layer: Layer, since: datetime | None = None, until: datetime | None = None) -> "pd.DataFrame":
        """Return an observation layer's values from `since` until before `until`, by feature and time."""
        ...

    def result(self, job: str) -> "Computed":
        """Return the kept result of another analysis, by the id of its job."""
        ...


def with_role(inputs: Inputs, role: str) -> Layer:
    """Return the layer that plays a role.

    Raises:
        NotFound: the catalog has none.

    """
    layer = inputs.catalog.with_role(role)
    if layer is None:
        raise NotFound(say("catalog-has-no-layer-role", role=role))
    return layer


def not_empty(frame: "gpd.GeoDataFrame", layer: Layer) -> "gpd.GeoDataFrame":
    """Return a frame that an analysis can't do without.

    Raises:
        NotFound: it is empty.

    """
    if frame.empty:
        raise NotFound(say("holds-nothing-then", layer=layer.id, title=layer.title.en))
    return frame


def numbers(frame: "gpd.GeoDataFrame", layer: Layer, field: str) -> tuple[Float, int]:
    """Return a numeric field's values, NaN where there is none or where it can't be, and how many can't be.

    Args:
        frame: of the layer; the column stands under the field's name or role.
        layer: its field says between which values one can be (`range`).
        field: by name or role.

    Returns:
        (n,) float64, and the count of values outside the field's range; all NaN where the frame has no such column.

    """
    if field not in frame:
        return np.full(len(frame), np.nan), 0
    values = np.asarray(frame[field].to_numpy(dtype=np.float64, na_value=np.nan))
    declared = next((f for f in layer.all_fields if field in (f.name, f.role)), None)
    if declared is None or declared.range is None:
        return np.where(np.isfinite(values), values, np.nan), 0
    low, high = declared.range
    impossible = ~np.isnan(values) & ~((values >= low) & (values <= high))
    return np.where(impossible, np.nan, values), int(impossible.sum())
