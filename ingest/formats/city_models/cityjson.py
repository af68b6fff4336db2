"""CityJSON 1.1 and 2.0, and CityJSONSeq: all levels of detail, parts, semantic surfaces, templates.

Format: https://www.cityjson.org/specs/2.0.1/ ; CityJSONSeq: https://www.cityjson.org/cityjsonseq/
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, partial
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import shapely

from cim.errors import UnreadableFile
from cim.features import BATCH_SIZE, Features, Header, ReadOptions, Refusal, Source, take
from cim.geometry.appearance import Appearance, joined, plain
from cim.geometry.body_batch import CLASS_INDEX, Bodies, Float, Int, from_sizes
from cim.messages import say
from cim.reference.crs import parse_reference
from ingest.formats.city_models.cityjson_appearance import UNREADABLE_LOOKS, Looks, Palette, read_palette, unnested
from ingest.formats.city_models.cityjson_large import LARGE_BYTES, LargeDocument

PART_BYTES = 1 << 20  # of a sequence, for one process at a time
_VERSIONS = ("1.0", "1.1", "2.0")


def read(path: Path, options: ReadOptions) -> Iterator[Source]:  # noqa: ARG001 - JSON is UTF-8 by definition
    """Read a CityJSON document or a CityJSONSeq file.

    Raises:
        UnreadableFile: empty, truncated, of an unknown version, or with a transform that can't be used.

    """
    with path.open("rb") as file:
        size, first = path.stat().st_size, file.readline(LARGE_BYTES)
        whole = first.endswith(b"\n") or len(first) == size
        head = _parse(first, path, line=1) if whole and first.rstrip().endswith(b"}") else None
        if head is None or head.get("CityObjects") or size == len(first):
            document: Mapping[str, Any] = head or (
                LargeDocument(path) if size > LARGE_BYTES else _parse(path.read_bytes(), path)
            )
            _check_document(document, path)
            yield Source(_header(document, path), _batches([document], document, path))
            return
    _check_document(head, path)
    parts = [partial(_part, path, begin, end) for begin, end in _spans(path, len(first))]
    yield Source(_header(head, path), chain.from_iterable(part() for part in parts), parts)


def _parse(text: bytes, path: Path, line: int | None = None) -> dict[str, Any]:
    where = f"{path}, line {line}" if line else str(path)
    if not text.strip():
        raise UnreadableFile(say("file-empty", file=where))
    try:
        document = orjson.loads(text)
    except ValueError:
        document = None  # the standard library also reads NaN, and says where the fault is
    try:
        document = document or json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise UnreadableFile(say("not-json-cut-short", file=where, reason=fault)) from fault
    if not isinstance(document, dict):
        raise UnreadableFile(say("not-cityjson-object", file=where))
    return document


def _spans(path: Path, begin: int) -> Iterator[tuple[int, int]]:
    """Yield where parts of a sequence begin and end, in bytes, each of whole lines; `begin` is behind the header."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while begin < size:
            file.seek(min(begin + PART_BYTES, size))
            file.readline()
            yield begin, file.tell()
            begin = file.tell()


def _part(path: Path, begin: int, end: int) -> Iterator[Features]:
    """Read a part of a CityJSONSeq file."""
    with path.open("rb") as file:
        head = _parse(file.readline(), path, line=1)
    yield from _batches(_features(path, begin, end), head, path)


def _features(path: Path, begin: int, end: int) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        file.seek(begin)
        for line in file:
            if line.strip():
                try:
                    feature = _parse(line, path)
                except UnreadableFile:
                    yield _parse(line, path, _line_number(path, begin))
                    raise
                yield feature
            begin += len(line)
            if begin >= end:
                return


def _line_number(path: Path, position: int) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in takewhile(lambda _: file.tell() <= position, iter(file.readline, b""))) + 1


def _check_document(document: Mapping[str, Any], path: Path) -> None:
    version = str(document.get("version", ""))
    if document.get("type") != "CityJSON" or version[:3] not in _VERSIONS:
        raise UnreadableFile(
            say(
                "cityjson-of-other-version",
                file=path,
                type=document.get("type"),
                version=version,
                versions=", ".join(_VERSIONS),
            )
        )
    transform = document.get("transform")
    if transform is None and version.startswith("1.0"):
        return
    scale, translate = (transform or {}).get("scale"), (transform or {}).get("translate")
    for name, value in (("scale", scale), ("translate", translate)):
        if not isinstance(value, list) or len(value) != 3 or not np.isfinite(np.asarray(value, np.float64)).all():
            raise UnreadableFile(say("not-three-numbers", file=path, name=name, numbers=value))
    if 0 in (scale or ()):
        raise UnreadableFile(say("transform-scale", file=path, scale=scale))


