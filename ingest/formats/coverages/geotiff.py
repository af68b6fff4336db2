"""GeoTIFF into the asset store, kept in its own grid: heights in the city's datum, amounts and colours as they are."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from pyproj import CRS
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from cim.catalog.model import Layer
from cim.errors import UnknownCrs, UnknownVerticalDatum, UnreadableFile
from cim.messages import say
from cim.reference.crs import Float, Operation, check_place, label, operation, split, to_wgs84
from cim.reference.heights import datum_of, to_city_heights
from cim.store.assets import put_asset
from cim.store.connection import Cursor, Store
from ingest.delivery.declared import Declared, declared_crs, heights_city
from ingest.delivery.report import FileReport
from ingest.formats.contract import Incoming
from ingest.formats.coverages.sheet import Sheet, enter, sheet_layer
from ingest.formats.elsewhere import check_references

_VOIDS = (-9999.0, -32768.0, -32767.0, -99999.0)  # written as heights where a file declares no no-data value
_LOWEST_GROUND_M = -500.0
BLOCK_ROWS, BLOCK_COLUMNS = 1024, 4096  # cells that are held at once: about 200 MB on their way
CACHE_BYTES = 64_000_000  # of blocks in GDAL, which takes a twentieth of the machine's memory otherwise
SAMPLED = 512  # rows and columns whose places tell where a raster lies
TILED = {
    "driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate",
    "bigtiff": "IF_SAFER",
}  # fmt: skip


def load(cursor: Cursor, incoming: Incoming) -> None:
    """Load a raster: one asset in the file's own grid.

    Cells of heights are brought to the city's vertical datum; amounts and colours are kept to the bit.

    Raises:
        UnreadableFile: not a raster, or without a single value.
        UnknownCrs: nothing tells its CRS.
        UnknownVerticalDatum: nothing tells the datum of its heights.
        WrongCity: it lies more than 50 km from the city.

    """
    path, store, declared, report = incoming.path, incoming.store, incoming.declared, incoming.report
    layer = sheet_layer(path, declared, store, "raster")
    if layer.cells != "height":
        _load_as_it_is(cursor, layer, incoming)
        return
    with _opened(path) as file:
        crs = _crs_of(file, path, declared)
        horizontal, _ = split(crs)
        shape, transform = file.shape, file.transform
        west, south, east, north = _extent(shape, transform, horizontal, store, path, report)
        datum = declared.vertical_datum or datum_of(crs)
        if datum is None:
            raise UnknownVerticalDatum(say("nothing-tells-vertical-datum-heights", file=path))
        to_city = operation(horizontal, CRS.from_epsg(store.city.srid), store.city.extent)
        name, heights = to_city_heights(datum, heights_city(declared, store.city))

        def in_city(values: Float, x: Float, y: Float) -> Float:
            finite = np.isfinite(values)
            city_x, city_y = to_city(x[finite], y[finite])
            values[finite] = heights(city_x, city_y, values[finite] * (declared.z_unit_m or 1.0))
            return values

        sha256 = _store_heights(store, file, horizontal, in_city, path, report)
    corners, resolution_m = _outline(shape, transform, to_city)
    report.layers, report.crs, report.vertical_datum = [layer.id], label(horizontal), datum
    report.operation, report.extent, report.read = to_city.name, (west, south, east, north), 1
    report.heights = name
    about = {"resolution_m": resolution_m, "crs": label(horizontal), "extent": report.extent, "shape": shape}
    enter(cursor, Sheet(layer.id, path.stem, sha256, corners, about), incoming)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    check_references(path)
    try:
        # as a GeoTIFF and as nothing else: GDAL knows forms of text that name other files, or addresses
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), rasterio.open(path, driver="GTiff") as file:
            yield file
    except RasterioIOError as fault:
        raise UnreadableFile(say("file-cannot-be-read", file=path, reason=fault)) from fault


def _crs_of(file: Any, path: Path, declared: Declared) -> CRS:
    crs = declared_crs(declared) or (CRS.from_wkt(file.crs.to_wkt()) if file.crs else None)
    if crs is None:
        raise UnknownCrs(say("nothing-tells-crs", file=path))
    return crs


def _load_as_it_is(cursor: Cursor, layer: Layer, incoming: Incoming) -> None:
    """Keep a raster of amounts or colours: its bands, types and grid."""
    path, store, declared, report = incoming.path, incoming.store, incoming.declared, incoming.report
    with _opened(path) as file:
        horizontal, _ = split(_crs_of(file, path, declared))
        shape, transform, bands = file.shape, file.transform, file.count
        box = _extent(shape, transform, horizontal, store, path, report)
        sha256, total = _store_as_it_is(store, file, horizontal, path)
    to_city = operation(horizontal, CRS.from_epsg(store.city.srid), store.city.extent)
    corners, resolution_m = _outline(shape, transform, to_city)
    about: dict[str, Any] = {
        "resolution_m": resolution_m,
        "crs": label(horizontal),
        "extent": box,
        "shape": shape,
        "bands": bands,
    }
    if layer.cells == "amount":
        about["sum"] = total
    report.layers, report.crs, report.extent, report.read = [layer.id], label(horizontal), box, 1
    enter(cursor, Sheet(layer.id, path.stem, sha256, corners, about), incoming)


def _blocks(shape: tuple[int, int]) -> Iterator[Window]:
    """Yield windows over a raster, row by row, of whole tiles of the stored file."""
    for row in range(0, shape[0], BLOCK_ROWS):
        for column in range(0, shape[1], BLOCK_COLUMNS):
            yield Window(column, row, min(BLOCK_COLUMNS, shape[1] - column), min(BLOCK_ROWS, shape[0] - row))


def _numbers(file: Any, window: Window) -> Float:
    """Return the numbers of the first band as they stand, NaN where there is none."""
    return np.asarray(file.read(1, window=window, masked=True).astype(np.float64).filled(np.nan))


def _centres(window: Window, transform: Any) -> tuple[Float, Float]:
    """Return where the centres of a window's cells are, each (rows, columns)."""
    column, row = np.meshgrid(
        window.col_off + np.arange(window.width) + 0.5, window.row_off + np.arange(window.height) + 0.5
    )
    return _places(column, row, transform)


