"""CityJSON 1.1 and 2.0, and CityJSONSeq: all levels of detail, parts, semantic surfaces, templates.

Format: https://www.cityjson.org/specs/2.0.1/ ; CityJSONSeq: https://www.cityjson.org/cityjsonseq/
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS

from cim.bodies import CLASS_INDEX, Float, from_sizes
from cim.crs import parse
from cim.errors import UnreadableFile
from cim.model import BATCH_SIZE, Features, Header, ReadOptions, Refusal, Source

_VERSIONS = ("1.0", "1.1", "2.0")


def read(path: Path, options: ReadOptions) -> Iterator[Source]:  # noqa: ARG001 - JSON is UTF-8 by definition
    """Read a CityJSON document or a CityJSONSeq file.

    Raises:
        UnreadableFile: empty, truncated, of an unknown version, or with a transform that can't be used.

    """
    with path.open("rb") as file:
        first = file.readline()
        head = _parse(first, path, line=1) if first.rstrip().endswith(b"}") else None
        if head is None or head.get("CityObjects") or path.stat().st_size == len(first):
            document = head or _parse(path.read_bytes(), path)
            _check_document(document, path)
            yield Source(_header(document, path), _batches([document], document, path))
            return
    _check_document(head, path)
    yield Source(_header(head, path), _batches(_features(path), head, path))


def _parse(text: bytes, path: Path, line: int | None = None) -> dict[str, Any]:
    where = f"{path}, line {line}" if line else str(path)
    if not text.strip():
        raise UnreadableFile(f"{where}: empty")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise UnreadableFile(f"{where}: not JSON, or cut short ({fault})") from fault
    if not isinstance(document, dict):
        raise UnreadableFile(f"{where}: not a CityJSON object")
    return document


def _features(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the features of a CityJSONSeq file, whose first line is the header."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number > 1 and line.strip():
                yield _parse(line, path, number)


def _check_document(document: Mapping[str, Any], path: Path) -> None:
    version = str(document.get("version", ""))
    if document.get("type") != "CityJSON" or version[:3] not in _VERSIONS:
        raise UnreadableFile(
            f"{path}: type {document.get('type')!r}, version {version!r}; readable is CityJSON {', '.join(_VERSIONS)}"
        )
    transform = document.get("transform")
    if transform is None and version.startswith("1.0"):
        return
    scale, translate = (transform or {}).get("scale"), (transform or {}).get("translate")
    for name, value in (("scale", scale), ("translate", translate)):
        if not isinstance(value, list) or len(value) != 3 or not np.isfinite(np.asarray(value, np.float64)).all():
            raise UnreadableFile(f"{path}: transform.{name} is {value!r}, not three numbers")
    if 0 in (scale or ()):
        raise UnreadableFile(f"{path}: transform.scale is {scale}; a zero collapses the city to a plane or a point")


def _header(document: Mapping[str, Any], path: Path) -> Header:
    metadata = document.get("metadata") or {}
    surveyed = None
    if text := metadata.get("referenceDate"):
        try:
            surveyed = date.fromisoformat(str(text)[:10])
        except ValueError:
            surveyed = None
    return Header(
        crs=_crs(metadata.get("referenceSystem")),
        surveyed=surveyed,
        title=metadata.get("title"),
        layer_hint=path.name.split(".")[0],
    )


def _crs(reference: object) -> CRS | None:
    """Read `https://www.opengis.net/def/crs/EPSG/0/7415`, `urn:ogc:def:crs:EPSG::7415` or `EPSG:7415`."""
    if not reference:
        return None
    text = str(reference).rstrip("/")
    code = text.replace(":", "/").split("/")[-1]
    if "epsg" in text.lower() and code.isdigit():
        return parse(f"EPSG:{code}")
    return parse(text)


@dataclass(frozen=True)
class _Template:
    vertices: Float
    geometries: list[dict[str, Any]]


@dataclass(frozen=True)
class _Frame:
    """Where the vertices of the document in hand stand in the batch."""

    base: int
    count: int
    vertices: Float
    templates: _Template | None


@dataclass
class _Gathered:
    """Flat lists that a batch grows by; numpy takes over when it is full."""

    ids: list[str | None] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)
    object_class: list[str | None] = field(default_factory=list)
    parent_id: list[str | None] = field(default_factory=list)
    vertices: list[Float] = field(default_factory=list)
    vertex_count: int = 0
    indices: list[int] = field(default_factory=list)
    ring_sizes: list[int] = field(default_factory=list)
    rings_per_face: list[int] = field(default_factory=list)
    faces_per_body: list[int] = field(default_factory=list)
    face_class: list[int] = field(default_factory=list)
    body_record: list[int] = field(default_factory=list)
    body_lod: list[str] = field(default_factory=list)
    points: dict[int, Any] = field(default_factory=dict)  # record → shapely geometry without faces
    refused: list[Refusal] = field(default_factory=list)
    warnings: dict[str, list[str]] = field(default_factory=dict)

    def place(self, vertices: Float, templates: "_Template | None") -> "_Frame":
        """Add the vertices of a document; return where they stand."""
        frame = _Frame(self.vertex_count, len(vertices), vertices, templates)
        self.vertices.append(vertices)
        self.vertex_count += len(vertices)
        return frame

    def batch(self) -> Features:
        geometry = np.full(len(self.ids), None, object)
        for record, shape in self.points.items():
            geometry[record] = shape
        vertices = np.concatenate(self.vertices) if self.vertices else np.empty((0, 3))
        return Features(
            ids=self.ids,
            attributes=self.attributes,
            geometry=geometry,
            object_class=self.object_class,
            parent_id=self.parent_id,
            bodies=from_sizes(
                vertices, self.indices, self.ring_sizes, self.rings_per_face, self.faces_per_body, self.face_class
            ),
            body_record=np.asarray(self.body_record, np.int64),
            body_lod=self.body_lod,
            refused=tuple(self.refused),
            warnings={what: tuple(ids) for what, ids in self.warnings.items()},
        )


def _batches(
    documents: Iterator[dict[str, Any]] | list[dict[str, Any]], head: Mapping[str, Any], path: Path
) -> Iterator[Features]:
    transform = head.get("transform")
    scale = np.asarray(transform["scale"] if transform else [1, 1, 1], np.float64)
    translate = np.asarray(transform["translate"] if transform else [0, 0, 0], np.float64)
    templates = _templates(head)
    gathered = _Gathered()
    for document in documents:
        vertices = _vertices(document.get("vertices") or [], path) * scale + translate
        frame = gathered.place(vertices, templates)
        for identifier, city_object in _family_order(document.get("CityObjects") or {}):
            if len(gathered.ids) >= BATCH_SIZE and not city_object.get("parents"):
                yield gathered.batch()
                gathered = _Gathered()
                frame = gathered.place(vertices, templates)
            _gather(gathered, identifier, city_object, frame)
    if gathered.ids or gathered.refused:
        yield gathered.batch()


def _vertices(raw: list[Any], path: Path) -> Float:
    if not raw:
        return np.empty((0, 3))
    try:
        flat = np.fromiter(chain.from_iterable(raw), np.float64)
        return flat.reshape(-1, 3) if len(flat) == 3 * len(raw) else _ragged(raw)
    except (TypeError, ValueError):
        pass
    try:
        return _ragged(raw)
    except (TypeError, ValueError) as fault:
        raise UnreadableFile(f"{path}: a vertex isn't three numbers ({fault})") from fault


def _ragged(raw: list[Any]) -> Float:
    """Read vertices one by one; one that isn't three numbers becomes NaN, and only the bodies that use it fall."""
    nothing = [np.nan] * 3
    return np.array(
        [
            [float(c) if isinstance(c, int | float) else np.nan for c in v]
            if isinstance(v, list) and len(v) == 3
            else nothing
            for v in raw
        ]
    )