def _header(document: Mapping[str, Any], path: Path) -> Header:
    metadata = document.get("metadata") or {}
    surveyed = None
    if text := metadata.get("referenceDate"):
        try:
            surveyed = date.fromisoformat(str(text)[:10])
        except ValueError:
            surveyed = None
    return Header(
        crs=parse_reference(metadata.get("referenceSystem")),
        surveyed=surveyed,
        title=metadata.get("title"),
        layer_hint=path.name.split(".")[0],
        images=path.parent,
    )


@dataclass(frozen=True)
class _Template:
    vertices: Float
    geometries: list[dict[str, Any]]
    palette: Palette


@dataclass(frozen=True)
class _Frame:
    """What the numbers of a document stand in: the transform, and the templates of its header."""

    scale: Float
    translate: Float
    templates: _Template | None
    path: Path


@dataclass
class _Document:
    """The vertices of a document, as they stand in the file, and in metres where somebody asks."""

    raw: list[Any] | Float
    frame: _Frame
    palette: Palette

    @cached_property
    def vertices(self) -> Float:
        """(n, 3) in the file's CRS.

        Raises:
            UnreadableFile: they aren't lists of numbers.

        """
        return _vertices([self.raw], self.frame)


@dataclass
class _Shell:
    """The faces of one geometry, as lists, and the vertices that they count in."""

    record: int
    lod: str
    faces: list[Any]
    classes: list[int]
    base: int
    count: int
    placed: bool = False  # in the vertices of placed templates
    looks: Looks | None = None


@dataclass
class _Gathered:
    """What a batch grows by; numpy takes over when it is full."""

    ids: list[str | None] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)
    object_class: list[str | None] = field(default_factory=list)
    parent_id: list[str | None] = field(default_factory=list)
    documents: list[_Document] = field(default_factory=list)
    vertex_count: int = 0
    placed: list[Float] = field(default_factory=list)  # vertices of templates, where an instance puts them
    placed_count: int = 0
    shells: list[_Shell] = field(default_factory=list)
    points: dict[int, Any] = field(default_factory=dict)  # record → shapely geometry without faces
    refused: list[Refusal] = field(default_factory=list)
    unreadable_looks: list[str] = field(default_factory=list)  # ids

    def enter(self, document: _Document) -> None:
        """Add the vertices of a document; the objects that follow count in them."""
        self.documents.append(document)
        self.vertex_count += len(document.raw)

    def place(self, vertices: Float) -> int:
        """Add the vertices of an instance; return where they begin."""
        self.placed.append(vertices)
        self.placed_count += len(vertices)
        return self.placed_count - len(vertices)

    def batch(self) -> Features:
        """Return the records whose surfaces can be read; the others are set aside, each with its reason."""
        reasons = {}
        try:
            surfaces = _Surfaces(self.shells)
        except _UNREADABLE:
            reasons = _faults(self.shells)
            surfaces = _Surfaces([shell for shell in self.shells if shell.record not in reasons])
        for shell, reason in surfaces.beyond():
            reasons.setdefault(shell.record, reason)
        shells = [shell for shell in self.shells if shell.record not in reasons]
        if len(shells) < len(surfaces.shells):
            surfaces = _Surfaces(shells)
        self.refused += [
            Refusal(self.ids[record] or "", reason, self.attributes[record]) for record, reason in reasons.items()
        ]
        geometry = np.full(len(self.ids), None, object)
        for record, shape in self.points.items():
            geometry[record] = shape
        vertices = self._vertices()
        if self.placed:
            vertices = np.concatenate([vertices, *self.placed])
        bodies = _with_own_vertices(surfaces.bodies(vertices, self.vertex_count))
        features = Features(
            ids=self.ids,
            attributes=self.attributes,
            geometry=geometry,
            object_class=self.object_class,
            parent_id=self.parent_id,
            bodies=bodies,
            body_record=np.array([shell.record for shell in shells], np.int64),
            body_lod=[shell.lod for shell in shells],
        )
        whole = np.array([record not in reasons for record in range(len(self.ids))], bool)
        warnings: dict[str, tuple[str, ...]] = (
            {UNREADABLE_LOOKS: tuple(self.unreadable_looks)} if self.unreadable_looks else {}
        )
        return replace(take(features, whole), refused=tuple(self.refused), warnings=warnings)

    def _vertices(self) -> Float:
        if len(self.documents) == 1:
            return self.documents[0].vertices
        try:
            return _vertices([document.raw for document in self.documents], self.documents[0].frame)
        except UnreadableFile:  # one of them tells which vertices
            return np.concatenate([document.vertices for document in self.documents])


def _with_own_vertices(bodies: Bodies) -> Bodies:
    """Return bodies of a part of a document without the vertices of all its other parts."""
    if len(bodies.vertices) <= 2 * len(bodies.indices):
        return bodies
    used, renumbered = np.unique(bodies.indices, return_inverse=True)
    return replace(bodies, vertices=bodies.vertices[used], indices=renumbered)


_UNREADABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)


class _Surfaces:
    """The nested lists of many shells as flat arrays."""

    def __init__(self, shells: list[_Shell]) -> None:
        """Flatten the lists, all at once.

        Raises:
            TypeError, ValueError, OverflowError: one of them isn't a list of lists of lists of integers.

        """
        faces = list(chain.from_iterable([shell.faces for shell in shells]))
        rings = list(chain.from_iterable(faces))
        self.shells = shells
        self.faces_per_shell = np.array([len(shell.faces) for shell in shells], np.int64)
        self.rings_per_face = np.fromiter(map(len, faces), np.int64, len(faces))
        self.ring_sizes = np.fromiter(map(len, rings), np.int64, len(rings))
        self.indices = np.fromiter(chain.from_iterable(rings), np.int64, int(self.ring_sizes.sum()))

    @property
    def _indices_per_shell(self) -> Int:
        of_face = np.add.reduceat(np.append(self.ring_sizes, 0), _starts(self.rings_per_face))
        of_face[self.rings_per_face == 0] = 0
        return np.asarray(np.add.reduceat(np.append(of_face, 0), _starts(self.faces_per_shell)))

    def beyond(self) -> Iterator[tuple[_Shell, str]]:
        """Yield the shells that name a vertex which isn't there."""
        if not len(self.indices):
            return
        sizes = self._indices_per_shell
        count = np.repeat([shell.count for shell in self.shells], sizes)
        wrong = np.flatnonzero((self.indices < 0) | (self.indices >= count))
        for position in wrong:
            shell = self.shells[np.searchsorted(np.cumsum(sizes), position, side="right")]
            yield shell, f"vertex index {self.indices[position]} is beyond the list of {shell.count} vertices"

    def bodies(self, vertices: Float, unplaced_count: int) -> Bodies:
        """Return the shells as bodies over `vertices`, of which the first `unplaced_count` aren't placed ones."""
        base = np.array([shell.base + unplaced_count * shell.placed for shell in self.shells], np.int64)
        shift = np.repeat(base, self._indices_per_shell) if len(self.indices) else 0
        classes = np.fromiter(chain.from_iterable([s.classes for s in self.shells]), np.uint8)
        return from_sizes(
            vertices,
            self.indices + shift,
            self.ring_sizes,
            self.rings_per_face,
            self.faces_per_shell,
            classes,
            self._appearance(),
        )

    def _appearance(self) -> Appearance | None:
        if all(shell.looks is None for shell in self.shells):
            return None
        sizes = zip(self.faces_per_shell.tolist(), self._indices_per_shell.tolist(), strict=True)
        return joined(
            [s.looks.appearance if s.looks else plain(*size) for s, size in zip(self.shells, sizes, strict=True)]
        )


def _starts(sizes: Int) -> Int:
    return np.cumsum(sizes) - sizes


def _faults(shells: list[_Shell]) -> dict[int, str]:
    """Return the records with a shell that can't be flattened by itself, and why."""
    reasons: dict[int, str] = {}
    for shell in shells:
        try:
            _Surfaces([shell])
        except _UNREADABLE as fault:
            reasons.setdefault(shell.record, _reason(fault))
    return reasons


def _batches(
    documents: Iterator[Mapping[str, Any]] | list[Mapping[str, Any]], head: Mapping[str, Any], path: Path
) -> Iterator[Features]:
    transform = head.get("transform")
    frame = _Frame(
        np.asarray(transform["scale"] if transform else [1, 1, 1], np.float64),
        np.asarray(transform["translate"] if transform else [0, 0, 0], np.float64),
        _templates(head, path),
        path,
    )
    gathered = _Gathered()
    for content in documents:
        palette = read_palette(content.get("appearance"), path)
        raw = content.get("vertices")
        document = _Document([] if raw is None else raw, frame, palette)
        gathered.enter(document)
        for identifier, city_object in _family_order(content.get("CityObjects") or {}):
            if len(gathered.ids) >= BATCH_SIZE and not city_object.get("parents"):
                yield gathered.batch()
                gathered = _Gathered()
                gathered.enter(document)
            _gather(gathered, identifier, city_object)
    if gathered.ids or gathered.refused:
        yield gathered.batch()


