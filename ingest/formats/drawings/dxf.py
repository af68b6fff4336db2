"""DXF drawings: lines, areas, points, text, blocks and faces of the model space, with their drawing layers.

An entity's class is its drawing layer where the settings or the catalog give that a layer of the city (the layers of
CASS among them), else what it is: a line, a point, an area or a body. A block that is small or has attributes is a
symbol and becomes one point; another is taken apart. Z that is zero all over an entity is no height.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from ezdxf import bbox, path
from ezdxf.entities.dxfentity import DXFEntity
from ezdxf.entities.insert import Insert
from ezdxf.lldxf.const import DXFError
from ezdxf.lldxf.encoding import decode_dxf_unicode
from pyproj import CRS

from cim.catalog.model import Layer
from cim.features import BATCH_SIZE, Features, Header, ReadOptions, Refusal, Source
from cim.geometry.body_batch import Float, from_sizes
from cim.messages import say
from ingest.formats.drawings.dxf_parts import Drawing, drawing_of, has_handles

SAGITTA = 0.01  # drawing units between a curve and the chords that stand for it
SYMBOL_SIZE = 20.0  # drawing units across, up to which a block is a symbol
LINE, POINT, AREA, BODY = "dxf:line", "dxf:point", "dxf:area", "dxf:body"
_CURVES = frozenset({"LINE", "LWPOLYLINE", "POLYLINE", "ARC", "CIRCLE", "ELLIPSE", "SPLINE", "HELIX"})
_TEXTS = frozenset({"TEXT", "MTEXT", "ATTRIB"})
_FACES = frozenset({"3DFACE", "MESH", "SOLID", "TRACE"})
_DEEPEST = 16  # blocks inside blocks


def read(path: Path, options: ReadOptions) -> Iterator[Source]:
    """Read the model space of a drawing.

    Raises:
        UnreadableFile: not a DXF, or damaged beyond what can be recovered.

    """
    drawing = drawing_of(path, options.encoding, options.workers)
    crs, _, warnings = _georeference(drawing.frame)
    header = Header(crs=crs, layer_hint=path.stem, warnings=(*drawing.warnings, *warnings))
    yield Source(
        header, _batches(drawing, _Setting(options, options.catalog.named_by((path.stem,)), has_handles(path)))
    )


def _georeference(document: Any) -> tuple[CRS | None, Any, list[str]]:
    """Return the CRS of the drawing's GEODATA and the matrix that leads there from drawing units."""
    geodata = document.modelspace().get_geodata()
    if geodata is None:
        return None, None, []
    try:
        matrix, epsg = geodata.get_crs_transformation()
        return CRS.from_epsg(epsg), matrix, [say("placed-drawing-geodata", epsg=epsg)]
    except (DXFError, ValueError) as fault:
        return None, None, [say("drawing-geodata-cannot-used", reason=fault)]


@dataclass
class _Gathered:
    """What a batch grows by."""

    ids: list[str | None] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)
    geometry: list[Any] = field(default_factory=list)
    object_class: list[str | None] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def batch(self, warnings: dict[str, tuple[str, ...]] | None = None) -> Features:
        """Return the records."""
        geometry = np.full(len(self.ids), None, object)
        geometry[:] = self.geometry
        count = len(self.ids)
        return Features(
            self.ids, self.attributes, geometry, self.object_class, [None] * count,
            refused=tuple(self.refused), warnings=warnings or {},
        )  # fmt: skip


def _fits(layer: Layer, kind: str, *, closed: bool) -> bool:
    """Whether a layer's geometry can be what an entity is; a closed line may be an area."""
    kinds = {"MultiLineString": (LINE,), "Point": (POINT,), "MultiPolygon": (AREA, BODY, *((LINE,) if closed else ()))}
    return layer.geometry is not None and kind in kinds[layer.geometry]


@dataclass(frozen=True)
class _Setting:
    """What is known of a drawing besides its document."""

    options: ReadOptions
    named: Layer | None  # by the file's own name
    handles: bool  # its entities have names of their own

    def class_of(self, layer: str, kind: str, *, closed: bool = False) -> str | None:
        """Return the drawing layer where a layer of the city takes it, else what the entity is.

        Nothing where the file's own name says a layer that takes it.
        """
        target = self.options.layer_of(layer)
        if target and _fits(target, kind, closed=closed):
            return layer
        return None if self.named and _fits(self.named, kind, closed=closed) else kind


