"""A layer as a file or a stream of Arrow: one way of asking (box, filter, moment, CRS), one row a format."""

import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyproj import CRS

from cim.catalog.model import Layer
from cim.city import City, Extent
from cim.errors import BadRequest, NotFound, UnknownCrs
from cim.messages import say
from cim.read.arrow import frame_columns, frame_schema, read_batches
from cim.read.filters import Condition, inside_box, parse_filter
from cim.read.layers import Query
from cim.reference.crs import area_of_use, label, operation, parse, split
from cim.store.connection import Cursor, Store
from cim.store.kinds import kind_of

WGS84 = CRS.from_epsg(4326)


@dataclass(frozen=True)
class Extract:
    """What of a layer is wanted."""

    layer: Layer
    bbox: Extent | None = None  # degrees
    where: str | None = None  # CQL2
    at: datetime | None = None  # None: now; of observations: all
    crs: str | None = None  # EPSG:N; None: what the format has, else the city's
    limit: int = 0  # 0: all
    properties: tuple[str, ...] = ()  # none: all
    public_only: bool = False
    most_bytes: int = 0  # of a raster, uncompressed; 0: any number


@dataclass(frozen=True)
class Frame:
    """An extract on its way: its schema, and its batches as they are read."""

    schema: pa.Schema
    batches: Generator[pa.RecordBatch]  # to be closed where it isn't read to its end
    crs: CRS
    geometry_type: str


def query_of(extract: Extract, city: City, srid: int) -> Query:
    """Return the query of an extract.

    Raises:
        BadRequest: box or filter can't be read.

    """
    to_city = operation(WGS84, CRS.from_epsg(city.srid), city.extent)
    where = parse_filter(extract.where, extract.layer, to_city, city) if extract.where else Condition()
    if extract.bbox:
        where &= inside_box(_checked_box(extract.bbox, city), to_city, city.srid)
    unknown = set(extract.properties) - {f.name for f in extract.layer.all_fields}
    if unknown:
        raise BadRequest(say("has-no-field", layer=extract.layer.id, unknown=", ".join(sorted(unknown))))
    return Query(
        at=extract.at,
        where=where,
        limit=extract.limit,
        properties=extract.properties,
        public_only=extract.public_only,
        out_srid=srid,
    )


def _checked_box(bbox: Extent, city: City) -> Extent:
    """Return a box of degrees, cut to where the city's CRS holds."""
    west, south, east, north = bbox
    if not (west < east and south < north):
        raise BadRequest(say("north-degrees", bbox=bbox))
    area = area_of_use(CRS.from_epsg(city.srid)) or (-180.0, -90.0, 180.0, 90.0)
    west, east = (float(np.clip(x, area[0] - 1, area[2] + 1)) for x in (west, east))
    south, north = (float(np.clip(y, area[1] - 1, area[3] + 1)) for y in (south, north))
    return west, south, east, north


def open_frame(cursor: Cursor, city: City, extract: Extract, default_crs: CRS | None = None) -> Frame:
    """Return an extract's schema and batches, which are read from the cursor as they are asked for.

    Raises:
        BadRequest: box, filter or field can't be read.
        UnknownCrs: the wanted CRS isn't one of EPSG's.

    """
    crs = _wanted_crs(extract.crs) if extract.crs else default_crs or CRS.from_epsg(city.srid)
    srid = crs.to_epsg()
    if srid is None or not cursor.execute("SELECT 1 FROM spatial_ref_sys WHERE srid = %s", [srid]).fetchone():
        raise UnknownCrs(say("not-one-those-postgis-knows", crs=label(crs)))
    query = query_of(extract, city, srid)
    columns = frame_columns(extract.layer, query, city.srid)
    if extract.layer.geometry is None and not kind_of(extract.layer).drawn and extract.layer.observes:
        columns = [c for c in columns if c.name in _OF_VALUES or c.name in {f.name for f in extract.layer.all_fields}]
    types = (extract.layer.geometry,) if extract.layer.geometry else ()
    schema = frame_schema(columns, crs, [t for t in types if t])
    return Frame(schema, read_batches(cursor, extract.layer, query, columns), crs, extract.layer.geometry or "Unknown")


_OF_VALUES = ("id", "dataset", "load", "extra")


def _wanted_crs(name: str) -> CRS:
    crs, _ = split(parse(name))
    if not (crs.is_geographic or crs.is_projected):
        raise UnknownCrs(say("has-no-place-x-y", crs=label(crs)))
    return crs


