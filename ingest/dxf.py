"""DXF drawings: lines, areas, points, text, blocks and faces of the model space, with their drawing layers.

An entity's class is its drawing layer where the settings or the catalog give that a layer of the city (the layers of
CASS among them), else what it is: a line, a point, an area or a body. A block that is small or has attributes is a
symbol and becomes one point; another is taken apart. Z that is zero all over an entity is no height.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from ezdxf import bbox, path
from ezdxf.entities.dxfentity import DXFEntity
from ezdxf.entities.insert import Insert
from ezdxf.filemanagement import readfile
from ezdxf.lldxf.const import DXFError
from ezdxf.lldxf.encoding import decode_dxf_unicode
from pyproj import CRS

from cim.bodies import from_sizes
from cim.catalog.model import Layer
from cim.errors import UnreadableFile
from cim.model import BATCH_SIZE, Features, Header, ReadOptions, Refusal, Source

SAGITTA = 0.01  # drawing units between a curve and the chords that stand for it
SYMBOL_SIZE = 20.0  # drawing units across, up to which a block is a symbol
LINE, POINT, AREA, BODY = "dxf:line", "dxf:point", "dxf:area", "dxf:body"
_CURVES = frozenset({"LINE", "LWPOLYLINE", "POLYLINE", "ARC", "CIRCLE", "ELLIPSE", "SPLINE", "HELIX"})
_TEXTS = frozenset({"TEXT", "MTEXT", "ATTRIB"})
_FACES = frozenset({"3DFACE", "MESH", "SOLID", "TRACE"})
_DEEPEST = 16  # blocks inside blocks


def read(file: Path, options: ReadOptions) -> Iterator[Source]:
    """Read the model space of a drawing.

    Raises:
        UnreadableFile: not a DXF, or damaged beyond what can be recovered.

    """
    document, warnings = _opened(file, options.encoding)
    crs, matrix, said = _georeference(document)
    reading = _Reading(options, file.stem, matrix)
    header = Header(crs=crs, layer_hint=file.stem, warnings=(*warnings, *said))
    yield Source(header, reading.batches(document))


def _opened(file: Path, encoding: str | None) -> tuple[Any, list[str]]:
    try:
        try:
            return readfile(file, encoding=encoding), []
        except DXFError:
            from ezdxf import recover

            document, auditor = recover.readfile(file)
            faults = len(auditor.errors) + len(auditor.fixes)
            return document, [f"a damaged drawing: recovered, with {faults} faults left or mended"]
    except (DXFError, OSError, ValueError, LookupError, RuntimeError, StopIteration) as fault:
        raise UnreadableFile(f"{file}: not readable as DXF ({fault})") from fault


def _georeference(document: Any) -> tuple[CRS | None, Any, list[str]]:
    """Return the CRS of the drawing's GEODATA and the matrix that leads there from drawing units."""
    geodata = document.modelspace().get_geodata()
    if geodata is None:
        return None, None, []
    try:
        matrix, epsg = geodata.get_crs_transformation()
        return CRS.from_epsg(epsg), matrix, [f"placed by the drawing's GEODATA (EPSG:{epsg})"]
    except (DXFError, ValueError) as fault:
        return None, None, [f"the drawing's GEODATA can't be used ({fault})"]


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


def _fits(layer: Layer, what: str, *, closed: bool) -> bool:
    """Whether a layer's geometry can be what an entity is; a closed line may be an area."""
    kinds = {"MultiLineString": (LINE,), "Point": (POINT,), "MultiPolygon": (AREA, BODY, *((LINE,) if closed else ()))}
    return layer.geometry is not None and what in kinds[layer.geometry]