def _vertices(lists: list[list[Any] | Float], frame: _Frame) -> Float:
    """Return the vertices of documents, one document after the other, in metres.

    Raises:
        UnreadableFile: they aren't lists of numbers.

    """
    if len(lists) == 1 and isinstance(lists[0], np.ndarray):
        return lists[0] * frame.scale + frame.translate
    rows = list(chain.from_iterable(lists))
    try:
        whole = all(size == 3 for size in set(map(len, rows)))
        flat = np.fromiter(chain.from_iterable(rows), np.float64, 3 * len(rows)).reshape(-1, 3) if whole else None
    except (TypeError, ValueError, OverflowError):
        flat = None
    try:
        return (_ragged(rows) if flat is None else flat) * frame.scale + frame.translate
    except (TypeError, ValueError, OverflowError) as fault:
        raise UnreadableFile(say("vertex-not-three-numbers", file=frame.path, reason=fault)) from fault


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
    if len(objects) == 1 and isinstance(next(iter(objects.values())), dict):
        yield from objects.items()
        return
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
    for identifier in objects:
        if identifier not in yielded and isinstance(city_object := objects[identifier], dict):
            yield identifier, city_object


def _templates(head: Mapping[str, Any], path: Path) -> _Template | None:
    declared = head.get("geometry-templates")
    if not declared:
        return None
    vertices = np.asarray(declared["vertices-templates"], np.float64).reshape(-1, 3)
    return _Template(vertices, declared["templates"], read_palette(head.get("appearance"), path))


def _gather(gathered: _Gathered, identifier: str, city_object: dict[str, Any]) -> None:
    """Add one city object and its geometries; a broken one is set aside whole."""
    record = len(gathered.ids)
    shells: list[_Shell] = []
    points = None
    try:
        for geometry in city_object.get("geometry") or []:
            kind = geometry["type"]
            if kind in ("MultiPoint", "MultiLineString"):
                shape = _plane_shape(kind, geometry["boundaries"], gathered.documents[-1].vertices)
                points = points if shape is None else shape
            elif kind == "GeometryInstance":
                shells.append(_placed_template(gathered, record, geometry))
            else:
                document = gathered.documents[-1]
                base = gathered.vertex_count - len(document.raw)
                shells.append(_shell(record, geometry, base, len(document.raw), document.palette))
    except _UNREADABLE as fault:
        declared = city_object.get("attributes")
        gathered.refused.append(Refusal(identifier, _reason(fault), declared if isinstance(declared, dict) else None))
        return
    parents = city_object.get("parents") or [None]
    attributes = city_object.get("attributes")
    gathered.ids.append(identifier)
    gathered.attributes.append(attributes if isinstance(attributes, dict) else {})
    gathered.object_class.append(city_object.get("type"))
    gathered.parent_id.append(parents[0])
    gathered.shells += [shell for shell in shells if shell.faces]
    if any(shell.looks and shell.looks.faulty for shell in shells):
        gathered.unreadable_looks.append(identifier)
    if points is not None:
        gathered.points[record] = points


def _reason(fault: Exception) -> str:
    text = str(fault)
    return (
        text if isinstance(fault, ValueError) and text else f"geometry can't be read ({type(fault).__name__}: {text})"
    )


def _shell(record: int, geometry: dict[str, Any], base: int, count: int, palette: Palette) -> _Shell:
    kind = geometry["type"]
    faces = unnested(kind, geometry["boundaries"])
    classes = _semantic_classes(kind, geometry.get("semantics"), len(faces))
    looks = palette.looks(geometry, faces) if palette.paints else None
    return _Shell(record, str(geometry.get("lod", "")), faces, classes, base, count, looks=looks)


def _semantic_classes(kind: str, semantics: dict[str, Any] | None, count: int) -> list[int]:
    if not semantics or not semantics.get("values"):
        return [0] * count
    classes = [CLASS_INDEX.get(surface.get("type"), 0) for surface in semantics["surfaces"]]
    try:
        values = unnested(kind, semantics["values"])
    except TypeError:  # null for a whole shell
        return [0] * count
    if len(values) != count:
        return [0] * count
    return [0 if v is None else classes[v] for v in values]


def _placed_template(gathered: _Gathered, record: int, geometry: dict[str, Any]) -> _Shell:
    """Place a template: its vertices through the 4 × 4 matrix, then moved to the reference point."""
    document = gathered.documents[-1]
    templates = document.frame.templates
    if templates is None:
        raise ValueError(say("geometry-instance-without-geometry-templates"))
    template = templates.geometries[geometry["template"]]
    matrix = np.asarray(geometry["transformationMatrix"], np.float64).reshape(4, 4)
    reference = document.vertices[geometry["boundaries"][0]]
    local = np.c_[templates.vertices, np.ones(len(templates.vertices))] @ matrix.T
    base = gathered.place(local[:, :3] / local[:, 3:] + reference)
    return replace(_shell(record, template, base, len(local), templates.palette), placed=True)


def _plane_shape(kind: str, boundaries: list[Any], vertices: Float) -> Any:
    if not boundaries:
        return None
    if kind == "MultiPoint":
        return shapely.MultiPoint(vertices[boundaries])
    return shapely.MultiLineString([vertices[line] for line in boundaries])
