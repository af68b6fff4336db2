"""GeoTIFF into the asset store, kept in its own grid: heights in the city's datum, amounts and colours as they are."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from pyproj import CRS
from rasterio.errors import RasterioIOError

from cim.assets import put_asset
from cim.catalog.model import Layer
from cim.crs import Float, check_place, label, operation, split, to_wgs84
from cim.errors import UnknownCrs, UnknownVerticalDatum, UnreadableFile
from cim.heights import datum_of, to_city_heights
from cim.store import Cursor, Store
from ingest.dataset import Declared, declared_crs, heights_city
from ingest.report import FileReport
from ingest.sheets import Sheet, enter, sheet_layer

_VOIDS = (-9999.0, -32768.0, -32767.0, -99999.0)  # written as heights where a file declares no no-data value
_LOWEST_GROUND_M = -500.0


def load(cursor: Cursor, store: Store, path: Path, declared: Declared, number: int, report: FileReport) -> None:
    """Load a raster: one asset in the file's own grid.

    Cells of heights are brought to the city's vertical datum; amounts and colours are kept to the bit.

    Raises:
        UnreadableFile: not a raster, or without a single value.
        UnknownCrs: nothing tells its CRS.
        UnknownVerticalDatum: nothing tells the datum of its heights.
        WrongCity: it lies more than 50 km from the city.

    """
    layer = sheet_layer(path, declared, store, "raster")
    if layer.cells != "height":
        _load_as_it_is(cursor, store, layer, path, declared, number, report)
        return
    try:
        with rasterio.open(path) as file:
            profile: dict[str, Any] = dict(file.profile)
            crs = declared_crs(declared) or (CRS.from_wkt(file.crs.to_wkt()) if file.crs else None)
            values: Float = file.read(1, masked=True).astype(np.float64).filled(np.nan)
            area_or_point = file.tags().get("AREA_OR_POINT", "Area")
    except RasterioIOError as fault:
        raise UnreadableFile(f"{path}: {fault}") from fault
    if crs is None:
        raise UnknownCrs(f"{path}: nothing tells its CRS: --crs EPSG:N")
    values = _without_voids(values, path, report)
    horizontal, _ = split(crs)
    transform = profile["transform"]
    x, y = _centres(values.shape, transform)
    west, south, east, north = _extent(x, y, horizontal, store, path, report)
    datum = declared.vertical_datum or datum_of(crs)
    if datum is None:
        raise UnknownVerticalDatum(
            f"{path}: nothing tells the vertical datum of its heights: --vertical-datum EPSG:N, ellipsoidal, or city"
        )
    to_city = operation(horizontal, CRS.from_epsg(store.city.srid), store.city.extent)
    name, heights = to_city_heights(datum, heights_city(declared, store.city))
    city_x, city_y = to_city(x.ravel(), y.ravel())
    known = np.isfinite(values).ravel()
    flat = values.ravel()
    flat[known] = heights(city_x[known], city_y[known], flat[known] * (declared.z_unit_m or 1.0))
    corners = _outline(city_x.reshape(values.shape), city_y.reshape(values.shape))
    resolution_m = float(
        np.hypot(corners[1][0] - corners[0][0], corners[1][1] - corners[0][1]) / (values.shape[1] - 1 or 1)
    )
    sha256 = _store_file(store, values, profile, horizontal, area_or_point)
    report.layers, report.crs, report.vertical_datum = [layer.id], label(horizontal), datum
    report.operation, report.extent, report.read = to_city.name, (west, south, east, north), 1
    report.heights = name
    about = {"resolution_m": resolution_m, "crs": label(horizontal), "extent": report.extent, "shape": values.shape}
    enter(cursor, Sheet(layer.id, path.stem, sha256, corners, about), store, declared, number, report)


def _load_as_it_is(
    cursor: Cursor, store: Store, layer: Layer, path: Path, declared: Declared, load: int, report: FileReport
) -> None:
    """Keep a raster of amounts or colours: its bands, types and grid."""
    try:
        with rasterio.open(path) as file:
            crs = declared_crs(declared) or (CRS.from_wkt(file.crs.to_wkt()) if file.crs else None)
            bands, profile, colors = file.read(), dict(file.profile), file.colorinterp
            first = file.read(1, masked=True).astype(np.float64).filled(np.nan)
    except RasterioIOError as fault:
        raise UnreadableFile(f"{path}: {fault}") from fault
    if crs is None:
        raise UnknownCrs(f"{path}: nothing tells its CRS: --crs EPSG:N")
    if not np.isfinite(first).any():
        raise UnreadableFile(f"{path}: no cell has a value")
    horizontal, _ = split(crs)
    x, y = _centres(first.shape, profile["transform"])
    box = _extent(x, y, horizontal, store, path, report)
    to_city = operation(horizontal, CRS.from_epsg(store.city.srid), store.city.extent)
    city_x, city_y = to_city(x.ravel(), y.ravel())
    corners = _outline(city_x.reshape(first.shape), city_y.reshape(first.shape))
    width_m = float(np.hypot(corners[1][0] - corners[0][0], corners[1][1] - corners[0][1]))
    profile |= {
        "driver": "GTiff", "crs": horizontal.to_wkt(), "tiled": True, "blockxsize": 256, "blockysize": 256,
        "compress": "deflate", "interleave": "pixel",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "raster.tif"
        with rasterio.open(kept, "w", **profile) as target:
            target.write(bands)
            target.colorinterp = colors
        sha256 = put_asset(store.settings, kept)
    about: dict[str, Any] = {
        "resolution_m": width_m / (first.shape[1] - 1 or 1),
        "crs": label(horizontal),
        "extent": box,
        "shape": first.shape,
        "bands": len(bands),
    }
    if layer.cells == "amount":
        about["sum"] = float(np.nansum(first))
    report.layers, report.crs, report.extent, report.read = [layer.id], label(horizontal), box, 1
    enter(cursor, Sheet(layer.id, path.stem, sha256, corners, about), store, declared, load, report)


def _without_voids(values: Float, path: Path, report: FileReport) -> Float:
    void = np.isin(values, _VOIDS) | (values < _LOWEST_GROUND_M)
    if void.any():
        report.warn(f"{int(void.sum())} cells with a void value ({values[void][0]:g}) that the file doesn't declare")
        values = np.where(void, np.nan, values)
    if not np.isfinite(values).any():
        raise UnreadableFile(f"{path}: no cell has a value")
    return values


def _centres(shape: tuple[int, ...], transform: Any) -> tuple[Float, Float]:
    rows, columns = shape
    column, row = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    return (
        transform.c + transform.a * column + transform.b * row,
        transform.f + transform.d * column + transform.e * row,
    )


def _extent(
    x: Float, y: Float, horizontal: CRS, store: Store, path: Path, report: FileReport
) -> tuple[float, float, float, float]:
    lon, lat = to_wgs84(horizontal)(x[:: max(len(x) // 8, 1)].ravel(), y[:: max(len(x) // 8, 1)].ravel())
    box = (float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    inside = store.city.extent and box[0] < store.city.extent[0] and box[2] > store.city.extent[2]
    place = (*centre, *centre) if inside else box  # a DEM may reach well beyond the city it covers
    at = (float(x.mean()), float(y.mean()))
    for warning in check_place(place, city=store.city, crs=horizontal, where=str(path), at=at):
        report.warn(warning)
    return box


def _outline(x: Float, y: Float) -> list[tuple[float, float]]:
    corners = ((0, 0), (0, -1), (-1, -1), (-1, 0), (0, 0))
    return [(float(x[i, j]), float(y[i, j])) for i, j in corners]


def _store_file(store: Store, values: Float, profile: dict[str, Any], horizontal: CRS, area_or_point: str) -> str:
    """Write the heights as a tiled, compressed GeoTIFF of one band; the same values give the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "terrain.tif"
        with rasterio.open(
            file,
            "w",
            driver="GTiff",
            height=values.shape[0],
            width=values.shape[1],
            count=1,
            dtype="float32",
            nodata=float("nan"),
            crs=horizontal.to_wkt(),
            transform=profile["transform"],
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="deflate",
            predictor=3,
        ) as target:
            target.write(values.astype(np.float32), 1)
            target.update_tags(AREA_OR_POINT=area_or_point)
        return put_asset(store.settings, file)
