"""The table of readers: which module reads which suffix. A new format is one row, or an entry point `cim.readers`."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from cim.catalog.model import KindName
from cim.errors import UnreadableFile
from cim.model import ReadOptions, Source

_BEGINNING = 4096  # bytes of a file that are looked at for a format's mark


class Read(Protocol):
    """The one signature of all readers: a header and an iterator of batches for each table of the file."""

    def __call__(self, path: Path, options: ReadOptions) -> Iterator[Source]:  # noqa: D102
        ...


@dataclass(frozen=True)
class Reader:
    """A row of the table."""

    name: str
    suffixes: tuple[str, ...]  # patterns, compared without regard to case, the longest first
    module: str  # has `read`; imported when the first such file comes
    kind: KindName = "feature"  # of the layers that its files go to
    mark: bytes = b""  # stands near the beginning, where two formats share a suffix
    only_marked: bool = False  # a file of the suffix without the mark isn't of this format

    def read(self, path: Path, options: ReadOptions) -> Iterator[Source]:
        """Read a file of this format."""
        return cast("Read", import_module(self.module).read)(path, options)

    @property
    def whole(self) -> bool:
        """Whether a file is kept as one: the module has `load` in place of `read`."""
        return self.kind in ("raster", "points")

    def load(self, *arguments: Any) -> None:
        """Load a file that is kept as one (cursor, store, path, declared, load, report)."""
        import_module(self.module).load(*arguments)


_RINEX = (".[0-9][0-9][ong]", ".rnx", ".rnx.gz", ".sp3", ".sp3c")  # of navigation and orbits: to say what they are

READERS = (
    Reader("CityJSON", (".city.json", ".city.jsonl", ".cityjson", ".json", ".jsonl"), "ingest.cityjson"),
    Reader("GeoJSON", (".geojson", ".json"), "ingest.vector", mark=b'"FeatureCollection"'),
    Reader("vector", (".gpkg", ".shp", ".zip", ".fgb", ".parquet", ".geoparquet", ".gml"), "ingest.vector"),
    Reader("CityGML", (".gml", ".citygml", ".xml"), "ingest.citygml", mark=b"opengis.net/citygml", only_marked=True),
    Reader("table", (".csv", ".tsv"), "ingest.table"),
    Reader("IFC", (".ifc", ".ifczip"), "ingest.ifc"),
    Reader("DXF", (".dxf",), "ingest.dxf"),
    Reader("LandXML", (".xml", ".landxml"), "ingest.landxml", mark=b"LandXML", only_marked=True),
    Reader("survey points", (".dat", ".txt"), "ingest.survey"),
    Reader("RINEX", _RINEX, "ingest.rinex"),
    Reader("OpenStreetMap", (".osm.pbf", ".osm.bz2", ".osm", ".pbf"), "ingest.osm"),
    Reader("GeoTIFF", (".tif", ".tiff"), "ingest.raster", kind="raster"),
    Reader("LAS", (".las", ".laz"), "ingest.pointcloud", kind="points"),
)


@cache
def readers() -> tuple[Reader, ...]:
    """Return all readers: ours, and those of other packages."""
    return (*READERS, *(point.load() for point in entry_points(group="cim.readers")))


def reader_of(path: Path) -> Reader | None:
    """Return the reader of a file by its suffix, or None if no format is known for it."""
    name = path.name.lower()
    rows = [(len(suffix), reader) for reader in readers() for suffix in reader.suffixes if fnmatch(name, f"*{suffix}")]
    if not rows:
        return None
    longest = [reader for length, reader in rows if length == max(rows, key=lambda row: row[0])[0]]
    if any(reader.mark for reader in longest) and path.is_file():
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING)
        longest = [reader for reader in longest if not reader.only_marked or reader.mark in beginning]
        longest.sort(key=lambda reader: not (reader.mark and reader.mark in beginning))
    return longest[0] if longest else None


def find_files(paths: list[Path]) -> list[Path]:
    """Return the files to read: those named, and in folders all that a reader knows; rasters first.

    Raises:
        UnreadableFile: a path isn't there, a named file has no reader, or a folder holds none.

    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and reader_of(p) and not p.name.startswith("."))
            if not inside:
                raise UnreadableFile(f"{path}: no file in it that any reader knows ({_known()})")
            files += inside
        elif not path.exists():
            raise UnreadableFile(f"{path}: no such file or folder")
        elif reader_of(path) is None:
            raise UnreadableFile(
                f"{path}: no reader for {path.suffix or 'a file without suffix'}; known are {_known()}"
            )
        else:
            files.append(path)
    unique = list(dict.fromkeys(files))
    return sorted(
        unique, key=lambda p: not ((reader := reader_of(p)) and reader.kind == "raster")
    )  # LoD1 stands on it; the sort is stable


def _known() -> str:
    return ", ".join(suffix for reader in readers() for suffix in reader.suffixes)
