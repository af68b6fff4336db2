"""A result as a file, by its suffix: rows as GeoJSON, Arrow, GeoPackage, GeoParquet, CSV; a raster as GeoTIFF.

Rows that have a body go out with its faces as their geometry. The mesh of bodies (`.glb`) is made by `tiles`, which
knows where on the globe they stand.
"""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from cim.analysis.engine.declaration import RAMPS, UNKNOWN_COLOR, VALUE_COLORS, Legend
from cim.analysis.engine.inputs import RasterWindow
from cim.analysis.engine.result import Computed, plain
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
        raise BadRequest(say("gives-rows", analysis=computed.analysis, formats=", ".join(FORMATS)))
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


def class_bounds(values: Float, legend: Legend) -> list[float]:
    """Return the lower bounds of the classes of finite values and the greatest value, ascending; [] for none.

    Args:
        values: of any shape, NaN where unknown.
        legend: how they are classed: `quantiles` (classes of like number) or `equal` (of like width).

    """
    finite = np.unique(values[np.isfinite(values)])
    if not finite.size:
        return []
    count = min(legend.classes, len(RAMPS[legend.ramp]), finite.size)
    if legend.method == "equal":
        return [float(step) for step in np.linspace(finite[0], finite[-1], count + 1)]
    return [*finite[(np.arange(count) * finite.size) // count].tolist(), float(finite[-1])]


def picture(
    raster: RasterWindow, legend: Legend, longest: int = 2048
) -> tuple[bytes, tuple[float, float, float, float]]:
    """Return a raster as a PNG over a box of degrees, coloured by its legend, transparent where nothing is known.

    Returns:
        The PNG, and west, south, east, north.

    """
    from PIL import Image
    from rasterio.enums import Resampling
    from rasterio.transform import from_bounds
    from rasterio.warp import calculate_default_transform, reproject, transform_bounds

    rows, columns = raster.cells.shape
    source, bounds = raster.crs.to_wkt(), _bounds(raster)
    _, width, height = calculate_default_transform(source, "EPSG:4326", columns, rows, *bounds)
    if (scale := max(width, height) / longest) > 1:
        width, height = max(int(width / scale), 1), max(int(height / scale), 1)
    west, south, east, north = transform_bounds(source, "EPSG:4326", *bounds)
    degrees = np.full((height, width), np.nan)
    reproject(
        raster.cells, degrees, src_transform=raster.transform, src_crs=source, src_nodata=np.nan,
        dst_transform=from_bounds(west, south, east, north, width, height), dst_crs="EPSG:4326", dst_nodata=np.nan,
        resampling=Resampling.nearest,
    )  # fmt: skip
    steps = class_bounds(raster.cells, legend)
    colors = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in ramp_of(legend, max(len(steps) - 1, 1))])
    shade = np.clip(np.searchsorted(steps[:-1], degrees, side="right") - 1, 0, len(colors) - 1) if steps else 0
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[..., :3] = colors[shade]
    pixels[..., 3] = np.where(np.isnan(degrees), 0, 200)
    sink = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(sink, "PNG", optimize=False)
    return sink.getvalue(), (west, south, east, north)


def row_colors(computed: Computed, legend: Legend | None) -> list[str]:
    """Return the colour (#rrggbb) of each row by the declared legend, as the viewer draws it; unknown is grey."""
    column = computed.drawn_by or (legend.column if legend else None)
    if column is None or column not in computed.gdf:
        return [VALUE_COLORS[0]] * len(computed.gdf)
    cells = [plain(value) for value in computed.gdf[column]]
    numbers = [isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells]
    if legend and legend.method != "values" and any(numbers):
        values = np.array(
            [cell if is_number else np.nan for cell, is_number in zip(cells, numbers, strict=True)], np.float64
        )
        steps = class_bounds(values, legend)
        colors = ramp_of(legend, max(len(steps) - 1, 1))
        classes = np.clip(np.searchsorted(steps[:-1], values, side="right") - 1, 0, len(colors) - 1)
        return [colors[n] if is_number else UNKNOWN_COLOR for n, is_number in zip(classes, numbers, strict=True)]
    words = list(dict.fromkeys("" if cell is None else str(cell) for cell in cells))
    color_of = {word: VALUE_COLORS[n % len(VALUE_COLORS)] if word else UNKNOWN_COLOR for n, word in enumerate(words)}
    return [color_of["" if cell is None else str(cell)] for cell in cells]


def ramp_of(legend: Legend, count: int) -> list[str]:
    """Return `count` colours of a legend's ramp, from its lightest to its darkest."""
    ramp = RAMPS[legend.ramp]
    return [ramp[round(k * (len(ramp) - 1) / max(count - 1, 1))] for k in range(count)]


def _bounds(raster: RasterWindow) -> tuple[float, float, float, float]:
    rows, columns = raster.cells.shape
    west, north = raster.transform.c, raster.transform.f
    return west, north + raster.transform.e * rows, west + raster.transform.a * columns, north