def _places(column: Float, row: Float, transform: Any) -> tuple[Float, Float]:
    return (
        transform.c + transform.a * column + transform.b * row,
        transform.f + transform.d * column + transform.e * row,
    )


def _extent(
    shape: tuple[int, int], transform: Any, horizontal: CRS, store: Store, path: Path, report: FileReport
) -> tuple[float, float, float, float]:
    """Return the box in degrees of a raster's cells, by some of them."""
    rows, columns = (np.linspace(0.5, size - 0.5, min(size, SAMPLED)) for size in shape)
    x, y = _places(*np.meshgrid(columns, rows), transform)
    lon, lat = to_wgs84(horizontal)(x.ravel(), y.ravel())
    box = (float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    inside = store.city.extent and box[0] < store.city.extent[0] and box[2] > store.city.extent[2]
    place = (*centre, *centre) if inside else box  # a DEM may reach well beyond the city it covers
    at = (float(x.mean()), float(y.mean()))
    report.lies_outside(check_place(place, city=store.city, crs=horizontal, where=str(path), at=at))
    return box


def _outline(shape: tuple[int, int], transform: Any, to_city: Operation) -> tuple[list[tuple[float, float]], float]:
    """Return the middles of the corner cells as a ring in the city's plane, and a cell's width there in metres."""
    low, right, down = 0.5, shape[1] - 0.5, shape[0] - 0.5
    x, y = to_city(*_places(np.array([low, right, right, low, low]), np.array([low, low, down, down, low]), transform))
    corners = list(zip(x.tolist(), y.tolist(), strict=True))
    return corners, float(np.hypot(x[1] - x[0], y[1] - y[0]) / (shape[1] - 1 or 1))


def _store_heights(
    store: Store,
    file: Any,
    horizontal: CRS,
    in_city: Callable[[Float, Float, Float], Float],
    path: Path,
    report: FileReport,
) -> str:
    """Write heights as a tiled, compressed GeoTIFF of one band, block by block; the same values give the same bytes."""
    profile = TILED | {
        "height": file.height, "width": file.width, "count": 1, "dtype": "float32", "nodata": float("nan"),
        "crs": horizontal.to_wkt(), "transform": file.transform, "predictor": 3,
    }  # fmt: skip
    voids, void, has_values = 0, 0.0, False
    with tempfile.TemporaryDirectory() as folder:
        rewritten_path = Path(folder) / "terrain.tif"
        with rasterio.open(rewritten_path, "w", **profile) as target:
            for window in _blocks(file.shape):
                numbers = _numbers(file, window)
                values = numbers * file.scales[0] + file.offsets[0]  # many write tenths as whole numbers, and say so
                undeclared = np.isin(numbers, _VOIDS) | (values < _LOWEST_GROUND_M)
                if undeclared.any():
                    void = void if voids else float(numbers[undeclared][0])
                    voids += int(undeclared.sum())
                    values[undeclared] = np.nan
                has_values = has_values or bool(np.isfinite(values).any())
                target.write(in_city(values, *_centres(window, file.transform)).astype(np.float32), 1, window=window)
            target.update_tags(AREA_OR_POINT=file.tags().get("AREA_OR_POINT", "Area"))
        if voids:
            report.warn(say("cells-void-value", voids=voids, void=void))
        if not has_values:
            raise UnreadableFile(say("no-cell-has-value", file=path))
        return put_asset(store.settings, rewritten_path)


def _store_as_it_is(store: Store, file: Any, horizontal: CRS, path: Path) -> tuple[str, float]:
    """Write a raster's bands as they are, block by block; return its name in the asset store, and the first's sum."""
    profile = dict(file.profile) | TILED | {"crs": horizontal.to_wkt(), "interleave": "pixel"}
    total, has_values = 0.0, False
    with tempfile.TemporaryDirectory() as folder:
        rewritten_path = Path(folder) / "raster.tif"
        with rasterio.open(rewritten_path, "w", **profile) as target:
            target.colorinterp = file.colorinterp
            target.scales, target.offsets = file.scales, file.offsets
            for window in _blocks(file.shape):
                target.write(file.read(window=window), window=window)
                values = _numbers(file, window) * file.scales[0] + file.offsets[0]
                total += float(np.nansum(values))
                has_values = has_values or bool(np.isfinite(values).any())
        if not has_values:
            raise UnreadableFile(say("no-cell-has-value", file=path))
        return put_asset(store.settings, rewritten_path), total
