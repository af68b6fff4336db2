"""Reference systems: which operation leads from one to another, and what it is worth.

Coordinates are always x = easting or longitude, y = northing or latitude, whatever the registry's axis order says.
Horizontal and vertical are chosen apart: an operation taken for a compound CRS may be a ballpark that is 100 m off.
"""

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from pyproj.transformer import AreaOfInterest, TransformerGroup

from cim.city import City, Extent
from cim.errors import NoOperation, UnknownCrs, WrongCity
from cim.messages import Message, say
from cim.reference import china as china_crs

WGS84 = CRS.from_epsg(4326)
Float = NDArray[np.float64]

# WGS 84 and CGCS2000 agree within centimetres (both realise the ITRS with the same ellipsoid constants but for
# 0.1 mm in the flattening), yet the registry knows no operation between them but a ballpark. Identity, by rule.
CGCS2000 = "China 2000"  # the datum's name in the registry
_SAME_AS_WGS84 = frozenset({"World Geodetic System 1984", "World Geodetic System 1984 ensemble", CGCS2000})

_LONGEST_NAME = 60  # characters of a CRS that is named rather than spelled out
FAR_M = 50_000.0  # data farther than this from where it should lie is refused


@dataclass(frozen=True)
class Operation:
    """A horizontal operation from one CRS to another, x/y in the order easting, northing."""

    name: str
    accuracy_m: float | None  # None: the registry gives none; 0 for a conversion
    steps: tuple[Transformer, ...]

    def __call__(self, x: Float, y: Float) -> tuple[Float, Float]:
        """Transform arrays; a coordinate that can't be transformed becomes inf, never an exception."""
        for step in self.steps:
            x, y = step.transform(x, y)
        return np.asarray(x, np.float64), np.asarray(y, np.float64)


FIT_M = 1e-4  # that a fitted operation may be off
_TERMS = [(i, j) for i in range(6) for j in range(6 - i)]  # of a polynomial of degree 5


def fitted(op: Operation, x: Float, y: Float) -> tuple[Float, Float]:
    """Return what an operation to degrees gives for many places near each other, by a polynomial fitted to it.

    An operation is smooth; over a few kilometres a polynomial of degree 5 follows it within a fraction of a
    millimetre, at a tenth of the time. Where it doesn't, checked on a grid of its own, the operation itself is taken.
    """
    if len(x) < 10_000 or not op.steps:
        return op(x, y)
    centre, half = [], []
    for axis in (x, y):
        low, high = float(axis.min()), float(axis.max())
        centre.append((low + high) / 2)
        half.append(max((high - low) / 2, 1.0))
    nodes = np.cos(np.pi * (np.arange(12) + 0.5) / 12)  # Chebyshev's
    checks = np.linspace(-1, 1, 9)
    u, v = (grid.ravel() for grid in np.meshgrid(nodes, nodes))
    cu, cv = (grid.ravel() for grid in np.meshgrid(checks, checks))
    to_metres = np.array([111_320.0, 111_320.0])
    wanted = np.column_stack(op(centre[0] + half[0] * u, centre[1] + half[1] * v))
    if not np.isfinite(wanted).all():
        return op(x, y)
    middle = wanted.mean(axis=0)
    weights, *_ = np.linalg.lstsq(_powers(u, v), wanted - middle, rcond=None)
    true = np.column_stack(op(centre[0] + half[0] * cu, centre[1] + half[1] * cv))
    if np.abs((_powers(cu, cv) @ weights + middle - true) * to_metres).max() > FIT_M:
        return op(x, y)
    u, v = (x - centre[0]) / half[0], (y - centre[1]) / half[1]
    return _horner(u, v, weights[:, 0]) + middle[0], _horner(u, v, weights[:, 1]) + middle[1]


def _powers(u: Float, v: Float) -> Float:
    return np.column_stack([u**i * v**j for i, j in _TERMS])


def _horner(u: Float, v: Float, weights: Float) -> Float:
    by_term = dict(zip(_TERMS, weights.tolist(), strict=True))
    total = np.zeros_like(u)
    for i in range(5, -1, -1):
        inner = np.full_like(v, by_term[(i, 5 - i)])
        for j in range(4 - i, -1, -1):
            inner *= v
            inner += by_term[(i, j)]
        total *= u
        total += inner
    return total