def arrow_stream(frame: Frame) -> Generator[bytes]:
    """Yield an Arrow IPC stream, a batch at a time."""
    sink = _Sink()
    with pa.ipc.new_stream(sink, frame.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        yield sink.taken()
        for batch in frame.batches:
            writer.write_batch(batch)
            yield sink.taken()
    yield sink.taken()


class _Sink:
    """What Arrow writes into, emptied as it goes on."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True


Write = Callable[[Cursor, Store, Extract, Path], int]


def export(cursor: Cursor, store: Store, extract: Extract, path: Path) -> int:
    """Write an extract as the file that its suffix says; whole or not at all.

    Returns:
        How many rows (or sheets) it holds.

    Raises:
        BadRequest: no format has this suffix, or the layer can't be written in it.

    """
    write = _format(path, extract.layer)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".cim-export-") as folder:
        fresh = Path(folder) / path.name
        count = write(cursor, store, extract, fresh)
        fresh.replace(path)
    return count


def _format(path: Path, layer: Layer) -> Write:
    name = path.name.lower()
    formats = _OF_RASTERS if layer.kind in _OF_RASTERS_KINDS else _OF_RECORDS
    for suffix, write in formats.items():
        if name.endswith(suffix):
            return write
    raise BadRequest(say("can-written", file=path.name, layer=layer.id, formats=", ".join(formats)))


def _vector(driver: str, crs: CRS | None = None, **options: str) -> Write:
    def write(cursor: Cursor, store: Store, extract: Extract, path: Path) -> int:
        import pyogrio

        frame = open_frame(cursor, store.city, extract, crs)
        count, faults = 0, []

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal count
            try:
                for batch in frame.batches:
                    count += len(batch)
                    yield batch
            except Exception as fault:
                faults.append(fault)
                raise

        reader = pa.RecordBatchReader.from_batches(frame.schema, counted())
        has_geometry = "geometry" in frame.schema.names
        try:
            pyogrio.write_arrow(
                reader, path, driver=driver, layer=extract.layer.id,
                geometry_name="geometry" if has_geometry else None,
                geometry_type=frame.geometry_type if has_geometry else None,
                crs=frame.crs.to_wkt() if has_geometry else None, **options,
            )  # fmt: skip
        except RuntimeError:
            if faults:  # GDAL only knows that there are no more batches, not why
                raise faults[0] from None
            raise
        return count

    return write


def _parquet(cursor: Cursor, store: Store, extract: Extract, path: Path) -> int:
    from pyarrow import parquet

    frame = open_frame(cursor, store.city, extract)
    count = 0
    with parquet.ParquetWriter(path, frame.schema, compression="zstd") as writer:
        for batch in frame.batches:
            writer.write_batch(batch)
            count += len(batch)
    return count


def _csv(cursor: Cursor, store: Store, extract: Extract, path: Path) -> int:
    import shapely
    from pyarrow import csv

    frame = open_frame(cursor, store.city, extract, WGS84)
    schema = pa.schema([pa.field(f.name, pa.string() if f.name == "geometry" else f.type) for f in frame.schema])
    count = 0
    with csv.CSVWriter(path, schema) as writer:
        for batch in frame.batches:
            columns = list(batch.columns)
            if "geometry" in frame.schema.names:
                shapes = shapely.from_wkb(batch.column("geometry").to_numpy(zero_copy_only=False))
                columns[-1] = pa.array(shapely.to_wkt(shapes, rounding_precision=9), pa.string())
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            count += len(batch)
    return count


def _cityjsonseq(cursor: Cursor, store: Store, extract: Extract, path: Path) -> int:
    from cim.write.cityjson import write_cityjsonseq

    return write_cityjsonseq(cursor, store.city, extract.layer, query_of(extract, store.city, store.city.srid), path)


def _geotiff(cursor: Cursor, store: Store, extract: Extract, path: Path) -> int:
    """Write a raster layer's sheets as one GeoTIFF in the grid of the finest, which answers where several lie.

    A sheet in another CRS, or turned, is brought to that grid: heights between its cells' centres, colours as they are.
    """
    from cim.read.terrain import surfaces
    from cim.write.mosaic import Cut, write_mosaic

    sheets = surfaces(cursor, store, extract.layer, extract.at)
    if not sheets:
        raise NotFound(say("holds-no-raster-moment", layer=extract.layer.id))
    cut = Cut(
        bbox=_checked_box(extract.bbox, store.city) if extract.bbox else None,
        crs=_wanted_crs(extract.crs) if extract.crs else None,
        smooth=extract.layer.cells == "height",
        most_bytes=extract.most_bytes,
    )
    write_mosaic(sheets, cut, path, store.city.extent)
    return len(sheets)


_OF_RASTERS_KINDS = ("raster",)
_OF_RASTERS: Mapping[str, Write] = {".tif": _geotiff, ".tiff": _geotiff}
_OF_RECORDS: Mapping[str, Write] = {
    ".gpkg": _vector("GPKG"),
    ".geojson": _vector("GeoJSON", WGS84, COORDINATE_PRECISION="9", RFC7946="YES"),
    ".city.jsonl": _cityjsonseq,
    ".jsonl": _cityjsonseq,
    ".parquet": _parquet,
    ".geoparquet": _parquet,
    ".csv": _csv,
}
