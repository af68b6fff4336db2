"""A building model in parts: some of its elements at a time, with all that they refer to and what relates them.

ifcopenshell holds a file whole, in about ten times its size, and lets go of little of it. Of a large file only the
place of each instance is kept; a part becomes a file of its own, in which a relation names the elements that are there,
and is read by a process, which ends after some of them.
"""

import mmap
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import batched
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import ifcopenshell
import numpy as np

from cim.errors import UnreadableFile
from cim.geometry.body_batch import Int
from cim.messages import say
from ingest.formats.parts import LARGE_BYTES, done

PART_ELEMENTS = 2000
PART_BYTES = 8 << 20  # of text, beyond which a part takes no more elements
_STEP = 100  # elements that are gathered at once
_MANY = 1000  # members of a relation that isn't read again for each part
Entity = Any  # of ifcopenshell, which is typed in part

ELEMENTS = ("IfcElement", "IfcSpace")
NO_ELEMENTS = ("IfcOpeningElement", "IfcVirtualElement")
_FRAME = ("IfcProject", "IfcSpatialElement", "IfcSpatialStructureElement", "IfcCoordinateOperation")
# where a relation names what it is about (ISO 16739-1:2024, 5.1.3): a list, or one
_RELATED = {
    "IFCRELAGGREGATES": 5,
    "IFCRELNESTS": 5,
    "IFCRELCONTAINEDINSPATIALSTRUCTURE": 4,
    "IFCRELDEFINESBYPROPERTIES": 4,
    "IFCRELDEFINESBYTYPE": 4,
    "IFCRELASSOCIATESMATERIAL": 4,
    "IFCRELVOIDSELEMENT": 4,
    "IFCRELFILLSELEMENT": 5,
}

_STRING, _REMARK = rb"'[^']*+'", rb"/\*.*?\*/"
_BETWEEN = rb"(?:\s++|" + _REMARK + rb")*+"
_INSTANCE = re.compile(
    _BETWEEN + rb"#(\d{1,18}+)\s*+=\s*+(\w*+)(" + _BETWEEN + rb"(?:[^'/;]++|" + _STRING + rb"|" + _REMARK + rb"|/)*+);",
    re.DOTALL,
)
_DATA = re.compile(rb"(?:[^'/;]++|" + _STRING + rb"|" + _REMARK + rb"|[/;])*?;\s*DATA\s*;", re.DOTALL)
_END = re.compile(_BETWEEN + rb"ENDSEC\s*;", re.DOTALL)
_REFERENCE = re.compile(_STRING + rb"|" + _REMARK + rb"|#(\d{1,18})", re.DOTALL)
_TOKEN = re.compile(_STRING + rb"|" + _REMARK + rb"|[(),/]|[^'(),/]+", re.DOTALL)


class Part(Protocol):
    """Some elements, in a model that has all that they refer to."""

    def opened(self) -> tuple[Any, list[Entity]]:
        """Return the model and the elements."""
        ...


class Parts(Protocol):
    """The elements of a building model, some at a time."""

    frame: Any
    """A model of the project, its units and place, and the sites, buildings and storeys."""

    def done[R](self, work: Callable[[Part], R], numbers: Sequence[int] | None = None) -> Iterator[R]:
        """Yield what a function gives for each part: of all elements, or of those with these instance numbers."""
        ...


def parts_of(path: Path, workers: int = 1) -> Parts:
    """Open a building model.

    Raises:
        UnreadableFile: not IFC, or cut short.

    """
    try:
        if path.stat().st_size > LARGE_BYTES:
            return _Split(path, workers)
        return _Whole(ifcopenshell.open(str(path)))
    except (ifcopenshell.Error, OSError, RuntimeError) as fault:
        raise UnreadableFile(say("not-readable-ifc", file=path, reason=fault)) from fault


class _Whole:
    """A file that is opened as it is."""

    def __init__(self, model: Any) -> None:
        self.frame = model

    def done[R](self, work: Callable[[Part], R], numbers: Sequence[int] | None = None) -> Iterator[R]:
        if numbers is None:
            entities = [entity for kind in ELEMENTS for entity in self.frame.by_type(kind)]
            wanted = [entity for entity in entities if not any(entity.is_a(other) for other in NO_ELEMENTS)]
        else:
            wanted = [self.frame.by_id(number) for number in numbers]
        return (work(_Opened(self.frame, list(some))) for some in batched(wanted, PART_ELEMENTS))