# what PROJ would open: a parameter of PROJ text or WKT whose value is a path or an address, not a name alone
_FILE_BY_PATH = re.compile(
    r"""\b(?:nadgrids|geoidgrids|xy_grids|z_grids|grids|file|model|init|catalog)\s*=\s*(?:"+[^"]*|[^\s"\]]*)[/\\]
        | \bPARAMETERFILE\s*[\[(]\s*"[^"]*"\s*,\s*"[^"]*[/\\]""",
    re.IGNORECASE | re.VERBOSE,
)


def names_files(text: str) -> bool:
    """Whether the text of a CRS names a file by its path, which PROJ would open whatever it is.

    A name alone is looked for among PROJ's own grids.
    """
    return bool(_FILE_BY_PATH.search(text))


def _refuse_files(text: str) -> None:
    if names_files(text):
        raise UnknownCrs(say("names-file-path", text=text[:80]))


def parse(text: str) -> CRS:
    """Read a CRS from a name like EPSG:4547 or `CGCS2000 38带`, WKT or PROJJSON text.

    Raises:
        UnknownCrs: it is none that PROJ knows, or it names a file by its path.

    """
    _refuse_files(text)
    is_name = len(text) < _LONGEST_NAME and not any(mark in text for mark in "[{+=")  # not WKT, PROJJSON or PROJ text
    if is_name and (chinese := china_crs.named(text)) is not None:
        return chinese
    try:
        return CRS.from_user_input(text)
    except CRSError as fault:
        raise UnknownCrs(say("not-crs-proj-knows", text=text[:80])) from fault


_EPSG_CODE = re.compile(r"EPSG(?:[:/][\d.]*)?[:/](\d{4,6})\b", re.IGNORECASE)  # between them may stand a version
# names of the German surveys, which the registry doesn't have
_ADV_NAMES = {"ETRS89_UTM32": 25832, "ETRS89_UTM33": 25833, "DE_DHHN92_NH": 5783, "DE_DHHN2016_NH": 7837}


def parse_reference(reference: object) -> CRS | None:
    """Read a reference as models write it; None where there is none.

    `https://www.opengis.net/def/crs/EPSG/0/7415`, `urn:ogc:def:crs:EPSG::7415`, `EPSG:7415`, and compound forms like
    `urn:ogc:def:crs,crs:EPSG:6.12:3068,crs:EPSG:6.12:5783`.

    Raises:
        UnknownCrs: it is none that PROJ knows.

    """
    if not reference:
        return None
    text = str(reference).strip()
    codes = _EPSG_CODE.findall(text)
    if "urn:adv:crs" in text:
        codes = [str(_ADV_NAMES[part]) for part in text.rpartition(":")[2].split("*") if part in _ADV_NAMES]
    return parse("EPSG:" + "+".join(codes)) if codes else parse(text)


def lands_in_area(crs: CRS, x: Float, y: Float) -> bool:
    """Whether places, x easting or longitude, lie within 50 km of where a horizontal CRS is used."""
    area = area_of_use(crs)
    if area is None or not len(x):
        return True
    edge = np.array([[f(x), g(y)] for f in (np.min, np.max) for g in (np.min, np.max)], np.float64)
    try:
        lon, lat = Transformer.from_crs(crs, geographic(crs), always_xy=True).transform(edge[:, 0], edge[:, 1])
    except ProjError:
        return False
    places = [(a, b) for a, b in zip(lon, lat, strict=True)]
    if not np.isfinite(places).all() or np.abs(lat).max() > 90:
        return False
    return all(distance_outside_m(float(a), float(b), area) <= FAR_M for a, b in places)


def split(crs: CRS) -> tuple[CRS, CRS | None]:
    """Return the horizontal part and the vertical part (None where there is none).

    A geographic 3D CRS has ellipsoidal heights: its vertical part is returned as itself.
    """
    if crs.is_bound:
        return crs, None  # its parameters are what it was given for
    if crs.is_compound:
        return crs.sub_crs_list[0], crs.sub_crs_list[1]
    if len(crs.axis_info) == 3:
        return crs.to_2d(), crs
    return crs, None


def is_derived(crs: CRS) -> bool:
    """Return whether a CRS is a local one that four parameters derive from a plane system."""
    return bool(crs.type_name == "Derived Projected CRS")


