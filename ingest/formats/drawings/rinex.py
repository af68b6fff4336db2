"""RINEX observation files: the station, at the approximate position that the header gives, with its antenna.

Format: RINEX 2.11 to 4, whose headers are alike: a label in columns 61 to 80. Positions are geocentric.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS, Transformer

from cim.errors import UnreadableFile
from cim.features import Features, Header, ReadOptions, Source
from cim.messages import say

STATION = "rinex:station"
_LONGEST_HEADER = 2000  # lines


def read(path: Path, options: ReadOptions) -> Iterator[Source]:  # noqa: ARG001 - headers are ASCII
    """Read the station of an observation file.

    Raises:
        UnreadableFile: not RINEX, not of observations, or without a position.

    """
    by_label = _header(path)
    kind = by_label.get("RINEX VERSION / TYPE", "")[20:40].strip()
    if not kind.upper().startswith("O"):
        raise UnreadableFile(say("which-holds-no-station-position", file=path, kind=kind.lower() or "an unknown kind"))
    numbers = re.findall(r"[-+]?\d+\.\d*", by_label.get("APPROX POSITION XYZ", ""))
    geocentric = np.array(numbers[:3], np.float64)
    if len(geocentric) < 3 or np.linalg.norm(geocentric) < 6e6:
        raise UnreadableFile(say("no-approximate-position-header", file=path))
    to_degrees = Transformer.from_crs(4978, 4979, always_xy=True)
    lon, lat, height = to_degrees.transform(geocentric[:1], geocentric[1:2], geocentric[2:3])
    offset = [float(n) for n in re.findall(r"[-+]?\d+\.\d*", by_label.get("ANTENNA: DELTA H/E/N", ""))]
    marker = by_label.get("MARKER NAME", "").strip() or path.name[:4].upper()
    attributes: dict[str, Any] = {
        "name": marker,
        "receiver": by_label.get("REC # / TYPE / VERS", "")[20:40].strip(),
        "antenna": by_label.get("ANT # / TYPE", "")[20:40].strip(),
        "antenna_height_m": offset[0] if offset else None,
        "agency": by_label.get("OBSERVER / AGENCY", "")[20:60].strip(),
        "geocentric_xyz_m": geocentric.tolist(),
    }
    surveyed = None
    with suppress(ValueError):
        surveyed = date(*(int(part) for part in by_label.get("TIME OF FIRST OBS", "").split()[:3]))
    header = Header(crs=CRS.from_epsg(4979), surveyed=surveyed, layer_hint=path.name.split(".")[0])
    shape = np.full(1, None, object)
    shape[0] = shapely.Point(lon[0], lat[0], height[0])
    filled = {key: value for key, value in attributes.items() if value not in (None, "")}
    yield Source(header, iter([Features([marker], [filled], shape, [STATION], [None])]))


def _header(path: Path) -> dict[str, str]:
    """Return label → content of the header's lines, the first of each."""
    by_label: dict[str, str] = {}
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding="ascii", errors="replace") as file:
            for number, line in enumerate(file):
                label = line[60:80].strip()
                by_label.setdefault(label, line[:60])
                if label == "END OF HEADER" or number > _LONGEST_HEADER:
                    break
    except (OSError, EOFError, zlib.error) as fault:
        raise UnreadableFile(say("file-cannot-be-read", file=path, reason=fault)) from fault
    if "RINEX VERSION / TYPE" not in by_label:
        raise UnreadableFile(say("not-rinex-file", file=path))
    return by_label
