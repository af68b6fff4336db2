"""What a delivery may not do: make the program open what lies elsewhere, a file, a database, an address.

GDAL takes a file for what is in it, whatever its suffix: a .kml may be a virtual dataset over any file, or name a
service to ask. So GDAL is left with the formats that we read, and gets a file only when its reference systems name no
grid by a path and no address to fetch one from: GDAL would open both before anybody could look.
"""

import html
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import pyogrio

from cim.errors import UnreadableFile
from cim.messages import say
from cim.reference.crs import names_files

FORMATS = frozenset(
    {
        *("ESRI Shapefile", "FlatGeobuf", "GML", "GPKG", "GeoJSON", "GeoJSONSeq", "KML", "LIBKML", "TopoJSON"),
        "MEM",  # GDAL's own, in memory
    }
)
_LONGEST_MEMBER = 1 << 16  # bytes of a `crs` member
_LONGEST_NAME = 4096  # bytes of a file's name, and of what stands before it
_FGB_HEADER = 12  # bytes before the header of a FlatGeobuf: its mark, and the header's length
_SRS_NAME = re.compile(rb"srsName\s*=\s*(\"[^\"]*\"|'[^']*')", re.IGNORECASE)


def leave_our_formats() -> None:
    """Let GDAL open nothing but the formats that we read, in this process."""
    if others := sorted(pyogrio.list_drivers().keys() - FORMATS):
        pyogrio.set_gdal_config_options({"GDAL_SKIP": ",".join(others)})
        pyogrio._ogr._register_drivers()  # noqa: SLF001 - what GDAL skips is looked at when drivers are registered


def check_references(path: Path) -> None:
    """Check, before GDAL sees a file, that no reference system of it leads elsewhere.

    Raises:
        UnreadableFile: one does, or where one stands can't be read.

    """
    for text in _TEXTS.get(path.suffix.lower(), _none)(path):
        if names_files(text):
            raise UnreadableFile(say("reference-leads-elsewhere", file=path))


def _none(_: Path) -> Iterator[str]:
    yield from ()


def _of_shapefile(path: Path) -> Iterator[str]:
    for beside in path.parent.iterdir():
        if beside.stem == path.stem and beside.suffix.lower() in (".prj", ".qpj"):
            yield beside.read_text("latin-1")


def _of_tiff(path: Path) -> Iterator[str]:
    """Yield what stands around a mark of a file's name, anywhere in a raster, and GDAL's notes beside it."""
    for notes in (path.with_name(f"{path.name}.aux.xml"), path.with_suffix(".aux.xml")):
        if notes.is_file():
            yield html.unescape(notes.read_text("utf-8", "replace"))
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        for mark in (b"grids", b"PARAMETERFILE"):
            place = content.find(mark)
            while place >= 0:
                yield content[max(0, place - 20) : place + _LONGEST_NAME].decode("latin-1")
                place = content.find(mark, place + 1)


def _of_geopackage(path: Path) -> Iterator[str]:
    """Yield what the tables of reference systems say, whatever their columns."""
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%spatial_ref_sys%'").fetchall()
            for (name,) in tables:
                for row in connection.execute('SELECT * FROM "{}"'.format(name.replace('"', '""'))):
                    yield from (value for value in row if isinstance(value, str))
        finally:
            connection.close()
    except sqlite3.Error as fault:
        raise UnreadableFile(say("not-geopackage", file=path, reason=fault)) from fault


def _of_flatgeobuf(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        beginning = file.read(_FGB_HEADER)
        length = int.from_bytes(beginning[8:], "little")
        yield file.read(min(length, _LONGEST_MEMBER * 16)).decode("latin-1")


def _of_xml(path: Path) -> Iterator[str]:
    """Yield the names of reference systems, and what stands in GDAL's notes beside the file."""
    notes = path.with_suffix(".gfs")
    if notes.is_file():
        yield html.unescape(notes.read_text("utf-8", "replace"))
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if content.find(b"<!DOCTYPE") >= 0:
            raise UnreadableFile(say("has-document-type-declaration", file=path))
        if b"\0" in content[:4] or content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise UnreadableFile(say("xml-utf-16-not-read", file=path))
        for match in _SRS_NAME.finditer(content):
            yield html.unescape(match[1].decode("utf-8", "replace"))


def _of_json(path: Path) -> Iterator[str]:
    """Yield all that stands in `crs` members, of the file and of anything in it; one that links is a fault."""
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        for match in _CRS_MEMBER.finditer(content):
            text = content[match.end(1) : match.end(1) + _LONGEST_MEMBER].decode("utf-8", "replace")
            text = text.lstrip().removeprefix(":").lstrip()
            if not text.startswith(("{", "/")):
                continue
            try:
                members, _ = _DECODER.raw_decode(text)
            except ValueError as fault:
                raise UnreadableFile(say("crs-member-cannot-read", file=path, reason=fault)) from fault
            for key, value in members:
                if key.lower() == "type" and str(value).lower().startswith(("link", "url")):
                    raise UnreadableFile(say("reference-leads-elsewhere", file=path))
            yield from _strings(members)


def _spelled(word: str) -> str:
    """Return a pattern for a word in JSON, whose letters may be written as escapes."""
    return "".join(f"(?:[{c}{c.upper()}]|\\\\u00(?:{ord(c):x}|{ord(c.upper()):x}))" for c in word)


_CRS_MEMBER = re.compile(rf"([\"']{_spelled('crs')}[\"'])\s*[:/]".encode())  # GDAL lets comments stand anywhere
_DECODER = json.JSONDecoder(object_pairs_hook=list)  # of members that stand twice, all


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _strings(part)


_TEXTS: Mapping[str, Callable[[Path], Iterator[str]]] = {
    ".shp": _of_shapefile,
    ".tif": _of_tiff,
    ".tiff": _of_tiff,
    ".gpkg": _of_geopackage,
    ".fgb": _of_flatgeobuf,
    ".gml": _of_xml,
    ".kml": _of_xml,
    **dict.fromkeys((".geojson", ".json", ".topojson"), _of_json),
}