def base_of(crs: CRS) -> CRS:
    """Return the plane system that a local one derives from, its easting first."""
    if crs.source_crs is None:
        raise UnknownCrs(say("derives-no-system", crs=crs.name))
    return crs.source_crs


def identify(crs: CRS) -> CRS:
    """Return the registry's own form of a CRS that a file spelled out (an ESRI .prj), else the CRS itself."""
    if crs.is_bound or is_derived(crs) or crs.to_authority():
        return crs
    code = crs.to_epsg(min_confidence=25)
    if code is None:
        return crs
    registered = CRS.from_epsg(code)
    return registered if _same_projection(crs, registered) else crs


def label(crs: CRS) -> str:
    """Return EPSG:N where the registry has the CRS, else its name."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else crs.name


def _same_projection(a: CRS, b: CRS) -> bool:
    """Whether two projected CRS have the same parameters and ellipsoid, whatever their spelling."""
    if a.is_projected != b.is_projected or a.ellipsoid is None or b.ellipsoid is None:
        return False
    if abs(a.ellipsoid.semi_major_metre - b.ellipsoid.semi_major_metre) > 1e-3:
        return False
    return a.is_geographic or _projection(a) == _projection(b)


def _projection(crs: CRS) -> dict[str, Any]:
    if crs.coordinate_operation is None:
        return {}
    return {p.name: round(float(p.value), 9) for p in crs.coordinate_operation.params}


@lru_cache(maxsize=64)
def operation(source: CRS, target: CRS, extent: Extent | None = None) -> Operation:
    """Return the best installed operation between two horizontal CRS, never a ballpark.

    Args:
        source: horizontal CRS.
        target: horizontal CRS.
        extent: where it will be used; an operation may be good only in a part of the world.

    Raises:
        NoOperation: only a ballpark, or one whose grid isn't installed, leads there.
        UnknownCrs: one of them names a file by its path.

    """
    for crs in (source, target):  # of a file, perhaps, which says of itself what it likes
        _refuse_files(crs.srs)
        _refuse_files(crs.to_wkt())
    if source.equals(target, ignore_axis_order=True):
        return Operation("identity", 0.0, ())
    if is_derived(source):
        plane = base_of(source)
        step = Operation(source.name, 0.0, (Transformer.from_crs(source, plane, always_xy=True),))
        return _chain(step, operation(plane, target, extent))
    if _datum(source) in _SAME_AS_WGS84 and _datum(target) in _SAME_AS_WGS84:
        return _by_identical_datums(source, target)
    if _datum(target) == CGCS2000:
        # an operation to WGS 84 may be good only in a far part of the source's area: it has to hold where the city is
        return _chain(operation(source, WGS84, extent or area_of_use(target)), _by_identical_datums(WGS84, target))
    if _datum(source) == CGCS2000:
        return _chain(_by_identical_datums(source, WGS84), operation(WGS84, target, extent))
    group = operations(source, target, extent)
    if not group.transformers:
        ends = {
            "source": label(source), "source_name": source.name, "target": label(target), "target_name": target.name,
        }  # fmt: skip
        if missing := [op.name for op in group.unavailable_operations]:
            raise NoOperation(say("no-accurate-operation-installed", missing="; ".join(missing[:3]), **ends))
        raise NoOperation(say("no-accurate-operation-leads", **ends))
    best = group.transformers[0]
    return Operation(best.description, None if best.accuracy < 0 else best.accuracy, (best,))


def operations(source: CRS, target: CRS, extent: Extent | None = None) -> TransformerGroup:
    """Return what the registry has between two CRS, installed and not, without ballparks.

    PROJ's warning that a better grid isn't installed is left out: what is taken is named in the report, and where
    nothing can be taken the error names the grid.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Best transformation is not available", UserWarning)
        return TransformerGroup(
            source,
            target,
            always_xy=True,
            allow_ballpark=False,
            area_of_interest=AreaOfInterest(*extent) if extent else None,
        )


def geographic(crs: CRS) -> CRS:
    """Return the geographic 2D CRS under a horizontal CRS."""
    base = crs.geodetic_crs
    if base is None:
        raise UnknownCrs(say("has-no-geographic-base", crs=crs.name))
    return base.to_2d()


