"""Colours of results by the legend that their analysis declares: bounds of classes, ramps, pictures of rasters."""

import io

import numpy as np
from numpy.typing import NDArray

from cim.analysis.engine.declaration import RAMPS, UNKNOWN_COLOR, VALUE_COLORS, Legend
from cim.analysis.engine.inputs import RasterWindow
from cim.analysis.engine.result import Computed, plain

Float = NDArray[np.float64]


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
