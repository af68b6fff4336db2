"""LandXML 1.x: triangulated surfaces as bodies and points of the survey, in metres whatever the file's unit.

Format: http://www.landxml.org/schema/LandXML-1.2/ ; a point is northing, easting, elevation.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS

from cim.errors import UnreadableFile
from cim.features import Features, Header, ReadOptions, Refusal, Source
from cim.geometry.body_batch import Bodies, Float, Int, concatenate, empty, from_sizes
from cim.messages import say
from cim.reference.crs import parse
from ingest.formats.drawings.survey_points import POINT
from ingest.formats.xml_stream import elements, local_name

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


class _Surface:
    """A TIN as its points and faces come, in little more than its numbers need."""

    def __init__(self) -> None:
        self._row: dict[str, int] = {}
        self._places = array("d")
        self._corners = array("q")
        self._early: list[list[str]] = []  # faces that came before their points
        self.points = self.faces = 0

    def add_point(self, name: str | None, place: list[float]) -> None:
        """Take in northing, easting and height; what isn't three numbers is no point that a face can have."""
        self.points += 1
        if len(place) == 3:
            self._row[name or str(self.points)] = len(self._places) // 3
            self._places.extend((place[1], place[0], place[2]))

    def add_face(self, names: list[str]) -> None:
        """Take in the names of three points."""
        self.faces += 1
        if len(names) != 3:
            return
        try:
            self._corners.extend([self._row[name] for name in names])
        except KeyError:
            self._early.append(names)

    def arrays(self) -> tuple[Float, Int]:
        """Return easting, northing and height (n, 3), and the corners (m, 3) of the faces whose points are there."""
        late = [[self._row[name] for name in names] for names in self._early if all(n in self._row for n in names)]
        corners = np.concatenate([np.frombuffer(self._corners, np.int64), np.array(late, np.int64).ravel()])
        return np.frombuffer(self._places, np.float64).reshape(-1, 3), corners.reshape(-1, 3)


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
    surface: _Surface = field(default_factory=_Surface)  # that is read

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
            raise UnreadableFile(say("unit-of-drawing-not-known", file=self.path, unit=unit))
        self.unit, self.unit_m = unit, _METRES[unit.lower()]

    def _point(self, element: Any) -> None:
        try:
            place = [float(number) for number in (element.text or "").split()]
        except ValueError:
            place = []
        self.surface.add_point(element.get("id"), place)
        _let_go(element)

    def _face(self, element: Any) -> None:
        if element.get("i") == "1":  # invisible: outside the surface's boundary
            self.left_out["invisible face"] += 1
        else:
            self.surface.add_face((element.text or "").split())
        _let_go(element)

    def _surface(self, element: Any) -> None:
        identifier = element.get("name") or f"surface {len(self.ids) + 1}"
        surface, self.surface = self.surface, _Surface()
        places, corners = surface.arrays()
        count = len(corners)
        if count < surface.faces:
            self.left_out[f"face of {identifier} with a point that isn't there"] += surface.faces - count
        if not count:
            self.refused.append(Refusal(identifier, say("surface-without-triangles")))
            return
        faces = np.full(count, 3, np.int64)
        body = from_sizes(places, corners.ravel(), faces, np.ones(count, np.int64), [count], np.zeros(count, np.uint8))
        self.body_record.append(len(self.ids))
        self.bodies.append(body)
        attributes = {
            "name": identifier,
            "description": element.get("desc"),
            "points": surface.points,
            "triangles": count,
        }
        self._add(identifier, attributes, None, SURFACE)

    def _survey_point(self, element: Any) -> None:
        name = element.get("name") or element.get("oID")
        try:
            place = list(map(float, element.text.split()))
            shape = shapely.Point(place[1], place[0], *place[2:3])
        except (ValueError, IndexError):
            self.refused.append(Refusal(name or "", say("point-needs-northing-easting")))
            return
        attributes = {"name": name, "code": element.get("code"), "description": element.get("desc")}
        self._add(name, attributes, shape, POINT)

    def _add(self, identifier: str | None, attributes: dict[str, Any], shape: Any, object_class: str) -> None:
        self.ids.append(identifier)
        self.attributes.append({key: value for key, value in attributes.items() if value is not None})
        self.geometry.append(shape)
        self.classes.append(object_class)

    def warnings(self) -> tuple[str, ...]:
        """Say which unit was read, and what was left out."""
        unit = [f"coordinates in {self.unit}, read as {self.unit_m:.7g} m"] if self.unit_m not in (None, 1.0) else []
        none = [say("no-unit-file")] if self.unit_m is None else []
        shown = ", ".join(f"{count} {kind}" for kind, count in self.left_out.most_common())
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


def _let_go(element: Any) -> None:
    """Forget an element that is done with, and those before it."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]