def to_wgs84(crs: CRS, extent: Extent | None = None) -> Operation:
    """Return the operation to WGS 84 longitude and latitude in degrees."""
    return operation(crs, WGS84, extent)


def _datum(crs: CRS) -> str:
    base = crs.geodetic_crs
    return base.datum.name if base is not None and base.datum is not None else ""


def _by_identical_datums(source: CRS, target: CRS) -> Operation:
    """Chain the two conversions, longitude and latitude passing between them unchanged."""
    steps = []
    if source.is_projected:
        steps.append(Transformer.from_crs(source, geographic(source), always_xy=True))
    if target.is_projected:
        steps.append(Transformer.from_crs(geographic(target), target, always_xy=True))
    return Operation("WGS 84 = CGCS2000 by rule", 0.1, tuple(steps))


def _chain(first: Operation, second: Operation) -> Operation:
    accuracies = [a for a in (first.accuracy_m, second.accuracy_m) if a is not None]
    return Operation(
        f"{first.name} + {second.name}", sum(accuracies) if accuracies else None, first.steps + second.steps
    )


def area_of_use(crs: CRS) -> Extent | None:
    """Return the area of use of a CRS in degrees, or None where the registry gives none."""
    area = crs.area_of_use
    return (area.west, area.south, area.east, area.north) if area else None


def distance_outside_m(lon: float, lat: float, extent: Extent) -> float:
    """Return how far in metres a place lies outside an extent in degrees; 0 inside."""
    west, south, east, north = extent
    _, _, distance = Geod(ellps="WGS84").inv(lon, lat, min(max(lon, west), east), min(max(lat, south), north))
    return float(distance)


def check_place(box: Extent, *, city: City, crs: CRS, where: str, at: tuple[float, float]) -> dict[str, float]:
    """Check that a box of data lies in the city and in the area of use of its CRS.

    Args:
        box: west, south, east, north of the data, WGS 84 degrees.
        city: where it should lie.
        crs: the horizontal CRS that it was read in.
        where: the file, for the message.
        at: the middle of its coordinates as the file has them.

    Returns:
        What it lies a little outside of, and by how many metres.

    Raises:
        WrongCity: it lies more than 50 km outside, or isn't on the earth.

    """
    west, south, east, north = box
    lies = {
        "file": where, "west": west, "south": south, "east": east, "north": north,
        "readings": _other_readings(at, crs, city),
    }  # fmt: skip
    if not np.isfinite(box).all() or max(abs(south), abs(north)) > 90 or max(abs(west), abs(east)) > 360:
        raise WrongCity(say("not-on-earth", crs=label(crs), **lies))
    outside: dict[str, float] = {}
    extents = {
        say("extent-of-city", city=city.name): city.extent,
        say("area-of-use", crs=label(crs)): area_of_use(crs),
    }
    for area, extent in extents.items():
        if extent is None:
            continue
        distance = max(distance_outside_m(west, south, extent), distance_outside_m(east, north, extent))
        if distance > FAR_M:
            raise WrongCity(say("far-outside", distance_km=distance / 1000, area=area, **lies))
        if distance > 1.0:
            outside[area] = distance
    return outside


def _other_readings(at: tuple[float, float], crs: CRS, city: City) -> str:
    """Name the ways to read a place of the file under which it lies in the city."""
    extent = city.extent or area_of_use(CRS.from_epsg(city.srid))
    candidates = list(islice(china_crs.readings(*at, crs, extent), 3)) if extent and np.isfinite(at).all() else []
    if not candidates:
        return say("another-city-or-crs")
    readings = [say("reading-in-city", reading=reading, how=_how(reading, crs)) for reading in candidates]
    return say(
        "readings-in-city", readings=reduce(lambda one, other: say("reading-or", one=one, other=other), readings)
    )


def _how(reading: china_crs.Reading, crs: CRS) -> Message:
    """Say what has to be declared for a reading that differs from a CRS."""
    parts = [
        *([say("reading-by-crs", crs=label(reading.crs))] if reading.crs is not crs else []),
        *([say("reading-by-axes")] if reading.swapped else []),
        *([say("reading-by-unit")] if reading.scale != 1 else []),
    ]
    return reduce(lambda one, other: say("reading-and", one=one, other=other), parts)
