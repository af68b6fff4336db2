"""Results kept: rows, raster and bodies as files named by their content, and a manifest that says the rest.

What a job answers is made from its manifest and these files, so it is the same however often, and in whatever form, it
is asked for.
"""

import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
from pyproj import CRS

from cim.analysis.engine.inputs import LayerBodies, RasterWindow
from cim.analysis.engine.result import UNKNOWN, Check, Computed
from cim.analysis.engine.result_files import write_geotiff
from cim.analysis.engine.unknown import Unknown
from cim.catalog.row import Text
from cim.config import Settings
from cim.geometry.canonical import canonical
from cim.geometry.stored_form import decode, encode
from cim.store.assets import content_path, put_content

FRESH_S = 3600.0  # a file of a result whose job isn't finished yet
_OURS = ("type", "features", "check", "computed_from", UNKNOWN, "notes", "raster", "bodies", "drawn_by")


def keep(settings: Settings, computed: Computed) -> str:
    """Put a result's rows, raster and bodies into the store of results; return their manifest as JSON."""
    with tempfile.TemporaryDirectory(prefix="cim-result-") as scratch:
        rows = Path(scratch) / "rows.arrow"
        _write(to_arrow(computed.gdf), rows)
        files = {"rows": put_content(settings.result_store, rows)}
        if computed.raster is not None:
            cells = Path(scratch) / "cells.tif"
            write_geotiff(computed.raster, cells)
            files["raster"] = put_content(settings.result_store, cells)
        if computed.bodies is not None:
            faces = Path(scratch) / "bodies.arrow"
            _write(bodies_to_arrow(computed.bodies), faces)
            files["bodies"] = put_content(settings.result_store, faces)
    manifest = {"analysis": computed.analysis, "files": files, "summary": computed.summary}
    return json.dumps(manifest, ensure_ascii=False)


def _write(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table)


def read_kept(settings: Settings, manifest: str) -> Computed:
    """Return a result from its manifest."""
    document = json.loads(manifest)
    files, summary = document["files"], document["summary"]
    with pa.ipc.open_file(content_path(settings.result_store, files["rows"])) as file:
        gdf = from_arrow(file.read_all())
    raster = _raster(content_path(settings.result_store, files["raster"])) if "raster" in files else None
    bodies = None
    if "bodies" in files:
        with pa.ipc.open_file(content_path(settings.result_store, files["bodies"])) as file:
            bodies = bodies_from_arrow(file.read_all())
    unknown = {name: Unknown(Text.model_validate(reason)) for name, reason in summary.get(UNKNOWN, {}).items()}
    figures = {name: unknown.get(name, value) for name, value in summary.items() if name not in _OURS}
    notes = tuple(Text.model_validate(note) for note in summary.get("notes", ()))
    check = _check(summary["check"])
    origin: Mapping[str, Any] = summary["computed_from"]
    return Computed(
        document["analysis"], gdf, figures, check, origin, raster, bodies, notes, summary.get("drawn_by")
    )  # fmt: skip


def files_of(manifest: str) -> Iterable[str]:
    """Return the hashes of the files that a manifest leads to."""
    try:
        hashes: dict[str, str] = json.loads(manifest).get("files", {})
    except ValueError:  # of an older version
        return []
    return hashes.values()


def forget_results(settings: Settings, manifests: Iterable[str]) -> int:
    """Remove files of the store of results that no manifest leads to, and that aren't fresh; return how many."""
    wanted = {sha256 for manifest in manifests for sha256 in files_of(manifest)}
    before, count = time.time() - FRESH_S, 0
    for file in settings.result_store.glob("*/*"):
        if file.name not in wanted and file.stat().st_mtime < before:
            file.unlink(missing_ok=True)
            count += 1
    return count


def whole(computed: Computed) -> Computed:
    """Return a result with its rows as they come back when it was kept: the same bytes through every door."""
    rows = from_arrow(to_arrow(computed.gdf))
    bodies = computed.bodies and bodies_from_arrow(bodies_to_arrow(computed.bodies))
    return Computed(
        computed.analysis, rows, computed.figures, computed.check, computed.computed_from, computed.raster,
        bodies, computed.notes, computed.drawn_by,
    )  # fmt: skip


def bodies_to_arrow(solids: LayerBodies) -> pa.Table:
    """Return bodies as Arrow: the id of each, and its faces in the stored form; what isn't a body is left out."""
    standing = canonical(solids.bodies)
    ids = [str(identifier) for identifier in solids.ids[standing.valid]]
    faces = pa.array(encode(standing.bodies), pa.large_binary())
    return pa.table({"id": pa.array(ids, pa.string()), "faces": faces})


def bodies_from_arrow(table: pa.Table) -> LayerBodies:
    """Return bodies from Arrow; the other way of `bodies_to_arrow`."""
    ids = np.array(table.column("id").to_pylist(), object)
    return LayerBodies(ids, decode(table.column("faces").to_pylist()))


def to_arrow(gdf: gpd.GeoDataFrame) -> pa.Table:
    """Return rows as Arrow: cells that are lists or objects as JSON text, which the schema says; geometries as WKB."""
    rows = gdf.copy()
    as_json = [c for c in rows.columns if c != "geometry" and rows[c].map(lambda v: isinstance(v, list | dict)).any()]
    for column in as_json:
        rows[column] = rows[column].map(lambda v: None if v is None else json.dumps(v))
    if "geometry" not in rows:
        rows = gpd.GeoDataFrame(rows, geometry=[None] * len(rows))
    crs = rows.crs.to_epsg() if rows.crs is not None else None
    wkb = pa.array(rows.geometry.to_wkb().to_numpy(object), pa.binary())
    table = pa.Table.from_pandas(pd.DataFrame(rows.drop(columns="geometry")), preserve_index=False)
    described = {"json": as_json, "srid": crs}
    return table.append_column("geometry", wkb).replace_schema_metadata({"cim": json.dumps(described)})


def from_arrow(table: pa.Table) -> gpd.GeoDataFrame:
    """Return rows from Arrow; the other way of `to_arrow`."""
    described = json.loads((table.schema.metadata or {})[b"cim"])
    columns = {name: table.column(name).to_pylist() for name in table.column_names if name != "geometry"}
    for name in described["json"]:
        columns[name] = [None if v is None else json.loads(v) for v in columns[name]]
    frame = pd.DataFrame({name: _column(values, table.schema.field(name).type) for name, values in columns.items()})
    shapes = gpd.GeoSeries.from_wkb(table.column("geometry").to_pylist(), crs=described["srid"])
    return gpd.GeoDataFrame(frame, geometry=shapes)


def _column(values: list[Any], kind: pa.DataType) -> Any:
    """Return values as a column: whole numbers with gaps stay whole, what isn't a number is an object."""
    if pa.types.is_floating(kind):
        return np.array([np.nan if v is None else v for v in values], np.float64)
    if pa.types.is_integer(kind) and None not in values:
        return np.array(values, np.int64)
    return pd.Series(values, dtype=object)


def _check(document: Mapping[str, Any]) -> Check:
    values = {k: v for k, v in document.items() if k not in ("passed", "what", "what_zh")}
    return Check(document["passed"], Text(zh=document["what_zh"], en=document["what"]), values)


def _raster(path: Path) -> RasterWindow:
    import rasterio

    with rasterio.open(path) as file:
        return RasterWindow(file.read(1).astype(np.float64), file.transform, CRS.from_wkt(file.crs.to_wkt()))
