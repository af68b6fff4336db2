"""IFC 2x3 to 4x3: buildings, storeys and spaces (CIM 5) and their elements with geometry (CIM 6), in the map's place.

Placed by IfcMapConversion with its units (ISO 16739-1:2024, 8.18.3.9), else by the site's latitude and longitude.
A storey and a building have the outline of what they hold; a building also its height and foot.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.geom
import ifcopenshell.util.element
import ifcopenshell.util.shape
import ifcopenshell.util.unit
import numpy as np
import shapely
from pyproj import CRS

from cim.bodies import Float, Int, from_sizes, select
from cim.crs import parse, parse_reference
from cim.errors import UnknownCrs, UnreadableFile
from cim.geometry import footprints
from cim.model import BATCH_SIZE, Features, Header, ReadOptions, Refusal, Source

ELEMENT = "IfcElement"
_CLASSES = {"IfcBuilding": "Building", "IfcBuildingStorey": "BuildingStorey", "IfcSpace": "BuildingRoom"}
_NO_ELEMENTS = ("IfcOpeningElement", "IfcVirtualElement")
_LOD = "4"
_UNIT_TOLERANCE = 0.01
_ARC = (1.0, 1 / 60, 1 / 3600, 1 / 3.6e9)  # degrees in a degree, minute, second, millionth of a second
Entity = Any  # of ifcopenshell, which is typed in part
geom: Any = ifcopenshell.geom
elements: Any = ifcopenshell.util.element
shapes: Any = ifcopenshell.util.shape
units: Any = ifcopenshell.util.unit


def read(path: Path, options: ReadOptions) -> Iterator[Source]:  # noqa: ARG001 - IFC says its encoding itself
    """Read a building model.

    Raises:
        UnreadableFile: not IFC, or cut short.

    """
    try:
        model = ifcopenshell.open(str(path))
        placing = _placing(model)
    except (ifcopenshell.Error, OSError, RuntimeError, AttributeError, TypeError, ValueError) as fault:
        raise UnreadableFile(f"{path}: not readable as IFC ({fault})") from fault
    project: Any = next(iter(model.by_type("IfcProject")), None)
    header = Header(
        crs=placing.crs,
        title=(project.LongName or project.Name) if project else None,
        layer_hint=path.stem,
        warnings=placing.warnings,
    )
    yield Source(header, _batches(model, placing, path))


@dataclass(frozen=True)
class _Placing:
    """How metres of the model become the map's: turned, scaled, moved."""

    crs: CRS | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn: float = 0.0  # radians, anticlockwise from the model's x to the map's
    scale: float = 1.0
    unit_m: float = 1.0  # of the CRS
    warnings: tuple[str, ...] = ()

    def __call__(self, points: Float) -> Float:
        """Return (n, 3): x and y in units of the CRS, z in metres."""
        x, y = points[:, 0] * self.scale, points[:, 1] * self.scale
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        east, north = x * cos - y * sin + self.origin[0], x * sin + y * cos + self.origin[1]
        return np.column_stack([east / self.unit_m, north / self.unit_m, points[:, 2] + self.origin[2]])


def _placing(model: Any) -> _Placing:
    conversion = next(iter(model.by_type("IfcMapConversion")), None) if model.schema != "IFC2X3" else None
    if conversion is not None:
        return _by_conversion(model, conversion)
    site = next((s for s in model.by_type("IfcSite") if s.RefLatitude and s.RefLongitude), None)
    if site is not None:
        return _by_site(model, site)
    return _Placing(warnings=("neither IfcMapConversion nor the site's latitude and longitude places the model",))


def _by_conversion(model: Any, conversion: Entity) -> _Placing:
    target = conversion.TargetCRS
    project_m = units.calculate_unit_scale(model)
    named = target.MapUnit if target.is_a("IfcProjectedCRS") else None
    map_m = _unit_m(named) if named else project_m
    warnings = []
    # metres of the map for a metre of the model: without a scale, and with one that forgets the units, they are alike
    scale = conversion.Scale * map_m / project_m if conversion.Scale else 1.0
    if abs(scale - 1) > _UNIT_TOLERANCE and conversion.Scale == 1:
        warnings.append("IfcMapConversion has the scale 1 between different units: metres taken for metres")
        scale = 1.0
    horizontal = parse_reference(target.Name) if target.Name else None
    crs = horizontal
    if horizontal is not None and (vertical := _vertical(target.VerticalDatum)):
        crs = parse(f"{horizontal.to_string()}+{vertical}") if horizontal.to_authority() else horizontal
    origin = (conversion.Eastings * map_m, conversion.Northings * map_m, conversion.OrthogonalHeight * map_m)
    turn = math.atan2(conversion.XAxisOrdinate or 0.0, conversion.XAxisAbscissa or 1.0)
    if conversion.XAxisAbscissa == 0:
        turn = math.copysign(math.pi / 2, conversion.XAxisOrdinate or 1.0)
    unit = horizontal.axis_info[0].unit_conversion_factor if horizontal is not None else 1.0
    return _Placing(crs, origin, turn, scale, unit, tuple(warnings))


