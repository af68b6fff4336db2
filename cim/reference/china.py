"""Chinese plane systems by the names that people give them, and by where coordinates lie.

Codes of the EPSG registry (each checked against the registry's own name in the tests): a Gauss-Kruger system with the
zone's number before the easting is a `zone`, one without is named by its central meridian (`CM`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pyproj import CRS

from cim.city import Extent


@dataclass(frozen=True)
class Series:
    """The codes of one datum: of its first zone, and of its first central meridian, 75° E, for each width of zones."""

    names: tuple[str, ...]  # spellings, as a pattern
    geographic: int
    zone_3: int  # of zone 25
    meridian_3: int
    zone_6: int  # of zone 13
    meridian_6: int


SERIES = (
    Series(("CGCS ?2000", "国家 ?2000", "2000 ?国家(?:大地)?(?:坐标系)?", "China 2000"), 4490, 4513, 4534, 4491, 4502),
    Series(("西安 ?80", "1980 ?西安", "80 ?西安", r"Xi'?an[_ ]?(?:19)?80"), 4610, 2349, 2370, 2327, 2338),
    Series(("北京 ?54", "1954 ?北京", "54 ?北京", "Beijing[_ ]?(?:19)?54"), 4214, 2401, 2422, 21413, 21453),
)
_ZONE = re.compile(r"(?:第 ?)?(\d{2}) ?(?:号)?带|zone ?(\d{2})", re.IGNORECASE)
_MERIDIAN = re.compile(
    r"(?:中央(?:子午线|经线)|CM|central meridian) ?[:=：]? ?(\d{2,3})|(\d{2,3}) ?°? ?E\b", re.IGNORECASE
)
_SIX = re.compile(r"6 ?度|六度|6-degree|6 ?°", re.IGNORECASE)


def named(text: str) -> CRS | None:
    """Return the system that a name means: `CGCS2000 3度带 38带`, `西安80 中央经线114`, `北京54 20带`; None if none.

    A zone's number tells its width (25 to 45 have 3°, 13 to 23 have 6°); a central meridian means 3° unless 6° is said.
    """
    for series in SERIES:
        match = next((m for name in series.names if (m := re.search(name, text, re.IGNORECASE))), None)
        if match is None:
            continue
        rest = text[: match.start()] + " " + text[match.end() :]
        code = _code(series, rest)
        return CRS.from_epsg(code) if code else None
    return None


def _code(series: Series, rest: str) -> int | None:
    if zone := _ZONE.search(rest):
        number = int(zone[1] or zone[2])
        if 25 <= number <= 45:
            return series.zone_3 + number - 25
        return series.zone_6 + number - 13 if 13 <= number <= 23 else None
    if meridian := _MERIDIAN.search(rest):
        degrees = int(meridian[1] or meridian[2])
        if _SIX.search(rest):
            return series.meridian_6 + (degrees - 75) // 6 if 75 <= degrees <= 135 and degrees % 6 == 3 else None
        return series.meridian_3 + (degrees - 75) // 3 if 75 <= degrees <= 135 and degrees % 3 == 0 else None
    return series.geographic if not re.search(r"[^\W_]", rest) or "经纬" in rest else None


@dataclass(frozen=True)
class Reading:
    """A way to read a pair of numbers under which it lies in the city."""

    crs: CRS
    swapped: bool  # the first number is the northing or latitude
    scale: float = 1.0

    def __str__(self) -> str:
        """Say it as a person would."""
        authority = self.crs.to_authority()
        name = f"{':'.join(authority)} ({self.crs.name})" if authority else self.crs.name
        order = ", northing or latitude first" if self.swapped else ""
        unit = f", in units of {self.scale:g} m" if self.scale != 1 else ""
        return f"{name}{order}{unit}"


def readings(x: float, y: float, declared: CRS, extent: Extent) -> Iterator[Reading]:
    """Yield the ways to read (x, y) under which it lies inside an extent in degrees, the likeliest first.

    Tried are the declared system with the axes swapped and in other units, degrees, and the Gauss-Kruger systems of
    CGCS2000, with and without the zone's number, 3° and 6° wide. Older datums lie within 150 m of it and aren't told
    apart by this.
    """
    for crs in (declared, *_candidates()):
        for swapped in (False, True):
            for scale in (1.0, 0.001, 0.3048) if crs is declared and declared.is_projected else (1.0,):
                if crs is declared and not swapped and scale == 1:
                    continue
                if _inside(crs, *((y, x) if swapped else (x, y)), scale, extent):
                    yield Reading(crs, swapped, scale)


def _inside(crs: CRS, x: float, y: float, scale: float, extent: Extent) -> bool:
    lon, lat = _to_degrees(crs).transform(x * scale, y * scale)
    west, south, east, north = extent
    return bool(np.isfinite([lon, lat]).all() and west <= lon <= east and south <= lat <= north)


@lru_cache(maxsize=1)
def _candidates() -> tuple[CRS, ...]:
    series = SERIES[0]
    codes = [series.geographic]
    for first, count in ((series.zone_3, 21), (series.meridian_3, 21), (series.zone_6, 11), (series.meridian_6, 11)):
        codes += range(first, first + count)
    return tuple(CRS.from_epsg(code) for code in codes)


@lru_cache(maxsize=128)
def _to_degrees(crs: CRS):  # type: ignore[no-untyped-def]
    from pyproj import Transformer

    base = crs.geodetic_crs
    return Transformer.from_crs(crs, base.to_2d() if base else crs, always_xy=True)
