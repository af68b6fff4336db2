"""Vector files: GeoPackage, Shapefile, GeoJSON, FlatGeobuf, KML, TopoJSON through GDAL, GeoParquet through Arrow."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyogrio
import shapely
from numpy.typing import NDArray
from pyarrow import parquet
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS
from pyproj.exceptions import CRSError

from cim.errors import UndecidableEncoding, UnreadableFile
from cim.features import BATCH_SIZE, Features, Header, ReadOptions, Source
from cim.messages import say
from cim.reference.crs import parse_reference
from ingest.formats.elsewhere import check_references, leave_our_formats
from ingest.formats.vector.curves import is_curve, linear
from ingest.formats.vector.dbf import Table, Text, text_of

_CRS_MEMBER = re.compile(rb'"crs"\s*:\s*\{[^{}]*"properties"\s*:\s*\{[^{}]*"name"\s*:\s*"([^"]+)"')
_BEGINNING = 1 << 16  # bytes of a file in which the member is looked for
_LATIN = "ISO-8859-1"  # each byte becomes one character, so that we decode the text ourselves


def read(path: Path, options: ReadOptions) -> Iterator[Source]:
    """Read each table of a vector file.

    Raises:
        UnreadableFile: GDAL or Arrow can't open it, or it leads elsewhere.
        UndecidableEncoding: nothing tells the encoding of its text.

    """
    if path.suffix.lower() in (".parquet", ".geoparquet"):
        yield _parquet(path)
        return
    leave_our_formats()
    check_references(path)
    for dataset in _datasets(path):
        text = text_of(dataset.dbf, dataset.cpg, options.encoding, str(path)) if dataset.dbf is not None else None
        for table in _tables(dataset.address, path):
            yield _source(dataset, table, text, path, declared=options.crs is not None)


@dataclass(frozen=True)
class _Dataset:
    """Something GDAL opens, with the parts of a Shapefile that tell its encoding."""

    address: str
    stem: str
    dbf: Table | None = None
    cpg: str | None = None


def _datasets(path: Path) -> Iterator[_Dataset]:
    if path.suffix.lower() == ".shp":
        beside = {p.suffix.lower(): p for p in path.parent.glob(f"{_glob_safe(path.stem)}.*")}
        if ".shx" not in beside:
            raise UnreadableFile(say("index-of-shapefile-missing", file=path))
        dbf = _mapped(beside[".dbf"]) if ".dbf" in beside else b""
        cpg = beside[".cpg"].read_text("ascii", "replace") if ".cpg" in beside else None
        yield _Dataset(str(path), path.stem, dbf, cpg)
    else:
        yield _Dataset(str(path), path.stem)


def _mapped(path: Path) -> Table:
    """Return a file's bytes, read as they are looked at."""
    if path.stat().st_size == 0:
        return b""
    with path.open("rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


def _glob_safe(stem: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem)


def _tables(address: str, path: Path) -> list[str]:
    try:
        return [str(name) for name, kind in pyogrio.list_layers(address) if kind is not None]
    except (DataSourceError, DataLayerError) as fault:
        raise UnreadableFile(say("file-cannot-be-read", file=path, reason=fault)) from fault


def _source(dataset: _Dataset, table: str, text: Text | None, path: Path, *, declared: bool) -> Source:
    try:
        info = pyogrio.read_info(dataset.address, layer=table, encoding=_LATIN if text else None)
    except (DataSourceError, DataLayerError) as fault:
        raise UnreadableFile(say("file-cannot-be-read", file=path, reason=fault)) from fault
    several = info["driver"] in ("GPKG",) or table == dataset.stem
    warnings = [*(text.warnings if text else ())]
    if text and text.rows is None:
        warnings.append(say("no-dbf-beside"))
    if text and text.rows is not None and info["features"] > text.rows:
        warnings.append(say("dbf-rows-differ-from-shapes", rows=text.rows, shapes=info["features"]))
    # TopoJSON says no CRS: it is that of GeoJSON
    crs = _crs(info["crs"] or ("EPSG:4326" if info["driver"] == "TopoJSON" else None))
    if info["driver"] == "GeoJSON" and not declared:
        crs = _said_by_member(path) or crs
    header = Header(crs=crs, layer_hint=table if several else dataset.stem, warnings=tuple(warnings))
    return Source(header, _batches(dataset, table, text, path))


def _said_by_member(path: Path) -> CRS | None:
    """Return the CRS of the `crs` member that GeoJSON had until 2016, where one stands before the features.

    GDAL takes a name that it doesn't know for WGS 84.

    Raises:
        UnknownCrs: it names no CRS that PROJ knows.

    """
    with path.open("rb") as file:
        match = _CRS_MEMBER.search(file.read(_BEGINNING))
    return parse_reference(match[1].decode("utf-8", "replace")) if match else None


def _crs(declared: str | None) -> CRS | None:
    if not declared:
        return None
    try:
        crs = CRS.from_user_input(declared)
    except CRSError:
        return None
    # a GeoPackage's "undefined" systems are engineering CRS; a plain name isn't a place
    placed = crs.is_geographic or crs.is_projected or crs.is_compound
    return crs if placed and not crs.name.startswith("Undefined ") else None


def _batches(dataset: _Dataset, table: str, text: Text | None, path: Path) -> Iterator[Features]:
    try:
        stream = pyogrio.open_arrow(
            dataset.address,
            layer=table,
            batch_size=BATCH_SIZE,
            use_pyarrow=True,
            return_fids=True,
            encoding=_LATIN if text else None,
        )
        with stream as (meta, reader):
            for batch in reader:
                yield _features(batch, meta["geometry_name"] or "wkb_geometry", text)
    except (DataSourceError, DataLayerError, pa.ArrowInvalid, OSError) as fault:
        raise UnreadableFile(say("file-cannot-be-read", file=path, reason=fault)) from fault


def _features(batch: pa.RecordBatch, geometry_name: str, text: Text | None) -> Features:
    columns = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
    for number in ("OGC_FID", "fid"):  # a row's place in its file, not an id
        columns.pop(number, None)
    wkb = columns.pop(geometry_name).to_numpy(zero_copy_only=False)
    curved = [row for row, shape in enumerate(wkb) if shape is not None and is_curve(shape)]
    curves = [linear(bytes(wkb[row])) for row in curved]
    wkb = wkb.copy()
    wkb[curved] = None
    geometry = shapely.from_wkb(wkb, on_invalid="ignore")
    for row, shape in zip(curved, curves, strict=True):
        geometry[row] = shape
    return _made(columns, geometry, text)


def _made(columns: dict[str, Any], geometry: NDArray[Any], text: Text | None) -> Features:
    names = list(columns)
    try:
        values = [column.to_pylist() for column in columns.values()]
    except UnicodeDecodeError as fault:
        raise UndecidableEncoding(say("text-not-utf-8", reason=fault.reason)) from fault
    warnings: dict[str, tuple[str, ...]] = {}
    if text:
        names = [text.decode(name)[0] for name in names]
        decoded = [_decoded(column, text) for column in values]
        values = [column for column, _ in decoded]
        cut = sum(count for _, count in decoded)
        if cut:
            warnings[say("text-cut-middle-character-field")] = ()
    records = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)] if values else []
    count = len(geometry)
    has_m = shapely.has_m(geometry)
    if has_m.any():
        dimension = 3 if shapely.has_z(geometry).any() else 2
        geometry[has_m] = shapely.from_wkb(shapely.to_wkb(geometry[has_m], output_dimension=dimension))
    return Features(
        ids=[None] * count,
        attributes=records or [{} for _ in range(count)],
        geometry=geometry,
        object_class=[None] * count,
        parent_id=[None] * count,
        warnings=warnings,
    )