@dataclass(frozen=True)
class _Opened:
    """A part of a model that is open."""

    model: Any
    elements: list[Entity]

    def opened(self) -> tuple[Any, list[Entity]]:
        return self.model, self.elements


@dataclass(frozen=True)
class _Text:
    """A part as a file of its own."""

    text: bytes
    numbers: tuple[int, ...]
    of: Path

    def opened(self) -> tuple[Any, list[Entity]]:
        with TemporaryDirectory(prefix="cim-ifc-") as folder:
            path = Path(folder, "part.ifc")
            path.write_bytes(self.text)
            try:
                model = ifcopenshell.open(str(path))
            except (ifcopenshell.Error, OSError, RuntimeError) as fault:
                raise UnreadableFile(say("not-readable-ifc", file=self.of, reason=fault)) from fault
        return model, [model.by_id(number) for number in self.numbers]


class _Split:
    """A file of which the places of the instances are known."""

    def __init__(self, path: Path, workers: int) -> None:
        self._path, self._workers = path, workers
        with path.open("rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        data = _DATA.match(self._text, 0, min(len(self._text), 1 << 20))
        if data is None:
            raise UnreadableFile(say("no-header-ifc-file", file=path))
        self._header = self._text[: data.end()]
        schema = re.search(rb"FILE_SCHEMA\s*\(\s*\(\s*'([^']*)'", self._header)
        if schema is None:
            raise UnreadableFile(say("header-names-no-schema", file=path))
        self._kinds = _Kinds(schema[1].decode("ascii", "replace"))
        self._frame: list[int] = []
        self._elements = array("q")
        relations = array("q")
        self._index(data.end(), relations)
        self._long: dict[int, _Relation] = {}
        self._relations, self._relating = self._linked(relations)
        self.frame, _ = _Text(self._file_of(self._with({}, self._frame)), (), self._path).opened()

    def _index(self, start: int, relations: "array[int]") -> None:
        """Find where each instance begins, and which are elements, relations or the frame."""
        numbers, places = array("q"), array("q")
        text, kinds, match = self._text, self._kinds, _INSTANCE.match
        while instance := match(text, start):
            number = int(instance[1])
            numbers.append(number)
            places.append(start)
            start = instance.end()
            kind = kinds[instance[2]]
            if kind == "element":
                self._elements.append(number)
            elif kind == "relation":
                relations.append(number)
            elif kind == "frame":
                self._frame.append(number)
        if not _END.match(text, start):
            line = text[start : start + 80].strip().split(b"\n")[0].decode("utf-8", "replace")
            raise UnreadableFile(say("ifc-cut-short", file=self._path, count=len(numbers), line=line))
        self._numbers, self._places = _sorted(numbers, places)

    def _linked(self, relations: Sequence[int]) -> "tuple[_Links, _Links]":
        """Return the relations of each instance, and what else each relation names."""
        members, of, froms, tos = array("q"), array("q"), array("q"), array("q")
        for number in relations:
            relation = self._relation(number)
            members.extend(relation.members)
            of.extend([number] * len(relation.members))
            froms.extend([number] * len(relation.relating))
            tos.extend(relation.relating)
            if len(relation.members) > _MANY:
                self._long[number] = replace(relation, members=())
        return _Links(*_sorted(members, of)), _Links(*_sorted(froms, tos))

    def done[R](self, work: Callable[[Part], R], numbers: Sequence[int] | None = None) -> Iterator[R]:
        return done(work, self._parts(self._elements if numbers is None else numbers), self._workers, __name__)

    def _parts(self, numbers: Sequence[int]) -> Iterator[Part]:
        done = 0
        while done < len(numbers):
            texts: dict[int, bytes] = {}
            first = done
            while done < len(numbers) and done - first < PART_ELEMENTS:
                self._with(texts, numbers[done : done + _STEP])
                done = min(done + _STEP, len(numbers))
                if sum(map(len, texts.values())) > PART_BYTES:
                    break
            yield _Text(self._file_of(self._with(texts, self._frame)), tuple(numbers[first:done]), self._path)

    def _with(self, texts: dict[int, bytes], wanted: Sequence[int]) -> dict[int, bytes]:
        """Add instances, what they refer to, and what their relations say of them."""
        fresh = {number for number in wanted if number not in texts}
        while fresh:
            referred: set[int] = set()
            for instance in self._read(list(fresh)):
                texts[int(instance[1])] = instance[0]
                referred.update(_references(instance[3]))
            _, relations = self._relations.of(fresh)
            _, relating = self._relating.of(relations.tolist())
            fresh = {
                number for number in (*referred, *relating.tolist()) if number not in texts and number not in fresh
            }
        return texts

    def _read(self, numbers: Sequence[int]) -> "Iterator[re.Match[bytes]]":
        """Yield those of the instances that the file has: their number, type and arguments."""
        wanted = np.unique(np.array(numbers, np.int64))
        at = np.minimum(np.searchsorted(self._numbers, wanted), len(self._numbers) - 1)
        places = self._places[at[self._numbers[at] == wanted]]
        return (instance for place in places.tolist() if (instance := _INSTANCE.match(self._text, place)))

    def _relation(self, number: int) -> "_Relation":
        if number in self._long:
            return self._long[number]
        (instance,) = self._read([number])
        arguments, at = _split(instance[3]), _RELATED[instance[2].decode().upper()]
        before, after = b",".join(arguments[:at]), b",".join((b"", *arguments[at + 1 :]))
        members = arguments[at] if at < len(arguments) else b""
        return _Relation(
            b"\n#%d=%s(%s," % (number, instance[2], before),
            after + b");",
            many=members.lstrip().startswith(b"("),
            members=tuple(_references(members)),
            relating=(*_references(before), *_references(after)),
        )

    def _file_of(self, texts: dict[int, bytes]) -> bytes:
        """Return a file of these instances and of the relations among them."""
        pieces = [self._header, *texts.values()]
        related: dict[int, list[bytes]] = defaultdict(list)
        for member, relation in zip(*(pairs.tolist() for pairs in self._relations.of(texts)), strict=True):
            related[relation].append(b"#%d" % member)
        for number, members in related.items():
            relation = self._relation(number)
            among = b",".join(members)
            pieces += [relation.before, b"(" + among + b")" if relation.many else among, relation.after]
        return b"".join((*pieces, b"\nENDSEC;\nEND-ISO-10303-21;\n"))


@dataclass(frozen=True)
class _Relation:
    """A relation: its text up to what it is about and from there on, and what it names."""

    before: bytes
    after: bytes
    many: bool  # it is about a list
    members: tuple[int, ...]
    relating: tuple[int, ...]


@dataclass(frozen=True)
class _Links:
    """Pairs of instance numbers, by the first."""

    froms: Int
    tos: Int

    def of(self, numbers: Collection[int]) -> tuple[Int, Int]:
        """Return the pairs whose first is among these."""
        wanted = np.unique(np.fromiter(numbers, np.int64, len(numbers)))
        first, last = np.searchsorted(self.froms, wanted), np.searchsorted(self.froms, wanted, "right")
        counts = last - first
        at = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        return self.froms[at], self.tos[at]


def _sorted(keys: "array[int]", values: "array[int]") -> tuple[Int, Int]:
    """Return keys in their order, and their values."""
    first, second = np.frombuffer(keys, np.int64), np.frombuffer(values, np.int64)
    if np.all(first[:-1] <= first[1:]):
        return first, second
    order = np.argsort(first, kind="stable")
    return first[order], second[order]


class _Kinds(dict[bytes, str]):
    """What an instance of a type is to a part: an element, a relation, of the frame, or what is referred to."""

    def __init__(self, schema: str) -> None:
        super().__init__()
        self._schema = ifcopenshell.schema_by_name(schema)

    def __missing__(self, name: bytes) -> str:
        self[name] = kind = self._kind(name.decode("ascii", "replace").upper())
        return kind

    def _kind(self, name: str) -> str:
        if name in _RELATED:
            return "relation"
        try:
            declaration = self._schema.declaration_by_name(name).as_entity()
        except RuntimeError:
            return "other"
        kinds = []
        while declaration is not None:
            kinds.append(declaration.name())
            declaration = declaration.supertype()
        if any(kind in ELEMENTS for kind in kinds):
            return "other" if any(kind in NO_ELEMENTS for kind in kinds) else "element"
        return "frame" if any(kind in _FRAME for kind in kinds) else "other"


def _references(text: bytes) -> list[int]:
    """Return the numbers that a text refers to."""
    return [int(number) for number in _REFERENCE.findall(text) if number]


def _split(text: bytes) -> list[bytes]:
    """Return the arguments that stand between the outer parentheses."""
    arguments: list[list[bytes]] = [[]]
    depth = 0
    for token in _TOKEN.findall(text):
        if token == b")":
            depth -= 1
        if token == b"," and depth == 1:
            arguments.append([])
        elif depth >= 1 and not token.startswith(b"/*"):
            arguments[-1].append(token)
        if token == b"(":
            depth += 1
    return [b"".join(argument) for argument in arguments]