def _vertical(datum: str | None) -> str | None:
    """Return the EPSG code of a vertical datum, where it is named by one."""
    if not datum or "EPSG" not in datum.upper():
        return None
    try:
        crs = parse_reference(datum)
    except UnknownCrs:
        return None
    return str(crs.to_epsg()) if crs is not None and crs.is_vertical else None


def _unit_m(unit: Entity) -> float:
    """Return metres in a unit of length."""
    if unit.is_a("IfcSIUnit"):
        return float(units.get_prefix_multiplier(unit.Prefix))
    factor = unit.ConversionFactor
    return float(factor.ValueComponent.wrappedValue) * _unit_m(factor.UnitComponent)


def _by_site(model: Any, site: Entity) -> _Placing:
    lat, lon = (_degrees(angle) for angle in (site.RefLatitude, site.RefLongitude))
    north = next(
        (c.TrueNorth.DirectionRatios for c in model.by_type("IfcGeometricRepresentationContext") if c.TrueNorth),
        (0.0, 1.0),
    )
    turn = math.pi / 2 - math.atan2(north[1], north[0])  # true north lies on the map's y
    project_m = units.calculate_unit_scale(model)
    height = (site.RefElevation or 0.0) * project_m
    crs = CRS.from_proj4(f"+proj=tmerc +lat_0={lat:.9f} +lon_0={lon:.9f} +k=1 +datum=WGS84 +units=m +type=crs")
    said = f"placed by the site's latitude and longitude, {lat:.6f} {lon:.6f}: good to some metres at best"
    return _Placing(crs, (0.0, 0.0, height), turn, warnings=(said,))


def _degrees(angle: Sequence[int]) -> float:
    """Return degrees of an IfcCompoundPlaneAngleMeasure, whose parts all have the sign of the whole."""
    return sum(part * unit for part, unit in zip(angle, _ARC, strict=False))


@dataclass
class _Gathered:
    """What a batch grows by."""

    records: list[Entity] = field(default_factory=list)
    vertices: list[Float] = field(default_factory=list)
    faces: list[Int] = field(default_factory=list)

    def features(self, placing: _Placing) -> Features:
        """Return the records with their bodies, in the map's place."""
        shifts = np.cumsum([0, *(len(v) for v in self.vertices)])[:-1]
        corners = [f + shift for f, shift in zip(self.faces, shifts, strict=True)]
        triangles = np.concatenate(corners) if corners else np.empty((0, 3), np.int64)
        points = np.concatenate(self.vertices) if self.vertices else np.empty((0, 3))
        count = len(triangles)
        bodies = from_sizes(
            placing(points),
            triangles.ravel(),
            np.full(count, 3, np.int64),
            np.ones(count, np.int64),
            [len(f) for f in self.faces],
            np.zeros(count, np.uint8),
        )
        records = self.records
        return Features(
            ids=[entity.GlobalId for entity in records],
            attributes=[_attributes(entity) for entity in records],
            geometry=np.full(len(records), None, object),
            object_class=[_CLASSES.get(entity.is_a(), ELEMENT) for entity in records],
            parent_id=[_whole_of(entity) for entity in records],
            bodies=bodies,
            body_record=np.arange(len(records)),
            body_lod=[_LOD] * len(records),
        )


def _whole_of(entity: Entity) -> str | None:
    """Return the id of the element that an element is a part of."""
    whole = elements.get_aggregate(entity)
    return str(whole.GlobalId) if whole is not None and whole.is_a("IfcElement") else None


@dataclass
class _Extent:
    """What a storey, a building or an element of parts covers."""

    outlines: list[Any] = field(default_factory=list)
    low: float = math.inf
    high: float = -math.inf


def _batches(model: Any, placing: _Placing, path: Path) -> Iterator[Features]:
    """Yield spaces and elements, a batch at a time; storeys and buildings last, when their extent is known."""
    wanted = {
        entity.GlobalId: entity
        for kind in ("IfcElement", "IfcSpace")
        for entity in model.by_type(kind)
        if not any(entity.is_a(other) for other in _NO_ELEMENTS)
    }
    extents: dict[str, _Extent] = defaultdict(_Extent)
    seen: set[str] = set()
    gathered = _Gathered()
    for identifier, vertices, faces in _shapes(model, path):
        if identifier not in wanted or identifier in seen:
            continue
        seen.add(identifier)
        gathered.records.append(wanted[identifier])
        gathered.vertices.append(vertices)
        gathered.faces.append(faces)
        if len(gathered.records) >= BATCH_SIZE:
            yield _grown(gathered.features(placing), gathered.records, extents)
            gathered = _Gathered()
    last = _grown(gathered.features(placing), gathered.records, extents)
    whole = [e for identifier, e in wanted.items() if identifier not in seen and extents[identifier].outlines]
    bare = [e for identifier, e in wanted.items() if identifier not in seen and not extents[identifier].outlines]
    kinds = Counter(entity.is_a() for entity in bare if not entity.Representation)
    refused = tuple(
        Refusal(entity.GlobalId, f"the geometry of this {entity.is_a()} can't be built")
        for entity in bare
        if entity.Representation
    )
    said = {f"without geometry, left out: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}": ()} if kinds else {}
    yield Features(
        last.ids, last.attributes, last.geometry, last.object_class, last.parent_id, last.bodies, last.body_record,
        last.body_lod, refused, said,
    )  # fmt: skip
    yield _spatial(model, whole, extents)