@dataclass
class _Rest:
    """What is told when all entities are read: the faces of each drawing layer, and what was left out."""

    faces: dict[str, list[Float]] = field(default_factory=lambda: defaultdict(list))
    """Corners (n, 3) of each."""
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, other: "_Rest") -> None:
        """Take in the rest of a part."""
        self.left_out.update(other.left_out)
        for layer, faces in other.faces.items():
            self.faces[layer] += faces


def _batches(drawing: Drawing, setting: _Setting) -> Iterator[Features]:
    """Yield the entities in the order of the drawing; faces come last, one body for each drawing layer."""
    rest = _Rest()
    for batches, more in drawing.read(partial(_read_part, setting=setting)):
        yield from batches
        rest.add(more)
    left_out = ", ".join(f"{count} {kind}" for kind, count in rest.left_out.most_common())
    yield _Gathered().batch({f"entities left out: {left_out}": ()} if left_out else {})
    if rest.faces:
        yield _bodies(rest.faces, setting)


def _read_part(document: Any, setting: _Setting) -> tuple[Iterator[Features], _Rest]:
    reading = _Reading(setting, _georeference(document)[1])
    return reading.batches(document), reading.rest


class _Reading:
    """One pass over a document."""

    def __init__(self, setting: _Setting, matrix: Any) -> None:
        self._setting, self._matrix = setting, matrix
        self._gathered = _Gathered()
        self._symbols: dict[str, bool] = {}
        self.rest = _Rest()

    def batches(self, document: Any) -> Iterator[Features]:
        """Yield the entities in their order."""
        for entity in document.modelspace():
            self._take(entity, {}, 0)
            if len(self._gathered.ids) >= BATCH_SIZE:
                yield self._gathered.batch()
                self._gathered = _Gathered()
        yield self._gathered.batch()

    def _take(self, entity: DXFEntity, around: dict[str, Any], depth: int) -> None:
        kind = entity.dxftype()
        try:
            if isinstance(entity, Insert):
                self._take_block(entity, around, depth)
            elif kind in _TEXTS:
                self._take_text(entity, around)
            elif kind == "POINT":
                self._add(entity, POINT, shapely.Point(*self._placed([entity.dxf.location])[0]), around)
            elif kind == "HATCH":
                self._take_hatch(entity, around)
            elif kind in _FACES or (kind == "POLYLINE" and not (entity.is_2d_polyline or entity.is_3d_polyline)):  # type: ignore[attr-defined]
                self._take_faces(entity)
            elif kind in _CURVES:
                self._take_curve(entity, around)
            elif kind == "IMAGE":
                self.rest.left_out[f"IMAGE {Path(entity.image_def.dxf.filename.replace(chr(92), '/')).name}"] += 1  # type: ignore[attr-defined]
            else:
                self.rest.left_out[kind] += 1
        except (DXFError, ValueError, TypeError, ArithmeticError, AttributeError, LookupError, AssertionError) as fault:
            self._gathered.refused.append(
                Refusal(entity.dxf.handle or "", say("part-cannot-read", part=kind, reason=fault))
            )

    def _take_curve(self, entity: DXFEntity, around: dict[str, Any]) -> None:
        points = self._placed(path.make_path(entity).flattening(SAGITTA))
        if len(points) < 2:
            raise ValueError(say("fewer-than-two-points"))
        closed = len(points) > 3 and np.array_equal(points[0], points[-1])
        shape = shapely.LinearRing(points) if closed else shapely.LineString(points)
        level = points[0, 2] if points.shape[1] == 3 and np.ptp(points[:, 2]) == 0 else None
        self._add(entity, LINE, shape, around | ({} if level is None else {"elevation": float(level)}))

    def _take_text(self, entity: DXFEntity, around: dict[str, Any]) -> None:
        text = entity.plain_text()  # type: ignore[attr-defined]
        place = entity.dxf.insert
        angle = entity.dxf.get("rotation", 0.0)
        attributes = around | {"text": text} | ({"rotation": float(angle)} if angle else {})
        self._add(entity, POINT, shapely.Point(*self._placed([place])[0]), attributes)

    def _take_hatch(self, entity: DXFEntity, around: dict[str, Any]) -> None:
        rings = [self._placed(ring.flattening(SAGITTA)) for ring in path.from_hatch(entity)]  # type: ignore[arg-type]
        areas = [shapely.Polygon(ring) for ring in rings if len(ring) > 3]
        if not areas:
            raise ValueError(say("without-boundary"))
        # its rings alternate between area and hole, from the outermost in
        self._add(entity, AREA, shapely.build_area(shapely.GeometryCollection(areas)), around)

    def _take_faces(self, entity: DXFEntity) -> None:
        from ezdxf.render.mesh import MeshBuilder

        kind = entity.dxftype()
        if kind == "MESH":
            mesh = MeshBuilder.from_mesh(entity)  # type: ignore[arg-type]
            faces = [[mesh.vertices[i] for i in face] for face in mesh.faces]
        elif kind == "POLYLINE":
            mesh = MeshBuilder.from_polyface(entity)  # type: ignore[arg-type]
            faces = [[mesh.vertices[i] for i in face] for face in mesh.faces]
        else:
            faces = [entity.wcs_vertices()]  # type: ignore[attr-defined]
        for face in faces:
            self.rest.faces[decode_dxf_unicode(entity.dxf.layer)].append(self._placed(face, solid=True))

    def _take_block(self, entity: Insert, around: dict[str, Any], depth: int) -> None:
        name = entity.dxf.name
        if entity.block() is None:
            raise ValueError(say("drawing-has-no-block", name=name))
        attributes = around | {"block": name} | {a.dxf.tag: a.plain_text() for a in entity.attribs}
        if self._is_symbol(entity) or depth >= _DEEPEST:
            self._add(entity, POINT, shapely.Point(*self._placed([entity.dxf.insert])[0]), attributes)
            return
        for inner in entity.virtual_entities():
            self._take(inner, around | {"block": name}, depth + 1)

    def _is_symbol(self, entity: Insert) -> bool:
        if entity.attribs:
            return True
        name = entity.dxf.name
        if name not in self._symbols:
            box = bbox.extents(entity.block() or (), fast=True)
            self._symbols[name] = not box.has_data or max(box.size.x, box.size.y) <= SYMBOL_SIZE
        return self._symbols[name]

    def _placed(self, points: Any, *, solid: bool = False) -> Float:
        """Return (n, 2 or 3) coordinates where the drawing's GEODATA puts them; 2 where Z is zero all over."""
        placed = self._matrix.transform_vertices(points) if self._matrix is not None else points
        coordinates = np.array([tuple(p) for p in placed], np.float64).reshape(-1, 3)
        return coordinates if solid or np.any(coordinates[:, 2]) else coordinates[:, :2]

    def _add(self, entity: DXFEntity, kind: str, shape: Any, attributes: dict[str, Any]) -> None:
        gathered, layer = self._gathered, decode_dxf_unicode(entity.dxf.layer)
        named = self._setting.handles and entity.dxf.handle
        decoded = {name: decode_dxf_unicode(v) if isinstance(v, str) else v for name, v in attributes.items()}
        object_class = self._setting.class_of(layer, kind, closed=shape.geom_type == "LinearRing")
        gathered.ids.append(f"dxf-{named}" if named else None)
        gathered.attributes.append({"图层": layer, "layer": layer, **decoded})
        gathered.geometry.append(shape)
        gathered.object_class.append(object_class)


def _bodies(faces: dict[str, list[Float]], setting: _Setting) -> Features:
    layers = list(faces)
    every = [face for layer in layers for face in faces[layer]]
    points = np.concatenate(every)
    bodies = from_sizes(
        points,
        np.arange(len(points)),
        [len(face) for face in every],
        [1] * len(every),
        [len(faces[layer]) for layer in layers],
        np.zeros(len(every), np.uint8),
    )
    return Features(
        ids=[f"dxf-faces-{layer}" for layer in layers],
        attributes=[{"图层": layer, "layer": layer} for layer in layers],
        geometry=np.full(len(layers), None, object),
        object_class=[setting.class_of(layer, BODY) for layer in layers],
        parent_id=[None] * len(layers),
        bodies=bodies,
        body_record=np.arange(len(layers)),
        body_lod=["2"] * len(layers),
    )
