"""A city's own plane system, as surveyors hand it over: a file of four or seven parameters, read as a CRS.

Four, in the plane (x east, y north; rotation anticlockwise):

    name = "独立坐标系"
    to = "EPSG:4547"
    dx = 400000.0           # metres: x' = dx + (1 + scale) (x cos r - y sin r)
    dy = 4100000.0          #         y' = dy + (1 + scale) (x sin r + y cos r)
    rotation_s = 5400.0     # seconds of arc
    scale_ppm = 20.0

Seven, between datums (Bursa-Wolf), from a system on the old one:

    from = "EPSG:2434"      # a plane or geographic system on the old datum
    dx = 10.0               # metres; dy, dz
    rx = 0.5                # seconds of arc; ry, rz
    scale_ppm = -1.2
    convention = "coordinate frame"     # 布尔沙 of the Chinese standards, EPSG:9607; or "position vector", EPSG:9606
"""

import tomllib
from math import cos, radians, sin
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pyproj import CRS
from pyproj.crs import BoundCRS
from pyproj.crs.coordinate_operation import ToWGS84Transformation

from cim.errors import BadSettings, UnknownCrs
from cim.messages import say

_AXES = [
    {"name": "Easting", "abbreviation": "E", "direction": "east", "unit": "metre"},
    {"name": "Northing", "abbreviation": "N", "direction": "north", "unit": "metre"},
]
_SECOND = 1 / 3600


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "local system"
    scale_ppm: float = 0.0


class Four(_Parameters):
    """A similarity of the plane."""

    to: str
    dx: float
    dy: float
    rotation_s: float = 0.0


class Seven(_Parameters):
    """A similarity of space between two datums."""

    source: str = Field(alias="from")
    dx: float
    dy: float
    dz: float
    rx: float = 0.0
    ry: float = 0.0
    rz: float = 0.0
    convention: Literal["position vector", "coordinate frame"]


def read_parameters(path: Path) -> CRS:
    """Return the CRS that a file of parameters defines.

    Raises:
        BadSettings: it isn't TOML of one of the two forms.
        UnknownCrs: the system that it leads to or from isn't known, or isn't a plane where it must be one.

    """
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        parameters = Seven.model_validate(document) if "from" in document else Four.model_validate(document)
    except OSError as fault:
        raise BadSettings(say("settings-file-cannot-be-read", file=path, reason=fault.strerror)) from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as fault:
        raise BadSettings(say("not-parameters-local-system", file=path, reason=fault)) from fault
    return _by_four(parameters) if isinstance(parameters, Four) else _by_seven(parameters)


def _by_four(p: Four) -> CRS:
    """Return a system derived from a plane one; what PROJ wants is the way from that to the local one."""
    from cim.reference.crs import parse, split

    base, _ = split(parse(p.to))
    if not base.is_projected:
        raise UnknownCrs(say("four-parameters-lead-plane-system", to=p.to, base=base.name))
    plane = base.to_json_dict() | {"coordinate_system": {"subtype": "Cartesian", "axis": _AXES}}
    plane.pop("id", None)
    turn, scale = radians(p.rotation_s * _SECOND), 1 + p.scale_ppm * 1e-6
    c, s = cos(turn) / scale, sin(turn) / scale
    numbers = {
        "A0": (-(c * p.dx + s * p.dy), "metre", 8623), "A1": (c, "unity", 8624), "A2": (s, "unity", 8625),
        "B0": (s * p.dx - c * p.dy, "metre", 8639), "B1": (-s, "unity", 8640), "B2": (c, "unity", 8641),
    }  # fmt: skip
    return CRS.from_json_dict(
        {
            "$schema": "https://proj.org/schemas/v0.7/projjson.schema.json",
            "type": "DerivedProjectedCRS",
            "name": p.name,
            "base_crs": plane,
            "conversion": {
                "name": "four parameters",
                "method": {"name": "Affine parametric transformation", "id": {"authority": "EPSG", "code": 9624}},
                "parameters": [
                    {"name": name, "value": value, "unit": unit, "id": {"authority": "EPSG", "code": code}}
                    for name, (value, unit, code) in numbers.items()
                ],
            },
            "coordinate_system": {"subtype": "Cartesian", "axis": _AXES},
        }
    )


def _by_seven(p: Seven) -> CRS:
    """Return the system on the old datum with the way to WGS 84, which CGCS2000 is taken for."""
    from cim.reference.crs import geographic, parse, split

    source, _ = split(parse(p.source))
    sign = 1.0 if p.convention == "position vector" else -1.0
    way = ToWGS84Transformation(
        geographic(source), p.dx, p.dy, p.dz, sign * p.rx, sign * p.ry, sign * p.rz, p.scale_ppm
    )
    return BoundCRS(source, "EPSG:4326", way)
