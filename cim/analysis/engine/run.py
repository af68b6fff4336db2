"""Running an analysis on the store: its layers read at one moment, its result with what it was computed from."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
import shapely
from pyproj import CRS

from cim.analysis.engine.assumptions import read_assumptions
from cim.analysis.engine.registry import Inputs, Need, Progress, analysis, check_parameters
from cim.analysis.engine.result import Computed
from cim.catalog.model import Layer
from cim.errors import BadRequest, NotFound
from cim.store.connection import Cursor, Store
from cim.store.schema import table
from cim.version import VERSION
from cim.write.export import Extract, open_frame

SUFFIXES = (".json", ".geojson", ".gpkg", ".parquet", ".csv")


def analyse(
    cursor: Cursor, store: Store, name: str, raw: Mapping[str, Any], progress: Progress = lambda *_: None
) -> Computed:
    """Run an analysis.

    Args:
        cursor: in a transaction, so that all layers are read as of one moment; what it may see is what is computed.
        store: its city and catalog.
        name: of the analysis.
        raw: parameters by name.
        progress: told the share done, between 0 and 1.

    Raises:
        NotFound: no such analysis or layer, or a layer that it needs is empty.
        BadRequest: a parameter can't be used.

    """
    asked = check_parameters(name, raw)
    code = analysis(name).code
    known_at = datetime.now(UTC)
    needed = code.needs(asked, store.catalog)
    frames = {}
    for n, (frame_name, need) in enumerate(needed.items()):
        progress(0.3 * n / len(needed), need.layer.id)
        frames[frame_name] = _frame(cursor, store, need, asked.at)
    assumptions = read_assumptions(store.city.catalog)
    inputs = Inputs(frames, store.city, store.catalog, assumptions)
    result = code.run(asked, inputs, lambda share, what: progress(0.3 + 0.7 * share, what))
    progress(1.0, "")
    origin = {
        "analysis": name,
        "software": f"cim {VERSION}",
        "at": (asked.at or known_at).isoformat(),
        "recorded_at": known_at.isoformat(),
        "parameters": json.loads(asked.model_dump_json(exclude_none=True, by_alias=True, exclude={"sessions"})),
        "layers": {need.layer.id: len(frames[frame_name]) for frame_name, need in needed.items()},
        "datasets": _datasets(cursor, {need.layer.id: need.layer for need in needed.values()}, asked.at),
        "assumptions": assumptions.sources(),
    }
    return Computed(name, result.gdf, result.figures, result.check, origin)


def _frame(cursor: Cursor, store: Store, need: Need, at: datetime | None) -> gpd.GeoDataFrame:
    """Return a layer in the city's CRS; a field that plays a role is there under the role's name too."""
    layer = need.layer
    moment = None if layer.observes else at  # of values over time all are meant
    frame = open_frame(cursor, store.city, Extract(layer, where=need.where, at=moment))
    attributes = pa.Table.from_batches(frame.batches, frame.schema).to_pandas()
    if need.required and attributes.empty:
        raise NotFound(f"the layer {layer.id} ({layer.title.en}) holds nothing then: load it first")
    for field in layer.fields:
        if field.role and field.role not in attributes:
            attributes[field.role] = attributes[field.name]
    if "geometry" not in attributes:
        return gpd.GeoDataFrame(attributes)
    shapes = shapely.force_2d(shapely.from_wkb(attributes.pop("geometry").to_numpy()))
    crs = CRS.from_epsg(store.city.srid)
    return gpd.GeoDataFrame(attributes, geometry=shapes, crs=crs).sort_values("id", ignore_index=True)


def _datasets(cursor: Cursor, layers: Mapping[str, Layer], at: datetime | None) -> list[dict[str, Any]]:
    """Return the datasets that the layers' content is of, each with its survey date and its newest load."""
    found = []
    for name, layer in layers.items():
        when = "" if layer.observes else "AND v.valid @> coalesce(%(at)s::timestamptz, now())"
        rows = cursor.execute(
            f"""SELECT v.dataset, d.surveyed::text, max(v.load) FROM {table(layer)} v
                LEFT JOIN cim.dataset d ON d.name = v.dataset
                WHERE upper_inf(v.recorded) {when} GROUP BY 1, 2 ORDER BY 1""".encode(),
            {"at": at},
        ).fetchall()
        found += [{"layer": name, "dataset": d, "surveyed": s, "load": load} for d, s, load in rows]
    return found


def write_computed(computed: Computed, path: Path) -> None:
    """Write a result as the file that its suffix says; figures, check and origin go with it or beside it.

    Raises:
        BadRequest: no format has this suffix.

    """
    suffix = path.suffix.lower()
    if suffix in (".json", ".geojson"):
        path.write_text(computed.dumps(), "utf-8")
        return
    if suffix not in SUFFIXES:
        raise BadRequest(f"{path}: a result can be written as {', '.join(SUFFIXES)}")
    flat = computed.gdf.copy()
    for column in flat.columns:
        if column != "geometry" and flat[column].map(lambda v: isinstance(v, list | dict)).any():
            flat[column] = flat[column].map(json.dumps)
    if suffix == ".gpkg":
        flat.to_file(path, driver="GPKG", layer=computed.analysis)
    elif suffix == ".parquet":
        flat.to_parquet(path)
    else:
        flat.assign(geometry=flat.geometry.to_wkt() if "geometry" in flat else None).to_csv(path, index=False)
    whole = computed.as_json()
    beside = {key: value for key, value in whole.items() if key not in ("type", "features")}
    path.with_suffix(f"{suffix}.json").write_text(json.dumps(beside, ensure_ascii=False, indent=1), "utf-8")
