"""LandXML 1.x: triangulated surfaces as bodies and points of the survey, in metres whatever the file's unit.

Format: http://www.landxml.org/schema/LandXML-1.2/ ; a point is northing, easting, elevation.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS

from cim.bodies import Bodies, concatenate, empty, from_sizes
from cim.crs import parse
from cim.errors import UnreadableFile
from cim.model import Features, Header, ReadOptions, Refusal, Source
from ingest.survey import POINT
from ingest.xml import elements, local_name

SURFACE = "TINRelief"
_METRES = {"foot": 0.3048, "ussurveyfoot": 1200 / 3937, "inch": 0.0254, "mile": 1609.344, "yard": 0.9144}
_METRES |= {"meter": 1.0, "metre": 1.0, "millimeter": 0.001, "centimeter": 0.01, "kilometer": 1000.0}
_LEFT_OUT = ("Parcel", "Alignment", "Roadway", "PipeNetwork", "PlanFeature", "Breakline", "Contour")


def read(path: Path, options: ReadOptions) -> Iterator[Source]:  # noqa: ARG001 - XML says its encoding itself
    """Read surfaces and points.

    Raises:
        UnreadableFile: not XML, cut short, or of a unit that isn't known.

    """
    content = _Content(path)
    for kind, element in elements(path):
        if kind == "end":
            content.take(element)
    header = Header(
        crs=content.crs,
        title=content.title,
        layer_hint=path.stem,
        unit_m=content.unit_m,
        z_unit_m=content.unit_m or 1.0,
        warnings=content.warnings(),
    )
    yield Source(header, iter([content.batch()]))


@dataclass
class _Content:
    """What is gathered of a file: it is small beside the TIN it makes, and its unit may stand anywhere."""

    path: Path
    unit_m: float | None = None
    unit: str = ""
    crs: CRS | None = None
    title: str | None = None
    ids: list[str | None] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)
    geometry: list[Any] = field(default_factory=list)
    classes: list[str | None] = field(default_factory=list)
    bodies: list[Bodies] = field(default_factory=list)
    body_record: list[int] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    points: dict[str, list[float]] = field(default_factory=dict)  # of the surface that is read
    faces: list[list[str]] = field(default_factory=list)

    def take(self, element: Any) -> None:
        """Take an element that has ended."""
        name = local_name(element)
        if name == "P":
            self._point(element)
        elif name == "F":
            self._face(element)
        elif name == "Surface":
            self._surface(element)
            element.clear()
        elif name == "CgPoint" and (element.text or "").strip():
            self._survey_point(element)
        elif name in ("Metric", "Imperial"):
            self._units(element.get("linearUnit") or "")
        elif name == "CoordinateSystem" and (code := element.get("epsgCode")):
            self.crs = parse(f"EPSG:{code}")
        elif name == "Project":
            self.title = element.get("name")
        elif name in _LEFT_OUT:
            self.left_out[name] += 1

    def _units(self, unit: str) -> None:
        if unit.lower() not in _METRES:
            raise UnreadableFile(f"{self.path}: the unit {unit!r} isn't known")
        self.unit, self.unit_m = unit, _METRES[unit.lower()]

    def _point(self, element: Any) -> None:
        try:
            self.points[element.get("id") or str(len(self.points) + 1)] = list(map(float, (element.text or "").split()))
        except ValueError:
            self.points[element.get("id") or ""] = []
        element.clear()

    def _face(self, element: Any) -> None:
        if element.get("i") == "1":  # invisible: outside the surface's boundary
            self.left_out["invisible face"] += 1
        else:
            self.faces.append((element.text or "").split())
        element.clear()

    def _surface(self, element: Any) -> None:
        identifier = element.get("name") or f"surface {len(self.ids) + 1}"
        points, faces, self.points, self.faces = self.points, self.faces, {}, []
        row = {name: n for n, (name, place) in enumerate(points.items()) if len(place) == 3}
        whole = [face for face in faces if len(face) == 3 and all(corner in row for corner in face)]
        if len(whole) < len(faces):
            self.left_out[f"face of {identifier} with a point that isn't there"] += len(faces) - len(whole)
        if not whole:
            self.refused.append(Refusal(identifier, "a surface without triangles"))
            return
        places = np.array([place if len(place) == 3 else [np.nan] * 3 for place in points.values()], np.float64)
        corners = np.array([[row[corner] for corner in face] for face in whole], np.int64)
        count = len(whole)
        body = from_sizes(places[:, [1, 0, 2]], corners.ravel(), [3] * count, [1] * count, [count], [0] * count)
        self.body_record.append(len(self.ids))
        self.bodies.append(body)
        said = {"name": identifier, "description": element.get("desc"), "points": len(points), "triangles": count}
        self._add(identifier, said, None, SURFACE)

    def _survey_point(self, element: Any) -> None:
        name = element.get("name") or element.get("oID")
        try:
            place = list(map(float, element.text.split()))
            shape = shapely.Point(place[1], place[0], *place[2:3])
        except (ValueError, IndexError):
            self.refused.append(Refusal(name or "", "a point needs a northing and an easting"))
            return
        said = {"name": name, "code": element.get("code"), "description": element.get("desc")}
        self._add(name, said, shape, POINT)

    def _add(self, identifier: str | None, said: dict[str, Any], shape: Any, object_class: str) -> None:
        self.ids.append(identifier)
        self.attributes.append({key: value for key, value in said.items() if value is not None})
        self.geometry.append(shape)
        self.classes.append(object_class)

    def warnings(self) -> tuple[str, ...]:
        """Say which unit was read, and what was left out."""
        unit = [f"coordinates in {self.unit}, read as {self.unit_m:.7g} m"] if self.unit_m not in (None, 1.0) else []
        none = ["no unit in the file: metres taken"] if self.unit_m is None else []
        shown = ", ".join(f"{count} {what}" for what, count in self.left_out.most_common())
        return (*unit, *none, *([f"left out: {shown}"] if shown else []))

    def batch(self) -> Features:
        """Return all records."""
        geometry = np.full(len(self.ids), None, object)
        geometry[:] = self.geometry
        return Features(
            ids=self.ids,
            attributes=self.attributes,
            geometry=geometry,
            object_class=self.classes,
            parent_id=[None] * len(self.ids),
            bodies=concatenate(self.bodies) if self.bodies else empty(),
            body_record=np.array(self.body_record, np.int64),
            body_lod=["2"] * len(self.bodies),
            refused=tuple(self.refused),
        )
