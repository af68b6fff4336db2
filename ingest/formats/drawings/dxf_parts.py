"""A drawing in parts: some of its entities at a time, with the drawing's settings, tables, blocks and objects.

ezdxf holds a drawing whole, in about twelve times its size. A large one is cut between entities, and each part becomes
a drawing of its own.
"""

import mmap
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from ezdxf.filemanagement import readfile
from ezdxf.lldxf.const import DXFError

from cim.errors import UnreadableFile
from cim.features import Features
from cim.messages import each_text, say
from ingest.formats.parts import LARGE_BYTES, done

PART_BYTES = 8 << 20  # of entities
_FRAMES_A_PART = 2  # a part has at least so many bytes as all that is read again with each
_LARGEST_BINARY = 64 << 20
_BINARY = b"AutoCAD Binary DXF"
# a tag is a line with its code and a line with its value: only a code of 0 stands before the name of an entity
_LINE = rb"[ \t]*\r?\n[ \t]*"
_ENTITIES = re.compile(rb"(?:\A|\n)[ \t]*0" + _LINE + rb"SECTION" + _LINE + rb"2" + _LINE + rb"ENTITIES[ \t]*\r?(?=\n)")
_ENTITY = re.compile(rb"\n[ \t]*0" + _LINE + rb"((?:3D|[A-Za-z])\w*)[ \t]*\r?(?=\n)")
_HANDLES = (b"5", b"105")  # codes
_WITHIN = frozenset({b"VERTEX", b"ATTRIB", b"SEQEND"})  # what belongs to the entity before
_SEEN_FOR_HANDLES = 1 << 16  # bytes of entities in which one has a handle, if any has
_END = b"\n  0\nENDSEC\n  0\nEOF\n"


type Work[R] = Callable[[Any], tuple[Iterable[Features], R]]
"""What is done with a document: its batches, and what is known when all of them are read."""


class Drawing(Protocol):
    """The entities of a drawing, some at a time."""

    frame: Any
    """A document that has at least the settings, tables, blocks and objects."""
    warnings: list[str]

    def read[R](self, work: Work[R]) -> Iterator[tuple[Iterable[Features], R]]:
        """Yield what a function gives for the document of each part."""
        ...


def drawing_of(file: Path, encoding: str | None, workers: int = 1) -> Drawing:
    """Open a drawing.

    Raises:
        UnreadableFile: not a DXF, or damaged beyond what can be recovered; large and binary.

    """
    size = file.stat().st_size
    if size > LARGE_BYTES:
        with file.open("rb") as opened:
            binary = opened.read(len(_BINARY)) == _BINARY
        if binary and size > _LARGEST_BINARY:
            raise UnreadableFile(say("binary-dxf-mb", file=file, size=size >> 20))
        if not binary:
            return _Split(file, encoding, workers)
    return _Whole(*_opened(file, encoding))


def has_handles(file: Path) -> bool:
    """Whether the entities of a drawing have handles that name them in the next delivery too."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        entities = _ENTITIES.search(text)
        if entities is None:
            return True
        lines = text[entities.end() : entities.end() + _SEEN_FOR_HANDLES].split(b"\n")
        return any(code.strip() in _HANDLES for code in lines[1::2])  # the rest of the section's name comes first


def _opened(file: Path, encoding: str | None) -> tuple[Any, list[str]]:
    try:
        try:
            return readfile(file, encoding=encoding), []
        except DXFError:
            from ezdxf import recover

            document, auditor = recover.readfile(file)
            faults = len(auditor.errors) + len(auditor.fixes)
            return document, [say("damaged-drawing-recovered-faults-left-mended", faults=faults)]
    except Exception as fault:  # ezdxf asserts, and looks up, what a damaged drawing may not have
        raise UnreadableFile(say("not-readable-dxf", file=file, reason=fault)) from fault


class _Whole:
    """A drawing that is opened as it is."""

    def __init__(self, document: Any, warnings: list[str]) -> None:
        self.frame, self.warnings = document, warnings

    def read[R](self, work: Work[R]) -> Iterator[tuple[Iterable[Features], R]]:
        yield work(self.frame)


class _Split:
    """A drawing that is cut between its entities."""

    def __init__(self, file: Path, encoding: str | None, workers: int) -> None:
        self._file, self._encoding, self._workers = file, encoding, workers
        with file.open("rb") as opened:
            self._text = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        entities = _ENTITIES.search(self._text)
        if entities is None:
            raise UnreadableFile(say("not-readable-dxf-has-no-section-entities", file=file))
        self._start = entities.end()
        self._end, whole = self._find_end()
        self._before = self._text[: self._start]
        self._after = self._text[self._end :] if whole else _END
        self.frame, self.warnings = _opened_text(self._before + self._after, file, encoding)
        if not whole:
            self.warnings.append(say("damaged-drawing"))

    def _find_end(self) -> tuple[int, bool]:
        """Return where the entities end, and whether the drawing goes on there; else the last of them is cut short."""
        last = self._start
        for entity in self._entities():
            if entity[1] == b"ENDSEC":
                return entity.start(), True
            if entity[1] not in _WITHIN:
                last = entity.start()
        return last, False

    def _entities(self) -> "Iterator[re.Match[bytes]]":
        return _ENTITY.finditer(self._text, self._start)

    def read[R](self, work: Work[R]) -> Iterator[tuple[Iterable[Features], R]]:
        return done(_OfPart(work, self._file, self._encoding), self._parts(), self._workers, __name__)

    def _parts(self) -> Iterator[bytes]:
        least = max(PART_BYTES, _FRAMES_A_PART * (len(self._before) + len(self._after)))
        start = self._start
        for entity in self._entities():
            if entity.start() >= self._end:
                break
            if entity.start() - start >= least and entity[1] not in _WITHIN:
                yield self._before + self._text[start : entity.start()] + self._after
                start = entity.start()
        yield self._before + self._text[start : self._end] + self._after


@dataclass(frozen=True)
class _OfPart[R]:
    """What is done with a document, of the text of one; its batches are all made."""

    work: Work[R]
    file: Path
    encoding: str | None

    def __call__(self, text: bytes) -> tuple[list[Features], R]:
        document, warnings = _opened_text(text, self.file, self.encoding)
        batches, rest = self.work(document)
        remarks = Features([], [], np.empty(0, object), [], [], warnings=dict.fromkeys(warnings, ()))
        return [*batches, remarks], rest


def _opened_text(text: bytes, file: Path, encoding: str | None) -> tuple[Any, list[str]]:
    with TemporaryDirectory(prefix="cim-dxf-") as folder:
        path = Path(folder, file.name)
        path.write_bytes(text)
        try:
            return _opened(path, encoding)
        except UnreadableFile as fault:
            named = each_text(fault.message, lambda text: text.replace(str(path), str(file)))
            raise UnreadableFile(named) from fault
