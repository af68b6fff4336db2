"""CityGML 1.0, 2.0 and 3.0, one city object at a time: every level of detail, parts, surfaces, ADE attributes, TINs.

Format: OGC 12-019 (2.0), OGC 20-010 (3.0); GML geometry: OGC 07-036. Names become those of CityJSON, so that a model
has the same content in either encoding.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS

from cim.features import BATCH_SIZE, Features, Header, ReadOptions, Refusal, Source
from cim.geometry.body_batch import CLASS_INDEX
from cim.geometry.canonical import canonical
from cim.geometry.measures import closed, volumes
from cim.messages import say
from cim.reference.crs import lands_in_area, parse_reference, split
from ingest.formats.city_models.citygml_appearance import FaceLook, Looks, looks_of_file
from ingest.formats.city_models.citygml_attributes import XLINK, dictionary, generic, typed, value_of
from ingest.formats.city_models.citygml_batch import Faces, Gathered
from ingest.formats.xml_stream import Element, children, elements, local_name

_RENAMED = {
    "Room": "BuildingRoom",
    "Storey": "BuildingStorey",
    "IntBuildingInstallation": "BuildingInstallation",
    "Square": "TransportSquare",
    "TransportationComplex": "Road",
}
# fmt: off
_OBJECTS = frozenset({
    "Building", "BuildingPart", "BuildingInstallation", "BuildingConstructiveElement", "BuildingFurniture",
    "BuildingRoom", "BuildingStorey", "BuildingUnit", "Bridge", "BridgePart", "BridgeInstallation",
    "BridgeConstructionElement", "BridgeConstructiveElement", "BridgeRoom", "BridgeFurniture", "Tunnel", "TunnelPart",
    "TunnelInstallation", "TunnelConstructiveElement", "TunnelFurniture", "HollowSpace", "OtherConstruction", "Road",
    "Railway", "Track", "Waterway", "TransportSquare", "WaterBody", "PlantCover", "SolitaryVegetationObject", "LandUse",
    "CityFurniture", "GenericCityObject", "GenericOccupiedSpace", "GenericUnoccupiedSpace", "GenericLogicalSpace",
    "ReliefFeature", "TINRelief", "MassPointRelief", "BreaklineRelief", "RasterRelief", *_RENAMED,
})
# spaces that only group surfaces of the object around them
_TRANSPARENT = frozenset({"Section", "Intersection", "TrafficSpace", "AuxiliaryTrafficSpace", "ClearanceSpace"})
_SURFACES = frozenset(CLASS_INDEX) - {""} | {
    "WindowSurface", "DoorSurface", "GenericThematicSurface", "Marking", "Hole", "HoleSurface",
}
# fmt: on
_AS_SURFACE = {"WindowSurface": "Window", "DoorSurface": "Door", "Marking": "TransportationMarking"}
_LOD = re.compile(r"lod(\d)(\w*)$")
_GENERIC = frozenset({"intAttribute", "doubleAttribute", "measureAttribute", "stringAttribute", "dateAttribute"})
_PLAIN_HEIGHT = ("highestRoofEdge", "lowestGroundPoint", "measured")  # what CityJSON's measuredHeight means
_MEMBERS = ("cityObjectMember", "featureMember")


def read(path: Path, options: ReadOptions) -> Iterator[Source]:
    """Read a city model.

    Raises:
        UnreadableFile: not XML, cut short, or with a document type declaration.
        UnknownCrs: its srsName names no CRS that PROJ knows.

    """
    reference, dimension, title = _head(path)
    crs = parse_reference(reference)
    reading = _Reading(path, crs, reference, dimension, options.root)
    header = Header(crs=crs, title=title, layer_hint=path.name.split(".")[0], images=path.parent)
    yield Source(replace(header, warnings=reading.warnings), reading.batches())


def _head(path: Path) -> tuple[str | None, int, str | None]:
    """Return the srsName, the dimension of positions and the title, as they stand before or in the first object."""
    reference, dimension, title = None, 3, None
    depth = 0
    for event, element in elements(path):
        if event == "start":
            depth += 1
            reference = reference or element.get("srsName")
            declared = element.get("srsDimension") or ""
            dimension = int(declared) if declared in ("2", "3") else dimension
            continue
        depth -= 1
        if depth == 1 and local_name(element) == "name":
            title = element.text
        if depth == 1 and local_name(element) in _MEMBERS:
            break
        if depth == 1 and local_name(element) == "boundedBy" and reference:
            break
    return reference, dimension, title


class _Reading:
    """One pass over a file, and what it has to remember of it: implicit geometries, code lists, the axis order."""

    def __init__(self, path: Path, crs: CRS | None, reference: str | None, dimension: int, root: Path | None) -> None:
        self._path, self._crs, self._reference, self._dimension = path, crs, reference, dimension
        self._root = root
        self._templates: dict[str, Element] = {}
        self._code_lists: dict[str, dict[str, str]] = {}
        self._gathered = Gathered()
        self._by_id: dict[str, Element] = {}  # of the member that is read
        self._swapped: bool | None = None
        self._looks = looks_of_file(path)
        self.warnings, self._looks.warnings = tuple(sorted(self._looks.warnings)), set()  # of the file as a whole
        self._own_looks = Looks(path)  # of the member that is read

    def batches(self) -> Iterator[Features]:
        """Yield the city objects in the order of the file, an object and what belongs to it in one batch."""
        for element in children(self._path):
            if local_name(element) in _MEMBERS:
                self._member(element)
            if len(self._gathered.ids) >= BATCH_SIZE:
                yield self._flushed()
        if self._gathered.ids or self._gathered.refused:
            yield self._flushed()

    def _flushed(self) -> Features:
        gathered, self._gathered = self._gathered, Gathered()
        if self._swapped is None:
            self._swapped, warning = _is_swapped(gathered.batch(swapped=False), self._crs, self._reference)
            if warning:
                gathered.warn(warning)
        return gathered.batch(self._swapped)

    def _member(self, member: Element) -> None:
        self._by_id = {e.get(key): e for e in member.iter() for key in e.attrib if key.endswith("}id")}
        self._own_looks = Looks(self._path)
        for appearance in member.iter("{*}Appearance"):
            self._own_looks.read(appearance)
        for element in member:
            self._object(element, None)

    def _look(self, polygon: Element, rings: list[list[list[float]]], city_object: "_Object") -> FaceLook | None:
        """Return how a polygon looks: as its object says, else as the file does."""
        look = None
        for looks in filter(None, (self._own_looks, self._looks)):
            look = look or looks.of(polygon, rings)
            city_object.warnings |= looks.warnings
            looks.warnings = set()
        return look

    def _object(self, element: Element, parent: str | None) -> None:
        """Add one city object and those inside it; one that can't be read is set aside with its reason."""
        gathered = self._gathered
        identifier = next((value for key, value in element.attrib.items() if key.endswith("}id")), None)
        record = len(gathered.ids)
        city_object = _Object(identifier)
        try:
            self._properties(element, city_object)
            bodies = list(self._levels(city_object))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as fault:
            gathered.refused.append(
                Refusal(identifier or "", say("geometry-cannot-read", reason=fault), city_object.attributes)
            )
            return
        name = local_name(element)
        gathered.ids.append(identifier)
        gathered.attributes.append(city_object.attributes)
        gathered.object_class.append(_RENAMED.get(name, name))
        gathered.parent_id.append(parent)
        gathered.bodies += [(record, lod, faces) for lod, faces in bodies]
        if city_object.plane is not None:
            gathered.plane[record] = city_object.plane
        for warning in city_object.warnings:
            gathered.warn(warning, identifier)
        for child in city_object.children:
            self._object(child, identifier)

    def _properties(self, element: Element, city_object: "_Object") -> None:
        """Gather what an object says of itself: geometries by level, surfaces, inner objects, attributes."""
        for prop in element:
            name = local_name(prop)
            level = _LOD.match(name)
            if level:
                self._geometry_property(prop, level[1], level[2], city_object)
            elif name == "tin":
                city_object.direct.setdefault(city_object.attributes.get("lod", ""), []).extend(self._faces(prop, 0))
            elif name in ("boundedBy", "boundary", "opening", "fillingSurface") or self._holds_objects(prop):
                for child in prop:
                    self._inner(child, city_object)
                if not len(prop) and (target := self._target(prop)) is not None:
                    self._inner(target, city_object)
            elif name in _GENERIC or name in ("genericAttributeSet", "genericAttribute"):
                city_object.attributes.update(generic(prop))
            elif name not in ("appearance", "extent"):
                self._attribute(prop, name, city_object.attributes)

    @staticmethod
    def _holds_objects(prop: Element) -> bool:
        return any(local_name(child) in _OBJECTS or local_name(child) in _TRANSPARENT for child in prop)

    def _inner(self, child: Element, city_object: "_Object") -> None:
        name = local_name(child)
        if name in _OBJECTS:
            city_object.children.append(child)
        elif name in _TRANSPARENT:
            self._properties(child, city_object)
        elif name in _SURFACES:
            surface = _Object(None)
            self._properties(child, surface)
            index = CLASS_INDEX.get(_AS_SURFACE.get(name, name), 0)
            for lod, faces in surface.direct.items():
                city_object.thematic.setdefault(lod, []).extend(
                    (polygon, turned, index) for polygon, turned, _ in faces
                )
            for lod, inner in surface.thematic.items():  # windows and doors in a wall
                city_object.thematic.setdefault(lod, []).extend(inner)
            city_object.warnings |= surface.warnings

    def _geometry_property(self, prop: Element, level: str, kind: str, city_object: "_Object") -> None:
        if kind == "TerrainIntersection":
            city_object.warnings.add(say("line-where-meets-terrain-left"))
            return
        if kind == "ImplicitRepresentation":
            self._implicit(prop, level, city_object)
            return
        if kind == "RoofEdge" and level in city_object.direct:
            return  # the footprint stands already
        faces = self._faces(prop, 0, city_object.warnings)
        if faces:
            city_object.direct.setdefault(level, []).extend(faces)
        else:
            shape = self._plane(prop)
            city_object.plane = city_object.plane if shape is None else shape

    def _levels(self, city_object: "_Object") -> Iterator[tuple[str, Faces]]:
        """Yield the faces of each level: those of its solid or surface, with the class of the surface each is of."""
        for lod in sorted(city_object.direct.keys() | city_object.thematic.keys()):
            class_of = {id(polygon): index for polygon, _, index in city_object.thematic.get(lod, ())}
            chosen = city_object.direct.get(lod) or city_object.thematic[lod]
            faces = Faces()
            flat = []
            for polygon, turned, _ in chosen:
                rings, dimension = self._rings(polygon)
                if dimension == 2:
                    flat.append(rings)
                    continue
                faces.add(rings, turned, class_of.get(id(polygon), 0), self._look(polygon, rings, city_object))
            if lod in city_object.direct:
                used = {id(polygon) for polygon, _, _ in city_object.direct[lod]}
                if any(key not in used for key in class_of):
                    city_object.warnings.add(say("surfaces-lod-solid-not-have", lod=lod))
            if flat and city_object.plane is None:
                city_object.plane = shapely.MultiPolygon([(rings[0], rings[1:]) for rings in flat])
            if faces.rings:
                yield lod, faces
        yield from city_object.placed

    def _faces(self, element: Element, turns: int, warnings: set[str] | None = None) -> list[tuple[Element, bool, int]]:
        """Return the polygons and triangles under an element, following references; turned ones run the other way."""
        polygons: list[tuple[Element, bool, int]] = []
        for child in element:
            name = local_name(child)
            if name in ("Polygon", "Triangle", "Rectangle", "PolygonPatch"):
                polygons.append((child, bool(turns % 2), 0))
            elif name == "OrientableSurface":
                polygons += self._faces(child, turns + (child.get("orientation") == "-"), warnings)
            elif name == "interior" and local_name(element) == "Solid":
                polygons += self._faces(child, turns, warnings)
            elif name not in ("posList", "pos", "Point", "LineString", "Curve"):
                polygons += self._faces(child, turns, warnings)
                if not len(child) and child.get(XLINK):
                    target = self._target(child)
                    if target is None:
                        if warnings is not None:
                            warnings.add(say("reference-geometry-not-same-object"))
                    elif local_name(target) in ("Polygon", "Triangle"):
                        polygons.append((target, bool(turns % 2), 0))
                    else:
                        polygons += self._faces(target, turns, warnings)
        return polygons

    def _target(self, element: Element) -> Element | None:
        reference = element.get(XLINK) or ""
        return self._by_id.get(reference.rpartition("#")[2])

    def _rings(self, polygon: Element) -> tuple[list[list[list[float]]], int]:
        """Return the rings of a polygon as open lists of positions, the outer first, and their dimension."""
        rings, dimension = [], self._dimension
        for boundary in polygon:
            if local_name(boundary) not in ("exterior", "interior", "outerBoundaryIs", "innerBoundaryIs"):
                continue
            positions, dimension = self._positions(boundary)
            if len(positions) > 1 and positions[0] == positions[-1]:
                positions.pop()
            rings.append(positions)
        if not rings:
            raise ValueError(say("polygon-without-exterior"))
        return rings, dimension

    def _positions(self, element: Element) -> tuple[list[list[float]], int]:
        numbers: list[float] = []
        dimension = self._dimension
        lists = 0
        for child in element.iter():
            name = local_name(child)
            if name in ("posList", "pos", "coordinates") and child.text:
                text = child.text.replace(",", " ") if name == "coordinates" else child.text
                values = list(map(float, text.split()))
                dimension = int(child.get("srsDimension") or (len(values) if name == "pos" else dimension))
                if name == "coordinates":
                    dimension = len(child.text.split()[0].split(","))
                numbers += values
                lists += 1
        if not numbers or len(numbers) % dimension:
            raise ValueError(say("numbers-not-positions", count=len(numbers), dimension=dimension))
        return [numbers[i : i + dimension] for i in range(0, len(numbers), dimension)], dimension

    def _plane(self, prop: Element) -> Any:
        """Return points or lines of a property that has no faces."""
        lines = [e for e in prop.iter() if local_name(e) in ("LineString", "LineStringSegment")]
        if lines:
            return shapely.MultiLineString([self._positions(line)[0] for line in lines])
        points = [e for e in prop.iter() if local_name(e) == "Point"]
        if len(points) == 1:
            return shapely.Point(self._positions(points[0])[0][0])
        return shapely.MultiPoint([self._positions(p)[0][0] for p in points]) if points else None

    def _implicit(self, prop: Element, level: str, city_object: "_Object") -> None:
        """Place a relative geometry: its vertices through the 4 × 4 matrix, then moved to the reference point."""
        implicit = next(iter(prop), None)
        if implicit is None:
            return
        parts = {local_name(child): child for child in implicit}
        relative = parts.get("relativeGMLGeometry", parts.get("relativeGeometry"))
        if relative is None or "referencePoint" not in parts:
            city_object.warnings.add(say("implicit-geometry-another-file-left"))
            return
        template = next(iter(relative), None)
        reference = (relative.get(XLINK) or "").rpartition("#")[2]
        if template is not None:
            name = next((v for k, v in template.attrib.items() if k.endswith("}id")), None)
            if name:
                self._templates[name] = template
        else:
            template = self._templates.get(reference)
        if template is None:
            city_object.warnings.add(say("implicit-geometry-no-earlier-object", reference=reference))
            return
        matrix = np.eye(4)
        if "transformationMatrix" in parts:
            matrix = np.array(parts["transformationMatrix"].text.split(), np.float64).reshape(4, 4)
        origin = self._positions(parts["referencePoint"])[0][0]
        faces = Faces()
        for polygon, turned, _ in self._faces([template], 0, city_object.warnings):
            rings, _ = self._rings(polygon)
            faces.add([[origin] * len(ring) for ring in rings], turned, 0, self._look(polygon, rings, city_object))
            for ring in rings:
                local = np.c_[np.array(ring), np.ones(len(ring))] @ matrix.T
                faces.offsets += (local[:, :3] / local[:, 3:]).tolist()[:: -1 if turned else 1]
        if faces.rings:
            city_object.placed.append((level, faces))

    def _attribute(self, prop: Element, name: str, attributes: dict[str, Any]) -> None:
        if name == "height" and len(prop):
            self._height(prop, attributes)
            return
        if name == "name" and "name" in attributes:
            return
        value = value_of(prop)
        if value is None:
            return
        if isinstance(value, str):
            value = typed(name, value, prop.get("uom") or "")
        earlier = attributes.get(name)
        if earlier is not None:
            value = [*(earlier if isinstance(earlier, list) else [earlier]), value]
        attributes[name] = value
        if space := prop.get("codeSpace"):
            attributes[f"{name}_codeSpace"] = space
            if (text := self._meaning(space, prop.text)) is not None:
                attributes[f"{name}_name"] = text

    def _height(self, prop: Element, attributes: dict[str, Any]) -> None:
        """Take a height of CityGML 3.0, which says from where to where; one from foot to ridge is measuredHeight."""
        members = value_of(prop)
        if not isinstance(members, dict) or "value" not in members:
            return
        unit = next((e.get("uom") or "" for e in prop.iter() if local_name(e) == "value"), "")
        height = typed("measuredHeight", str(members["value"]), unit)
        plain = (members.get("highReference"), members.get("lowReference"), members.get("status")) == _PLAIN_HEIGHT
        if plain or "measuredHeight" not in attributes:
            attributes["measuredHeight"] = height
        if not plain:
            attributes.setdefault("heights", []).append(members | {"value": height})

    def _meaning(self, space: str, code: str | None) -> str | None:
        """Look a code up in its dictionary, where that lies beside the file, or in what was delivered with it."""
        if space not in self._code_lists:
            file = (self._path.parent / space).resolve()
            beside = "://" not in space and not Path(space).is_absolute()
            delivered = self._root is None or file.is_relative_to(self._root.resolve())
            self._code_lists[space] = dictionary(file) if beside and delivered and file.is_file() else {}
        return self._code_lists[space].get((code or "").strip())