class _Reading:
    """One pass over a drawing."""

    def __init__(self, options: ReadOptions, stem: str, matrix: Any) -> None:
        self._options, self._matrix = options, matrix
        self._named = options.catalog.named_by((stem,))
        self._gathered = _Gathered()
        self._faces: dict[str, list[list[tuple[float, float, float]]]] = defaultdict(list)
        self._left_out: Counter[str] = Counter()
        self._symbols: dict[str, bool] = {}

    def batches(self, document: Any) -> Iterator[Features]:
        """Yield the entities in the order of the drawing; faces come last, one body for each drawing layer."""
        for entity in document.modelspace():
            self._take(entity, {}, 0)
            if len(self._gathered.ids) >= BATCH_SIZE:
                yield self._gathered.batch()
                self._gathered = _Gathered()
        left_out = ", ".join(f"{count} {kind}" for kind, count in self._left_out.most_common())
        yield self._gathered.batch({f"entities left out: {left_out}": ()} if left_out else {})
        if self._faces:
            yield self._bodies()

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
                self._left_out[f"IMAGE {Path(entity.image_def.dxf.filename.replace(chr(92), '/')).name}"] += 1  # type: ignore[attr-defined]
            else:
                self._left_out[kind] += 1
        except (DXFError, ValueError, TypeError, ZeroDivisionError, AttributeError, LookupError) as fault:
            self._gathered.refused.append(Refusal(entity.dxf.handle or "", f"{kind} can't be read: {fault}"))

    def _take_curve(self, entity: DXFEntity, around: dict[str, Any]) -> None:
        points = self._placed(path.make_path(entity).flattening(SAGITTA))
        if len(points) < 2:
            raise ValueError("fewer than two points")
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
            raise ValueError("without a boundary")
        # its rings alternate between area and hole, from the outermost in
        self._add(entity, AREA, shapely.build_area(shapely.GeometryCollection(areas)), around)

    def _take_faces(self, entity: DXFEntity) -> None:
        from ezdxf.render.mesh import MeshBuilder

        kind = entity.dxftype()
        if kind == "MESH":
            mesh = MeshBuilder.from_mesh(entity)  # type: ignore[arg-type]
            found = [[mesh.vertices[i] for i in face] for face in mesh.faces]
        elif kind == "POLYLINE":
            mesh = MeshBuilder.from_polyface(entity)  # type: ignore[arg-type]
            found = [[mesh.vertices[i] for i in face] for face in mesh.faces]
        else:
            found = [entity.wcs_vertices()]  # type: ignore[attr-defined]
        for face in found:
            self._faces[decode_dxf_unicode(entity.dxf.layer)].append([tuple(p) for p in self._placed(face, solid=True)])

    def _take_block(self, entity: Insert, around: dict[str, Any], depth: int) -> None:
        name = entity.dxf.name
        if entity.block() is None:
            raise ValueError(f"the drawing has no block {name!r}")
        said = around | {"block": name} | {a.dxf.tag: a.plain_text() for a in entity.attribs}
        if self._is_symbol(entity) or depth >= _DEEPEST:
            self._add(entity, POINT, shapely.Point(*self._placed([entity.dxf.insert])[0]), said)
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

    def _placed(self, points: Any, *, solid: bool = False) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return (n, 2 or 3) coordinates where the drawing's GEODATA puts them; 2 where Z is zero all over."""
        placed = self._matrix.transform_vertices(points) if self._matrix is not None else points
        found = np.array([tuple(p) for p in placed], np.float64).reshape(-1, 3)
        return found if solid or np.any(found[:, 2]) else found[:, :2]

    def _add(self, entity: DXFEntity, what: str, shape: Any, attributes: dict[str, Any]) -> None:
        gathered, layer = self._gathered, decode_dxf_unicode(entity.dxf.layer)
        gathered.ids.append(entity.dxf.handle and f"dxf-{entity.dxf.handle}")
        said = {name: decode_dxf_unicode(v) if isinstance(v, str) else v for name, v in attributes.items()}
        gathered.attributes.append({"图层": layer, "layer": layer, **said})
        gathered.geometry.append(shape)
        gathered.object_class.append(self._class_of(layer, what, closed=shape.geom_type == "LinearRing"))

    def _class_of(self, layer: str, what: str, *, closed: bool = False) -> str | None:
        """Return the drawing layer where a layer of the city takes it, else what the entity is.

        Nothing where the file's own name says a layer that takes it.
        """
        target = self._options.layer_of(layer)
        if target and _fits(target, what, closed=closed):
            return layer
        return None if self._named and _fits(self._named, what, closed=closed) else what

    def _bodies(self) -> Features:
        layers = list(self._faces)
        faces = [face for layer in layers for face in self._faces[layer]]
        points = np.array([point for face in faces for point in face], np.float64)
        bodies = from_sizes(
            points,
            np.arange(len(points)),
            [len(face) for face in faces],
            [1] * len(faces),
            [len(self._faces[layer]) for layer in layers],
            np.zeros(len(faces), np.uint8),
        )
        return Features(
            ids=[f"dxf-faces-{layer}" for layer in layers],
            attributes=[{"图层": layer, "layer": layer} for layer in layers],
            geometry=np.full(len(layers), None, object),
            object_class=[self._class_of(layer, BODY) for layer in layers],
            parent_id=[None] * len(layers),
            bodies=bodies,
            body_record=np.arange(len(layers)),
            body_lod=["2"] * len(layers),
        )
