"""A result as a file, by its suffix: rows as GeoJSON, Arrow, GeoPackage, GeoParquet, CSV; a raster as GeoTIFF.

Rows that have a body go out with its faces as their geometry. The mesh of bodies (`.glb`) is made by `tiles`, which
knows where on the globe they stand.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from cim.analysis.engine.inputs import RasterWindow
from cim.analysis.engine.result import Computed
from cim.errors import BadRequest
from cim.messages import say

Float = NDArray[np.float64]
Write = Callable[[Computed, Path], None]


def write_computed(computed: Computed, path: Path) -> None:
    """Write a result as the file that its suffix says; where the file can't hold figures, they go beside it as JSON.

    Raises:
        BadRequest: no format has this suffix, or the result has no raster.

    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise BadRequest(say("result-can-written", file=path, formats=", ".join(FORMATS)))
    FORMATS[suffix](computed, path)
    if suffix not in (".json", ".geojson"):
        text = json.dumps(computed.summary, ensure_ascii=False, indent=1)
        path.with_name(f"{path.name}.json").write_text(text, "utf-8")


def flat(rows: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return rows whose cells are plain values: lists and objects as JSON text."""
    plain = rows.copy()
    for column in plain.columns:
        if column != "geometry" and plain[column].map(lambda v: isinstance(v, list | dict)).any():
            plain[column] = plain[column].map(lambda v: v if v is None else json.dumps(v))
    return plain


def _json(computed: Computed, path: Path) -> None:
    path.write_text(computed.dumps(), "utf-8")


def _geopackage(computed: Computed, path: Path) -> None:
    flat(computed.shaped).to_file(path, driver="GPKG", layer=computed.analysis)


def _parquet(computed: Computed, path: Path) -> None:
    flat(computed.shaped).to_parquet(path)


def _arrow(computed: Computed, path: Path) -> None:
    table = pa.table(flat(computed.shaped).to_arrow(index=False, geometry_encoding="WKB"))
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table)


def _csv(computed: Computed, path: Path) -> None:
    rows = flat(computed.shaped)
    plain = pd.DataFrame(rows.drop(columns="geometry", errors="ignore"))
    plain.assign(geometry=rows.geometry.to_wkt() if "geometry" in rows else None).to_csv(path, index=False)


def write_geotiff(raster: RasterWindow, path: Path) -> None:
    """Write cells as a GeoTIFF of float64, tiled and deflated; where nothing is known is NaN."""
    import rasterio

    rows, columns = raster.cells.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=columns, count=1, dtype="float64", crs=raster.crs.to_wkt(),
        transform=raster.transform, nodata=np.nan, compress="deflate", tiled=True, blockxsize=256, blockysize=256,
    ) as file:  # fmt: skip
        file.write(raster.cells, 1)


def _geotiff(computed: Computed, path: Path) -> None:
    if computed.raster is None:
        others = ", ".join(suffix for suffix in FORMATS if suffix != ".tif")
        raise BadRequest(say("gives-rows", analysis=computed.analysis, formats=others))
    write_geotiff(computed.raster, path)


FORMATS: Mapping[str, Write] = {
    ".json": _json,
    ".geojson": _json,
    ".gpkg": _geopackage,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".csv": _csv,
    ".tif": _geotiff,
}
