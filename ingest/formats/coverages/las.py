"""LAS, LAZ and COPC into the asset store: every point with all its dimensions, in the city's CRS and vertical datum.

Read and written a piece at a time, so that memory doesn't grow with the file. Where coordinates need no operation they
keep their integers; else they are written on a raster of a tenth of a millimetre, or the file's own where finer.
Formats: ASPRS LAS 1.4 R15; https://copc.io
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import laspy
import numpy as np
from laspy.errors import LaspyException
from lazrs import LazrsError
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from cim.city import Extent
from cim.errors import UnknownCrs, UnknownVerticalDatum, UnreadableFile
from cim.messages import say
from cim.reference.crs import Float, Operation, check_place, label, operation, split, to_wgs84
from cim.reference.heights import ToCityHeight, datum_of, to_city_heights
from cim.store.assets import put_asset
from cim.store.connection import Cursor, Store
from ingest.delivery.declared import Declared, declared_crs, heights_city
from ingest.delivery.report import FileReport
from ingest.formats.contract import Incoming
from ingest.formats.coverages.sheet import Sheet, box_outline, enter, sheet_layer

CHUNK = 1_000_000  # points
FINEST_M = 1e-4
_FAULTS = (LaspyException, LazrsError, OSError, ValueError, EOFError, RuntimeError)
_VERTICAL_UNIT_KEY = 4099
_UNIT_OF_KEY = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937}


def load(cursor: Cursor, incoming: Incoming) -> None:
    """Load a cloud as one asset.

    Raises:
        UnreadableFile: not LAS, cut short, or without a point.
        UnknownCrs: nothing tells its CRS.
        UnknownVerticalDatum: nothing tells the datum of its heights.
        WrongCity: it lies more than 50 km from the city.

    """
    path, store, declared, report = incoming.path, incoming.store, incoming.declared, incoming.report
    layer = sheet_layer(path, declared, store, "points")
    try:
        with laspy.open(path) as reader:
            placing = _placing(reader.header, declared, store, path, report)
            _check_place(reader.header.mins, reader.header.maxs, placing, store, path)
            with _scratch(store) as folder:
                rewritten_path = folder / "cloud.laz"
                seen = _rewritten(reader, placing, rewritten_path, report)
                if not seen.count:
                    raise UnreadableFile(say("no-point", file=path))
                report.extent, outside = _check_place(seen.raw_low, seen.raw_high, placing, store, path)
                sha256 = put_asset(store.settings, rewritten_path)
    except _FAULTS as fault:
        raise UnreadableFile(say("not-readable-las", file=path, reason=fault)) from fault
    report.lies_outside(outside)
    report.layers, report.read = [layer.id], reader.header.point_count
    report.crs, report.vertical_datum = label(placing.horizontal), placing.datum
    report.operation = placing.operation.name
    outline = box_outline(np.array(seen.low[:1] + seen.high[:1]), np.array(seen.low[1:2] + seen.high[1:2]))
    about = {
        "points": seen.count,
        "z": [round(seen.low[2], 3), round(seen.high[2], 3)],
        "classes": {str(code): count for code, count in sorted(seen.classes.items())},
        "point_format": reader.header.point_format.id,
        "colour": "red" in reader.header.point_format.dimension_names,
        "crs": report.crs,
    }
    enter(
        cursor,
        Sheet(layer.id, path.name.split(".")[0], sha256, outline, about, seen.count),
        incoming,
    )


@contextmanager
def _scratch(store: Store) -> Iterator[Path]:
    """Lend a folder beside the assets; what a killed load left in it goes first: one load at a time holds the lock."""
    folder = store.settings.asset_store / ".incoming"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Placing:
    """How a cloud's coordinates become the city's."""

    city: CRS
    horizontal: CRS
    operation: Operation
    datum: str
    heights: ToCityHeight
    z_unit_m: float
    header: laspy.LasHeader
    exact: bool  # its integers stay as they are

    def __call__(self, points: Float) -> Float:
        """Return (n, 3) places in the city's CRS and datum of places in the file's."""
        x, y = self.operation(points[:, 0], points[:, 1])
        return np.column_stack([x, y, self.heights(x, y, points[:, 2] * self.z_unit_m)])


def _placing(header: laspy.LasHeader, declared: Declared, store: Store, path: Path, report: FileReport) -> _Placing:
    crs = declared_crs(declared) or _crs_of(header)
    if crs is None:
        raise UnknownCrs(say("nothing-tells-crs", file=path))
    horizontal, vertical = split(crs)
    datum = declared.vertical_datum or datum_of(crs)
    if datum is None:
        raise UnknownVerticalDatum(say("nothing-tells-vertical-datum-heights", file=path))
    unit = declared.z_unit_m or _z_unit(header, horizontal, vertical)
    if unit != 1.0 and vertical is None:
        report.warn(say("heights-read-units-m", unit=unit))
    city = CRS.from_epsg(store.city.srid)
    to_city = operation(horizontal, city, store.city.extent)
    report.heights, heights = to_city_heights(datum, heights_city(declared, store.city))
    probe = np.array([0.0])
    exact = not to_city.steps and unit == 1.0 and datum == "city" and bool(heights(probe, probe, probe)[0] == 0)
    return _Placing(city, horizontal, to_city, datum, heights, unit, header, exact)


def _crs_of(header: laspy.LasHeader) -> CRS | None:
    """Return the CRS of the WKT, else of the GeoTIFF keys: many files set the bit that tells them apart wrongly."""
    for prefer_wkt in (True, False):
        try:
            crs: CRS | None = header.parse_crs(prefer_wkt=prefer_wkt)
        except (CRSError, LaspyException, ValueError, KeyError, IndexError):
            continue
        if crs is not None:
            return crs
    return None


def _z_unit(header: laspy.LasHeader, horizontal: CRS, vertical: CRS | None) -> float:
    """Return metres of a unit of z: the vertical CRS's, else the GeoTIFF key's, else that of x and y."""
    if vertical is not None:
        return float(vertical.axis_info[-1].unit_conversion_factor)
    for vlr in header.vlrs.get("GeoKeyDirectoryVlr"):
        for key in vlr.geo_keys:
            if key.id == _VERTICAL_UNIT_KEY and key.value_offset in _UNIT_OF_KEY:
                return _UNIT_OF_KEY[key.value_offset]
    return float(horizontal.axis_info[0].unit_conversion_factor) if horizontal.is_projected else 1.0


@dataclass
class _Seen:
    """What is known of the points when all have passed."""

    count: int = 0
    low: list[float] = field(default_factory=lambda: [np.inf] * 3)
    high: list[float] = field(default_factory=lambda: [-np.inf] * 3)
    raw_low: list[float] = field(default_factory=lambda: [np.inf] * 2)
    raw_high: list[float] = field(default_factory=lambda: [-np.inf] * 2)
    classes: Counter[int] = field(default_factory=Counter)

    def add(self, raw: Float, placed: Float, classes: NDArray[Any]) -> None:
        """Count a piece."""
        self.count += len(placed)
        for axis in range(3):
            self.low[axis] = min(self.low[axis], float(placed[:, axis].min()))
            self.high[axis] = max(self.high[axis], float(placed[:, axis].max()))
        for axis in range(2):
            self.raw_low[axis] = min(self.raw_low[axis], float(raw[:, axis].min()))
            self.raw_high[axis] = max(self.raw_high[axis], float(raw[:, axis].max()))
        counts = np.bincount(classes, minlength=1)
        self.classes.update({int(code): int(counts[code]) for code in np.flatnonzero(counts)})


def _rewritten(reader: laspy.LasReader, placing: _Placing, rewritten_path: Path, report: FileReport) -> _Seen:
    """Write the points where the city has them; return what was seen."""
    header = _header(placing)
    seen = _Seen()
    with laspy.open(
        rewritten_path, "w", header=header, do_compress=True, laz_backend=laspy.LazBackend.LazrsParallel
    ) as writer:
        for raw, placed, chunk in _placed_chunks(reader, placing, report):
            record = laspy.ScaleAwarePointRecord(
                chunk.array.copy(), chunk.point_format, scales=header.scales, offsets=header.offsets
            )
            if not placing.exact:
                steps = np.rint((placed - header.offsets) / header.scales)
                if np.abs(steps).max() > np.iinfo(np.int32).max:
                    raise ValueError(say("points-lie-farther-apart-than"))
                for axis, name in enumerate("XYZ"):
                    record.array[name] = steps[:, axis].astype(np.int32)
            seen.add(raw, placed, np.asarray(chunk.classification))
            report.report_progress(seen.count / max(reader.header.point_count, 1), seen.count)
            writer.write_points(record)
    if seen.count + report.refused != reader.header.point_count:
        raise ValueError(say("points", count=seen.count, point_count=reader.header.point_count))
    return seen


def _placed_chunks(
    reader: laspy.LasReader, placing: _Placing, report: FileReport
) -> Iterator[tuple[Float, Float, Any]]:
    """Yield places as the file has them, places in the city, and the points; refuse what can't be transformed."""
    begin = 0
    for chunk in reader.chunk_iterator(CHUNK):
        raw = np.column_stack([chunk.x, chunk.y, chunk.z])
        placed = raw if placing.exact else placing(raw)
        whole = np.isfinite(placed).all(axis=1)
        for index in np.flatnonzero(~whole):
            report.refuse(f"point {begin + index}", say("place-cannot-transformed"))
        begin += len(chunk)
        if whole.all():
            yield raw, placed, chunk
        elif whole.any():
            yield raw[whole], placed[whole], chunk[whole]


