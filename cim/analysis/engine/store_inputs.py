"""Inputs of an analysis from the store: bounded, read when they are asked for, noted for the result's origin."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from affine import Affine
from pyproj import CRS

from cim.analysis.engine.inputs import LayerBodies, MetricBox, RasterWindow
from cim.analysis.engine.result import Computed
from cim.catalog.assumptions import Assumptions
from cim.catalog.model import Catalog, Layer
from cim.city import City
from cim.errors import BadRequest
from cim.geometry.stored_form import decode
from cim.messages import say
from cim.read.arrow import FrameColumn, frame_columns, frame_schema, read_batches
from cim.read.filters import Condition, parse_filter
from cim.read.layers import Query, conditions
from cim.read.terrain import Surface, surfaces
from cim.reference.crs import operation
from cim.store.connection import Cursor, Store
from cim.store.schema import table

MOST_CELLS = 50_000_000  # of a raster window: 400 MB
WGS84 = CRS.from_epsg(4326)


@dataclass
class StoreInputs:
    """The twin as one cursor sees it at one moment; it keeps account of what was asked for."""

    cursor: Cursor
    store: Store
    assumptions: Assumptions
    at: datetime
    recorded_at: datetime
    public_only: bool = False
    asked: dict[str, int] = field(default_factory=dict)  # layer → objects, values or sheets read
    repaired: dict[str, int] = field(default_factory=dict)  # layer → geometries made valid
    left_out: dict[str, int] = field(default_factory=dict)  # layer → objects without a usable geometry

    @property
    def city(self) -> City:
        """The city's file."""
        return self.store.city

    @property
    def catalog(self) -> Catalog:
        """The city's catalog."""
        return self.store.catalog

    def frame(
        self,
        layer: Layer,
        *,
        box: MetricBox | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
    ) -> gpd.GeoDataFrame:
        """Return the objects of a layer (see `Inputs.frame`)."""
        rows = self.read(layer, box, columns, where)
        self.asked[layer.id] = self.asked.get(layer.id, 0) + len(rows)
        if "geometry" not in rows:
            return gpd.GeoDataFrame(rows)
        frame, repaired, left_out = usable(rows)
        self._note(self.repaired, layer, repaired)
        self._note(self.left_out, layer, left_out)
        return frame

    def read(
        self, layer: Layer, box: MetricBox | None, columns: Sequence[str] | None, where: str | None
    ) -> gpd.GeoDataFrame:
        """Return the rows of a layer as they are stored, in the order of ids, fields also under their roles."""
        query = self._query(layer, box, where)
        listed = _columns(layer, query, self.city.srid, columns)
        batches = read_batches(self.cursor, layer, query, listed)
        schema = frame_schema(listed, CRS.from_epsg(self.city.srid))
        attributes = pa.Table.from_batches(list(batches), schema.remove_metadata()).to_pandas()
        for f in layer.fields:
            if f.role and f.role not in attributes and f.name in attributes:
                attributes[f.role] = attributes[f.name]
        attributes = attributes.sort_values("id", ignore_index=True)
        if "geometry" not in attributes:
            return gpd.GeoDataFrame(attributes)
        shapes = shapely.force_2d(shapely.from_wkb(attributes.pop("geometry").to_numpy(object)))
        return gpd.GeoDataFrame(attributes, geometry=shapes, crs=CRS.from_epsg(self.city.srid))

    def is_empty(self, layer: Layer) -> bool:
        """Whether a layer holds nothing at all at that moment."""
        clauses, values = conditions(layer, self._query(layer, None, None))
        sql = f"SELECT EXISTS (SELECT FROM {table(layer)} v WHERE {' AND '.join(clauses)})"
        row = self.cursor.execute(sql.encode(), values).fetchone()
        return not (row and row[0])

    def series(self, layer: Layer, since: datetime | None = None, until: datetime | None = None) -> pd.DataFrame:
        """Return an observation layer's values (see `Inputs.series`)."""
        span = [(">=", since, "since"), ("<", until, "until")]
        condition = Condition()
        for sign, moment, name in span:
            if moment is not None:
                condition &= Condition(f"v.time {sign} %({name})s::timestamptz", {name: moment})
        query = Query(
            where=condition,
            limit=0,
            recorded_at=self.recorded_at,
            public_only=self.public_only,
            out_srid=self.city.srid,
        )
        listed = [c for c in _columns(layer, query, self.city.srid, None) if c.kind != "wkb"]
        batches = read_batches(self.cursor, layer, query, listed)
        schema = frame_schema(listed, CRS.from_epsg(self.city.srid))
        values = pa.Table.from_batches(list(batches), schema).to_pandas()
        for f in layer.fields:
            if f.role and f.role not in values:
                values[f.role] = values[f.name]
        self.asked[layer.id] = self.asked.get(layer.id, 0) + len(values)
        ordered: pd.DataFrame = values.sort_values(["feature", "time", "id"], ignore_index=True)
        return ordered

    def raster(self, layer: Layer, box: MetricBox, cell_m: float | None = None) -> RasterWindow | None:
        """Return a raster layer's cells over a box (see `Inputs.raster`)."""
        if layer.kind != "raster":
            raise BadRequest(say("not-layer-rasters", layer=layer.id))
        sheets = surfaces(self.cursor, self.store, layer, self.at, self.recorded_at)
        self.asked[layer.id] = self.asked.get(layer.id, 0) + len(sheets)
        return window(sheets, box, CRS.from_epsg(self.city.srid), smooth=layer.cells == "height", cell_m=cell_m)

    def terrain(self, box: MetricBox, cell_m: float | None = None) -> RasterWindow | None:
        """Return the ground's heights over a box (see `Inputs.terrain`)."""
        layer = self.catalog.with_role("ground")
        return self.raster(layer, box, cell_m) if layer else None

    def bodies(self, layer: Layer, box: MetricBox | None = None) -> LayerBodies:
        """Return the finest bodies of a layer's objects (see `Inputs.bodies`)."""
        clauses, values = conditions(layer, self._query(layer, box, None))
        self.cursor.execute(
            f"""SELECT v.id, b.faces FROM {table(layer)} v JOIN cim.body b ON b.hash = v.bodies[cardinality(v.bodies)]
                WHERE {" AND ".join(clauses)} ORDER BY v.id""".encode(),
            values,
        )
        rows = self.cursor.fetchall()
        self.asked[layer.id] = self.asked.get(layer.id, 0) + len(rows)
        return LayerBodies(np.array([row[0] for row in rows], object), decode([bytes(row[1]) for row in rows]))

    def result(self, job: str) -> Computed:
        """Return the kept result of another analysis (see `Inputs.result`)."""
        from cim.analysis.engine.keep import read_kept
        from cim.jobs.queue import parse_id, read_result

        return read_kept(self.store.settings, read_result(self.cursor, parse_id(job)))

    def origin(self) -> Iterator[dict[str, Any]]:
        """Yield the datasets that the layers' content is of, each with its newest load and survey date."""
        for name in sorted(self.asked):
            layer = self.catalog.layers[name]
            when = "" if layer.observes else "AND v.valid @> %(at)s::timestamptz"
            newest = "(max(lower(v.valid)) AT TIME ZONE %(zone)s)::date"  # values are as old as their newest
            surveyed = newest if layer.observes else "max(v.surveyed)"
            rows = self.cursor.execute(
                f"""SELECT v.dataset, ({surveyed})::text, max(v.load) FROM {table(layer)} v
                    WHERE v.recorded @> %(recorded_at)s::timestamptz {when} GROUP BY 1 ORDER BY 1""".encode(),
                {"at": self.at, "recorded_at": self.recorded_at, "zone": self.city.timezone},
            ).fetchall()
            for dataset, surveyed, load in rows:
                yield {"layer": name, "dataset": dataset, "surveyed": surveyed, "load": load}

    def _query(self, layer: Layer, box: MetricBox | None, where: str | None) -> Query:
        condition = Condition()
        if where:
            to_city = operation(WGS84, CRS.from_epsg(self.city.srid), self.city.extent)
            condition = parse_filter(where, layer, to_city, self.city)
        if box:
            corners = {f"box_{side}": getattr(box, side) for side in ("xmin", "ymin", "xmax", "ymax")}
            placed = ", ".join(f"%({name})s::float8" for name in corners)
            condition &= Condition(f"v.geom && ST_MakeEnvelope({placed}, {int(self.city.srid)})", corners)
        return Query(
            at=None if layer.observes else self.at,
            recorded_at=self.recorded_at,
            where=condition,
            out_srid=self.city.srid,
            public_only=self.public_only,
            limit=0,
        )

    @staticmethod
    def _note(counts: dict[str, int], layer: Layer, count: int) -> None:
        if count:
            counts[layer.id] = counts.get(layer.id, 0) + count


