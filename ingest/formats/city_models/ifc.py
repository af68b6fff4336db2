"""IFC 2x3 to 4x3: buildings, storeys and spaces (CIM 5) and their elements with geometry (CIM 6), in the map's place.

Placed by IfcMapConversion with its units (ISO 16739-1:2024, 8.18.3.9), else by the site's latitude and longitude.
A storey and a building have the outline of what they hold; a building also its height and foot.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any

import ifcopenshell.geom
import ifcopenshell.util.element
import ifcopenshell.util.shape
import ifcopenshell.util.unit
import numpy as np
import shapely
from pyproj import CRS

from cim.errors import UnknownCrs, UnreadableFile
from cim.features import BATCH_SIZE, Features, Header, ReadOptions, Refusal, Source
from cim.geometry.body_batch import Float, Int, from_sizes
from cim.geometry.outlines import footprints
from cim.messages import say
from cim.reference.crs import parse, parse_reference
from ingest.formats.city_models.ifc_parts import Entity, Part, Parts, parts_of

ELEMENT = "IfcElement"
_CLASSES = {"IfcBuilding": "Building", "IfcBuildingStorey": "BuildingStorey", "IfcSpace": "BuildingRoom"}
_LOD = "4"
_UNIT_TOLERANCE = 0.01
_ARC = (1.0, 1 / 60, 1 / 3600, 1 / 3.6e9)  # degrees in a degree, minute, second, millionth of a second
geom: Any = ifcopenshell.geom
elements: Any = ifcopenshell.util.element
shapes: Any = ifcopenshell.util.shape
units: Any = ifcopenshell.util.unit


def read(path: Path, options: ReadOptions) -> Iterator[Source]:
    """Read a building model.

    Raises:
        UnreadableFile: not IFC, or cut short.

    """
    parts = parts_of(path, options.workers)
    try:
        placing = _placing(parts.frame)
    except (RuntimeError, AttributeError, TypeError, ValueError) as fault:
        raise UnreadableFile(say("not-readable-ifc", file=path, reason=fault)) from fault
    project: Any = next(iter(parts.frame.by_type("IfcProject")), None)
    header = Header(
        crs=placing.crs,
        title=(project.LongName or project.Name) if project else None,
        layer_hint=path.stem,
        warnings=placing.warnings,
    )
    yield Source(header, _batches(parts, placing, path))


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
    return _Placing(warnings=(say("neither-ifcmapconversion-nor-site-latitude"),))


def _by_conversion(model: Any, conversion: Entity) -> _Placing:
    target = conversion.TargetCRS
    project_m = units.calculate_unit_scale(model)
    named = target.MapUnit if target.is_a("IfcProjectedCRS") else None
    map_m = _unit_m(named) if named else project_m
    warnings = []
    # metres of the map for a metre of the model: without a scale, and with one that forgets the units, they are alike
    scale = conversion.Scale * map_m / project_m if conversion.Scale else 1.0
    if abs(scale - 1) > _UNIT_TOLERANCE and conversion.Scale == 1:
        warnings.append(say("ifcmapconversion-has-scale-1-between"))
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
    warning = say("placed-site-latitude-longitude", lat=lat, lon=lon)
    return _Placing(crs, (0.0, 0.0, height), turn, warnings=(warning,))


def _degrees(angle: Sequence[int]) -> float:
    """Return degrees of an IfcCompoundPlaneAngleMeasure, whose parts all have the sign of the whole."""
    return sum(part * unit for part, unit in zip(angle, _ARC, strict=False))


@dataclass(frozen=True)
class _Gathered:
    """Elements, with the vertices (n, 3) and the triangles (m, 3) of each."""

    records: list[Entity]
    vertices: Sequence[Float]
    faces: Sequence[Int]

    def features(self, placing: _Placing) -> Features:
        """Return the records with their bodies, in the map's place."""
        shifts = np.cumsum([0, *(len(v) for v in self.vertices)])[:-1]
        triangles = np.concatenate([f + shift for f, shift in zip(self.faces, shifts, strict=True)])
        count = len(triangles)
        bodies = from_sizes(
            placing(np.concatenate(self.vertices)),
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

    def heights(self, placing: _Placing) -> list[tuple[float, float]]:
        """Return from where to where each record reaches, in metres of the map."""
        base = placing.origin[2]
        levels = [v[f, 2] + base for v, f in zip(self.vertices, self.faces, strict=True)]
        return [(float(z.min()), float(z.max())) for z in levels]


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

    def grow(self, outlines: Sequence[Any], low: float, high: float) -> None:
        """Cover more."""
        self.outlines += outlines
        self.low, self.high = min(self.low, low), max(self.high, high)


@dataclass(frozen=True)
class _Bare:
    """An element that has no shape of its own."""

    number: int
    guid: str
    kind: str
    represented: bool


@dataclass
class _Shaped:
    """What a part gives: its elements, what their wholes, storeys and buildings cover, and elements without a shape."""

    batches: list[Features] = field(default_factory=list)
    extents: dict[str, _Extent] = field(default_factory=lambda: defaultdict(_Extent))
    bare: list[_Bare] = field(default_factory=list)


def _batches(parts: Parts, placing: _Placing, path: Path) -> Iterator[Features]:
    """Yield spaces and elements, a batch at a time; storeys and buildings last, when their extent is known."""
    extents: dict[str, _Extent] = defaultdict(_Extent)
    bare: list[_Bare] = []
    for shaped in parts.done(partial(_shaped, placing=placing, path=path)):
        yield from shaped.batches
        bare += shaped.bare
        for guid, extent in shaped.extents.items():
            extents[guid].grow(extent.outlines, extent.low, extent.high)
    yield _left_out([one for one in bare if one.guid not in extents])
    wholes = [one for one in bare if one.guid in extents]
    outlined = partial(_outlined_part, extents={one.guid: extents[one.guid] for one in wholes})
    yield from parts.done(outlined, [one.number for one in wholes])
    yield _outlined([*parts.frame.by_type("IfcBuildingStorey"), *parts.frame.by_type("IfcBuilding")], extents)


def _shaped(part: Part, placing: _Placing, path: Path) -> _Shaped:
    """Shape the elements of a part."""
    model, wanted = part.opened()
    shaped, shaped_numbers = _Shaped(), set[int]()
    for some in batched(_shapes(model, wanted, path), BATCH_SIZE):
        numbers, vertices, faces = zip(*some, strict=True)
        shaped_numbers.update(numbers)
        gathered = _Gathered([model.by_id(number) for number in numbers], vertices, faces)
        batch = gathered.features(placing)
        shaped.batches.append(batch)
        outlines = footprints(batch.bodies)
        for entity, outline, (low, high) in zip(gathered.records, outlines, gathered.heights(placing), strict=True):
            if outline is not None and not shapely.is_empty(outline):
                for holder in (*_holders(entity), *_wholes(entity)):
                    shaped.extents[holder.GlobalId].grow([outline], low, high)
    for extent in shaped.extents.values():
        extent.outlines = [shapely.union_all(extent.outlines)]
    shaped.bare = [
        _Bare(entity.id(), entity.GlobalId, entity.is_a(), bool(entity.Representation))
        for entity in wanted
        if entity.id() not in shaped_numbers
    ]
    return shaped


def _left_out(bare: Sequence[_Bare]) -> Features:
    """Return no records, and what is said of elements without geometry that hold none either."""
    kinds = Counter(one.kind for one in bare if not one.represented)
    refused = tuple(Refusal(one.guid, say("geometry-cannot-built", kind=one.kind)) for one in bare if one.represented)
    items = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    warnings: dict[str, tuple[str, ...]] = {say("without-geometry", items=items): ()} if kinds else {}
    return Features([], [], np.empty(0, object), [], [], refused=refused, warnings=warnings)


def _shapes(model: Any, wanted: Sequence[Entity], path: Path) -> Iterator[tuple[int, Float, Int]]:
    """Yield the shapes of elements in metres of the model: their number, vertices (n, 3) and triangles (m, 3)."""
    settings = geom.settings()
    settings.set("use-world-coords", True)
    settings.set("weld-vertices", True)
    try:
        iterator = geom.iterator(settings, model, 1, include=wanted)
        going = bool(wanted) and iterator.initialize()
        while going:
            shape = iterator.get()
            faces = shapes.get_faces(shape.geometry)
            if len(faces):
                yield shape.id, np.array(shapes.get_vertices(shape.geometry)), np.array(faces, np.int64)
            going = iterator.next()
    except RuntimeError as fault:
        raise UnreadableFile(say("geometry-of-file-cannot-read", file=path, reason=fault)) from fault


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
    attributes: dict[str, Any] = {
        "name": entity.Name,
        "description": entity.Description,
        "long_name": getattr(entity, "LongName", None),
        "tag": getattr(entity, "Tag", None),
        "ifc_class": entity.is_a(),
        "predefined_type": getattr(entity, "PredefinedType", None),
    }
    for holder in _holders(entity):
        attributes["storey_name" if holder.is_a("IfcBuildingStorey") else "building_id"] = (
            holder.Name if holder.is_a("IfcBuildingStorey") else holder.GlobalId
        )
    kind = elements.get_type(entity)
    material = elements.get_material(entity)
    attributes["type"] = kind.Name if kind is not None else None
    attributes["material"] = getattr(material, "Name", None) or (material.is_a() if material is not None else None)
    attributes["properties"] = _plain(elements.get_psets(entity)) or None
    return {key: value for key, value in attributes.items() if value not in (None, "")}


def _plain(value: Any) -> Any:
    """Return property values as JSON has them; the numbers of lines in the file aren't kept."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key != "id"}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _outlined_part(part: Part, extents: Mapping[str, _Extent]) -> Features:
    _model, wholes = part.opened()  # which are there as long as their model is
    return _outlined(wholes, extents)


def _outlined(records: Sequence[Entity], extents: Mapping[str, _Extent]) -> Features:
    """Return elements of parts, storeys or buildings over what they hold; one that holds nothing is set aside."""
    holders = [entity for entity in records if entity.GlobalId in extents]
    geometry = np.full(len(holders), None, object)
    attributes = []
    for row, entity in enumerate(holders):
        extent = extents[entity.GlobalId]
        geometry[row] = shapely.union_all(extent.outlines)
        described = _attributes(entity)
        if entity.is_a("IfcBuilding"):
            storeys = [s for s in elements.get_decomposition(entity) if s.is_a("IfcBuildingStorey")]
            described |= {"height": extent.high - extent.low, "base": extent.low, "storeys": len(storeys) or None}
        attributes.append(described)
    return Features(
        ids=[entity.GlobalId for entity in holders],
        attributes=attributes,
        geometry=geometry,
        object_class=[_CLASSES.get(entity.is_a(), ELEMENT) for entity in holders],
        parent_id=[_whole_of(entity) for entity in holders],
        refused=tuple(
            Refusal(entity.GlobalId, say("holds-nothing-geometry", kind=entity.is_a()))
            for entity in records
            if entity not in holders
        ),
    )