def _header(placing: _Placing) -> laspy.LasHeader:
    """Return the header of the kept file: the source's point format, version and date, the city's CRS."""
    source = placing.header
    header = laspy.LasHeader(point_format=source.point_format, version=source.version)
    header.creation_date = source.creation_date
    header.generating_software = "cim"
    if placing.exact:
        header.scales, header.offsets = source.scales, source.offsets
    else:
        corners = np.array([source.mins, source.maxs], np.float64)
        with np.errstate(invalid="ignore"):
            middle = placing(corners).mean(axis=0)
        fine = np.minimum(source.scales, FINEST_M)
        header.scales = np.where(fine > 0, fine, FINEST_M)
        header.offsets = np.where(np.isfinite(middle), np.floor(middle), 0.0)
    header.add_crs(placing.city, keep_compatibility=True)
    return header


def _check_place(
    low: Sequence[float], high: Sequence[float], placing: _Placing, store: Store, path: Path
) -> tuple[Extent, dict[str, float]]:
    """Return the box in degrees around a box of the file, and what it lies outside of by how many metres."""
    x, y = np.linspace(low[0], high[0], 3), np.linspace(low[1], high[1], 3)
    grid = np.meshgrid(x, y)
    lon, lat = to_wgs84(placing.horizontal)(grid[0].ravel(), grid[1].ravel())
    box = (float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
    at = (float(x[1]), float(y[1]))
    return box, check_place(box, city=store.city, crs=placing.horizontal, where=str(path), at=at)