@dataclass
class _Object:
    """What is gathered of one city object, or of one surface of it."""

    id: str | None
    attributes: dict[str, Any] = field(default_factory=dict)
    direct: dict[str, list[tuple[Element, bool, int]]] = field(default_factory=dict)  # level → its own polygons
    thematic: dict[str, list[tuple[Element, bool, int]]] = field(default_factory=dict)  # level → polygons of surfaces
    placed: list[tuple[str, Faces]] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)
    plane: Any = None
    warnings: set[str] = field(default_factory=set)


def _north_first(crs: CRS) -> bool:
    axes = split(crs)[0].axis_info
    return bool(axes) and axes[0].direction.lower() in ("north", "south")


def _is_swapped(batch: Features, crs: CRS | None, reference: str | None) -> tuple[bool, str | None]:
    """Return whether the first coordinate is the northing or latitude, and a warning where the registry says otherwise.

    The registry's order holds for a URN or URL. Many files don't keep to it, so the coordinates are asked: in which
    order they lie where the CRS is used; where both do, in which order the solids face outwards; only then the
    registry.
    """
    if crs is None or reference is None or not _north_first(crs):
        return False, None
    by_registry = "urn:" in reference or "/def/crs" in reference
    points = np.concatenate([batch.bodies.vertices[:, :2], shapely.get_coordinates(batch.geometry)])
    horizontal, _ = split(crs)
    as_it_stands = lands_in_area(horizontal, points[:, 0], points[:, 1])
    the_other_way = lands_in_area(horizontal, points[:, 1], points[:, 0])
    why = "only so they lie where it is used"
    swapped = by_registry
    if as_it_stands != the_other_way:
        swapped = the_other_way
    elif as_it_stands and horizontal.is_projected and len(batch.bodies):
        bodies = canonical(batch.bodies).bodies
        sign = np.sign(volumes(bodies)[closed(bodies)])
        if len(sign) and abs(sign.sum()) > len(sign) / 2:
            swapped = bool(sign.sum() < 0)
            why = "only so its solids face outwards"
    if swapped == by_registry:
        return swapped, None
    order = "northing before easting" if swapped else "easting before northing"
    return swapped, say("coordinates-read", order=order, reference=reference, why=why)