def _decoded(column: list[Any], text: Text) -> tuple[list[Any], int]:
    cut = 0
    result: list[Any] = []
    for value in column:
        whole, broken = text.decode(value) if isinstance(value, str) else (value, False)
        cut += broken
        result.append(whole)
    return result, cut


def _parquet(path: Path) -> Source:
    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as fault:
        raise UnreadableFile(say("not-parquet-file", file=path, reason=fault)) from fault
    metadata = file.schema_arrow.metadata or {}
    if b"geo" not in metadata:
        raise UnreadableFile(say("no-geoparquet-metadata", file=path))
    geo = json.loads(metadata[b"geo"])
    primary = geo["primary_column"]
    declared = geo["columns"][primary]
    if declared.get("encoding") != "WKB":
        raise UnreadableFile(say("geometry-encoding", file=path, encoding=declared.get("encoding")))
    crs: CRS | None = CRS.from_user_input("OGC:CRS84")  # what GeoParquet means where it says nothing
    if "crs" in declared:
        crs = CRS.from_json_dict(declared["crs"]) if declared["crs"] else None

    def batches() -> Iterator[Features]:
        for batch in file.iter_batches(BATCH_SIZE):
            columns = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
            for name in ("bbox", "__index_level_0__"):
                columns.pop(name, None)
            geometry = shapely.from_wkb(columns.pop(primary).to_numpy(zero_copy_only=False), on_invalid="ignore")
            yield _made(columns, geometry, None)

    return Source(Header(crs=crs, layer_hint=path.stem), batches())