def _shapes(model: Any, path: Path) -> Iterator[tuple[str, Float, Int]]:
    """Yield the shape of each product in metres of the model: vertices (n, 3) and triangles (m, 3)."""
    settings = geom.settings()
    settings.set("use-world-coords", True)
    settings.set("weld-vertices", True)
    try:
        iterator = geom.iterator(settings, model, 1)
        going = iterator.initialize()
        while going:
            shape = iterator.get()
            faces = shapes.get_faces(shape.geometry)
            if len(faces):
                yield shape.guid, np.array(shapes.get_vertices(shape.geometry)), np.array(faces, np.int64)
            going = iterator.next()
    except RuntimeError as fault:
        raise UnreadableFile(f"{path}: its geometry can't be read ({fault})") from fault


def _grown(batch: Features, records: Sequence[Entity], extents: dict[str, _Extent]) -> Features:
    """Add what a batch covers to its storeys and buildings."""
    outlines = footprints(select(batch.bodies, np.arange(len(batch.bodies))))
    for body, (entity, outline) in enumerate(zip(records, outlines, strict=True)):
        one = select(batch.bodies, np.array([body]))
        z = one.vertices[one.indices, 2]
        for holder in (*_holders(entity), *_wholes(entity)):
            extent = extents[holder.GlobalId]
            if outline is not None and not shapely.is_empty(outline):
                extent.outlines.append(outline)
            extent.low, extent.high = min(extent.low, float(z.min())), max(extent.high, float(z.max()))
    return batch


def _holders(entity: Entity) -> Iterator[Entity]:
    """Yield the storey and the building that hold an object."""
    holder = elements.get_container(entity) or elements.get_aggregate(entity)
    while holder is not None:
        if holder.is_a("IfcBuildingStorey") or holder.is_a("IfcBuilding"):
            yield holder
        holder = elements.get_aggregate(holder) or elements.get_container(holder)


def _wholes(entity: Entity) -> Iterator[Entity]:
    """Yield the elements that an element is a part of, from the nearest on."""
    whole = elements.get_aggregate(entity)
    while whole is not None and whole.is_a("IfcElement"):
        yield whole
        whole = elements.get_aggregate(whole)


def _attributes(entity: Entity) -> dict[str, Any]:
    """Return what an object says of itself, where it is, its type, material and property sets."""
    said: dict[str, Any] = {
        "name": entity.Name,
        "description": entity.Description,
        "long_name": getattr(entity, "LongName", None),
        "tag": getattr(entity, "Tag", None),
        "ifc_class": entity.is_a(),
        "predefined_type": getattr(entity, "PredefinedType", None),
    }
    for holder in _holders(entity):
        said["storey_name" if holder.is_a("IfcBuildingStorey") else "building_id"] = (
            holder.Name if holder.is_a("IfcBuildingStorey") else holder.GlobalId
        )
    kind = elements.get_type(entity)
    material = elements.get_material(entity)
    said["type"] = kind.Name if kind is not None else None
    said["material"] = getattr(material, "Name", None) or (material.is_a() if material is not None else None)
    said["properties"] = _plain(elements.get_psets(entity)) or None
    return {key: value for key, value in said.items() if value not in (None, "")}


def _plain(value: Any) -> Any:
    """Return property values as JSON has them; the numbers of lines in the file aren't kept."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key != "id"}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _spatial(model: Any, whole: Sequence[Entity], extents: dict[str, _Extent]) -> Features:
    """Return elements of parts, storeys and buildings over what they hold; one that holds nothing is set aside."""
    records = [*whole, *model.by_type("IfcBuildingStorey"), *model.by_type("IfcBuilding")]
    kept = [entity for entity in records if extents[entity.GlobalId].outlines]
    geometry = np.full(len(kept), None, object)
    attributes = []
    for row, entity in enumerate(kept):
        extent = extents[entity.GlobalId]
        geometry[row] = shapely.union_all(extent.outlines)
        said = _attributes(entity)
        if entity.is_a("IfcBuilding"):
            storeys = [s for s in elements.get_decomposition(entity) if s.is_a("IfcBuildingStorey")]
            said |= {"height": extent.high - extent.low, "base": extent.low, "storeys": len(storeys) or None}
        attributes.append(said)
    return Features(
        ids=[entity.GlobalId for entity in kept],
        attributes=attributes,
        geometry=geometry,
        object_class=[_CLASSES.get(entity.is_a(), ELEMENT) for entity in kept],
        parent_id=[_whole_of(entity) for entity in kept],
        refused=tuple(
            Refusal(entity.GlobalId, f"an {entity.is_a()} that holds nothing with geometry")
            for entity in records
            if entity not in kept
        ),
    )