def _columns(layer: Layer, query: Query, srid: int, wanted: Sequence[str] | None) -> list[FrameColumn]:
    """Return the columns of a frame: id, the wanted fields (by role or name), the parent, the geometry."""
    every = frame_columns(layer, query, srid)
    if wanted is None:
        return [c for c in every if c.kind != "wkb" or layer.geometry or layer.kind != "observation"]
    by_name = {spelling: f.name for f in layer.all_fields for spelling in (f.name, f.role) if spelling}
    # a wanted field that this layer hasn't got is no fault: its role may be played in another city
    names = {"id", "parent_id", "geometry", *(by_name[w] for w in wanted if w in by_name)}
    return [c for c in every if c.name in names]


def usable(frame: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, int, int]:
    """Return a frame whose geometries can be computed with, how many were made valid, and how many rows left out.

    What can't be made valid in its own dimension (an area that is a line) is left out, as is what has no geometry.
    """
    shapes = frame.geometry.to_numpy()
    invalid = ~(shapely.is_valid(shapes) | shapely.is_missing(shapes))
    if invalid.any():
        before = shapely.get_dimensions(shapes[invalid])
        mended = shapely.make_valid(shapes[invalid])
        mended = np.array([_of_dimension(g, d) for g, d in zip(mended, before, strict=True)], object)
        shapes = shapes.copy()
        shapes[invalid] = mended
        frame = frame.set_geometry(gpd.GeoSeries(shapes, index=frame.index, crs=frame.crs))
    good = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    if good.all():
        return frame, int(invalid.sum()), 0
    return frame[good].reset_index(drop=True), int((invalid & good).sum()), int((~good).sum())


