"""The city: its reference system, its heights, its extent. Everything about a city is here and in its catalog."""

import tomllib
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cim.clock import Clock
from cim.errors import BadSettings
from cim.messages import say

Extent = tuple[float, float, float, float]  # west, south, east, north in degrees, WGS 84


class City(BaseModel):
    """A city file: which city this is, and how its coordinates and heights are meant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    srid: int = Field(gt=0)  # a metric CRS
    vertical_datum: str  # of the stored heights: EPSG:N or a name
    height_anomaly_m: float = 0.0  # ellipsoidal height = stored height + this
    height_anomaly_grid: Path | None = None  # a raster of it, which then replaces the constant
    height_anomaly_source: str = ""
    extent: Extent | None = None
    catalog: Path | None = None  # folder of the city's own catalog files
    timezone: str = "Asia/Shanghai"  # in which the city's days begin, and times without an offset are meant

    @property
    def clock(self) -> Clock:
        """When its days begin, and which moment a time without an offset means."""
        return Clock(self.timezone)

    @field_validator("timezone")
    @classmethod
    def _known(cls, timezone: str) -> str:
        if timezone not in available_timezones():
            raise ValueError(f"{timezone!r} is no time zone, such as Asia/Shanghai")
        return timezone

    @field_validator("extent")
    @classmethod
    def _ordered(cls, extent: Extent | None) -> Extent | None:
        if extent and not (extent[0] < extent[2] and extent[1] < extent[3]):
            raise ValueError("extent is [west, south, east, north] in degrees")
        return extent


YANGQUAN = City(
    name="阳泉 Yangquan",
    srid=4547,
    vertical_datum="EPSG:5737",
    height_anomaly_m=-15.1,
    height_anomaly_source="EGM96 at 37.857 N 113.58 E; -17.1 to -15.1 over the city, so good to about 2 m: "
    "the city's own grid replaces it",
    extent=(112.85, 37.6, 114.15, 38.6),
)


def read_city(path: Path) -> City:
    """Read a city file; relative paths in it are relative to it.

    Raises:
        BadSettings: it isn't TOML, lacks a key, has an unknown one, or its `srid` isn't a metric CRS.

    """
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        declared: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        for key in ("height_anomaly_grid", "catalog"):
            if key in declared:
                declared[key] = (path.parent / declared[key]).resolve()
        city = City.model_validate(declared)
        crs = CRS.from_epsg(city.srid)
    except OSError as fault:
        raise BadSettings(say("city-file-cannot-be-read", file=path, strerror=fault.strerror)) from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError, CRSError) as fault:
        raise BadSettings(say("city-file-cannot-be-used", file=path, reason=fault)) from fault
    if not crs.is_projected or crs.axis_info[0].unit_name != "metre":
        raise BadSettings(say("city-file", file=path, srid=city.srid, crs=crs.name))
    if city.height_anomaly_grid and not city.height_anomaly_grid.is_file():
        raise BadSettings(
            say("city-file-no-height-anomaly-grid", file=path, height_anomaly_grid=city.height_anomaly_grid)
        )
    return city