def _family_order(objects: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object after its parent, so that a family stays in one batch."""
    yielded: set[str] = set()
    for identifier, city_object in objects.items():
        if not isinstance(city_object, dict):
            yield identifier, {"type": None}
        elif not city_object.get("parents"):
            stack = [(identifier, city_object)]
            while stack:
                name, current = stack.pop()
                if name in yielded:
                    continue
                yielded.add(name)
                yield name, current
                children = current.get("children") or []
                stack += [(c, objects[c]) for c in reversed(children) if isinstance(objects.get(c), dict)]
    for identifier, city_object in objects.items():
        if identifier not in yielded and isinstance(city_object, dict):
            yield identifier, city_object


def _templates(head: Mapping[str, Any]) -> _Template | None:
    declared = head.get("geometry-templates")
    if not declared:
        return None
    return _Template(np.asarray(declared["vertices-templates"], np.float64).reshape(-1, 3), declared["templates"])


def _gather(gathered: _Gathered, identifier: str, city_object: dict[str, Any], frame: _Frame) -> None:
    """Add one city object and its geometries; a broken one is set aside whole."""
    marks = [len(part) for part in _growing(gathered)]
    vertex_count = gathered.vertex_count
    record = len(gathered.ids)
    geometries = city_object.get("geometry") or []
    try:
        for geometry in geometries:
            _gather_geometry(gathered, record, geometry, frame)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as fault:
        for part, mark in zip(_growing(gathered), marks, strict=True):
            del part[mark:]
        gathered.vertex_count = vertex_count
        gathered.points.pop(record, None)
        gathered.refused.append(Refusal(identifier, _reason(fault)))
        return
    parents = city_object.get("parents") or [None]
    attributes = city_object.get("attributes")
    gathered.ids.append(identifier)
    gathered.attributes.append(dict(attributes) if isinstance(attributes, dict) else {})
    gathered.object_class.append(city_object.get("type"))
    gathered.parent_id.append(parents[0])


def _growing(gathered: _Gathered) -> tuple[list[Any], ...]:
    return (
        *(gathered.indices, gathered.ring_sizes, gathered.rings_per_face, gathered.faces_per_body),
        *(gathered.face_class, gathered.body_record, gathered.body_lod, gathered.vertices),
    )


def _reason(fault: Exception) -> str:
    text = str(fault)
    return (
        text if isinstance(fault, ValueError) and text else f"geometry can't be read ({type(fault).__name__}: {text})"
    )


def _gather_geometry(gathered: _Gathered, record: int, geometry: dict[str, Any], frame: _Frame) -> None:
    kind = geometry["type"]
    if kind == "GeometryInstance":
        _gather_instance(gathered, record, geometry, frame)
        return
    boundaries = geometry["boundaries"]
    if kind in ("MultiPoint", "MultiLineString"):
        shape = _plane_shape(kind, boundaries, frame.vertices)
        if shape is not None:
            gathered.points[record] = shape
        return
    _gather_surfaces(gathered, record, geometry, _surfaces(kind, boundaries), frame.base, frame.count)


def _surfaces(kind: str, boundaries: list[Any]) -> list[Any]:
    """Return the faces of a geometry, whatever its depth, in the order of its semantic values."""
    if kind in ("MultiSurface", "CompositeSurface"):
        return boundaries
    if kind == "Solid":
        return boundaries[0] if len(boundaries) == 1 else list(chain.from_iterable(boundaries))
    if kind in ("MultiSolid", "CompositeSolid"):
        return [face for solid in boundaries for shell in solid for face in shell]
    raise ValueError(f"geometry type {kind!r} isn't one of CityJSON")


def _gather_surfaces(
    gathered: _Gathered, record: int, geometry: dict[str, Any], faces: list[Any], base: int, count: int
) -> None:
    if not faces:
        return
    rings = list(chain.from_iterable(faces))
    indices = list(chain.from_iterable(rings))
    if indices and not (min(indices) >= 0 and max(indices) < count):
        wrong = max(indices) if max(indices) >= count else min(indices)
        raise ValueError(f"vertex index {wrong} is beyond the list of {count} vertices")
    gathered.indices += [i + base for i in indices] if base else indices
    gathered.ring_sizes += map(len, rings)
    gathered.rings_per_face += map(len, faces)
    gathered.faces_per_body.append(len(faces))
    gathered.face_class += _semantic_classes(geometry.get("semantics"), len(faces))
    gathered.body_record.append(record)
    gathered.body_lod.append(str(geometry.get("lod", "")))


def _semantic_classes(semantics: dict[str, Any] | None, count: int) -> list[int]:
    if not semantics or not semantics.get("values"):
        return [0] * count
    classes = [CLASS_INDEX.get(surface.get("type"), 0) for surface in semantics["surfaces"]]
    values = semantics["values"]
    if any(isinstance(v, list) for v in values):
        values = list(_flat(values))
    if len(values) != count:
        return [0] * count
    return [0 if v is None else classes[v] for v in values]


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _gather_instance(gathered: _Gathered, record: int, geometry: dict[str, Any], frame: _Frame) -> None:
    """Place a template: its vertices through the 4 × 4 matrix, then moved to the reference point."""
    if frame.templates is None:
        raise ValueError("a geometry instance without geometry-templates")
    template = frame.templates.geometries[geometry["template"]]
    matrix = np.asarray(geometry["transformationMatrix"], np.float64).reshape(4, 4)
    reference = frame.vertices[geometry["boundaries"][0]]
    local = np.c_[frame.templates.vertices, np.ones(len(frame.templates.vertices))] @ matrix.T
    placed = local[:, :3] / local[:, 3:] + reference
    base = gathered.vertex_count
    gathered.vertices.append(placed)
    gathered.vertex_count += len(placed)
    faces = _surfaces(template["type"], template["boundaries"])
    _gather_surfaces(gathered, record, template, faces, base, len(placed))


def _plane_shape(kind: str, boundaries: list[Any], vertices: Float) -> Any:
    if not boundaries:
        return None
    if kind == "MultiPoint":
        return shapely.MultiPoint(vertices[boundaries])
    return shapely.MultiLineString([vertices[line] for line in boundaries])