def _of_dimension(shape: Any, dimension: int) -> Any:
    """Return the parts of a mended geometry that have the dimension it was declared with."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    fitting = parts[shapely.get_dimensions(parts) == dimension]
    return shapely.union_all(fitting) if len(fitting) else None


def window(
    sheets: Sequence[Surface], box: MetricBox, crs: CRS, *, smooth: bool, cell_m: float | None = None
) -> RasterWindow | None:
    """Return the cells of sheets over a box in one grid, the first sheet that has a value answering.

    Args:
        sheets: the finest first.
        box: in `crs`.
        crs: of the window; on the finest sheet's own grid where that lies in it, so that its cells stay as they are.
        smooth: heights are interpolated between the centres of cells, other values are those of the nearest cell.
        cell_m: side of a cell; None: the finest sheet's.

    Raises:
        BadRequest: there would be too many cells.

    """
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.warp import reproject

    if not sheets:
        return None
    finest = sheets[0]
    side = cell_m or finest.resolution_m
    x0, y0 = _origin(finest, crs, side) if cell_m is None else (0.0, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        corner = np.array([box.xmin - x0, y0 - box.ymax]) / side
        west, north = np.array([x0, y0]) + np.floor(corner) * (side, -side)
        wide, high = np.maximum(np.ceil([(box.xmax - west) / side, (north - box.ymin) / side]), 1.0)
        fits = wide * high <= MOST_CELLS
    if not fits:  # nor a box without bounds
        counts = {"columns": f"{wide:.4g}", "rows": f"{high:.4g}"}
        raise BadRequest(say("cells-m-more-than", **counts, side=side, most_cells=MOST_CELLS))
    columns, rows = int(wide), int(high)
    transform = Affine(side, 0.0, float(west), 0.0, -side, float(north))
    values = np.full((rows, columns), np.nan)
    for sheet in sheets:
        part = np.full((rows, columns), np.nan)
        with rasterio.open(sheet.raster.path) as file:
            reproject(
                rasterio.band(file, sheet.raster.band), part, dst_transform=transform, dst_crs=crs.to_wkt(),
                dst_nodata=np.nan, resampling=Resampling.bilinear if smooth else Resampling.nearest,
            )  # fmt: skip
        np.copyto(values, part, where=np.isnan(values))
        if not np.isnan(values).any():
            break
    return None if np.isnan(values).all() else RasterWindow(values, transform, crs)


def _origin(sheet: Surface, crs: CRS, side: float) -> tuple[float, float]:
    """Return a corner of a sheet's cells, where its grid is that of the window; else any."""
    x, y, *steps = sheet.raster.transform
    same = sheet.raster.crs.to_epsg() == crs.to_epsg() and np.allclose(steps, (side, 0.0, 0.0, -side), atol=1e-9)
    return (x - side / 2, y + side / 2) if same else (0.0, 0.0)
