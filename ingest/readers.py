"""The table of readers: which module reads which suffix. A new format is one row, or an entry point `cim.readers`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from cim.catalog.model import KindName
from cim.errors import UnreadableFile
from cim.features import ReadOptions, Source
from ingest.delivery.archives import ARCHIVES, is_archive, unpack
from ingest.delivery.declared import DATASET_FILE

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
    leads_elsewhere: bool = False  # what it names is read too: never from an upload or an archive
    of_folder: bool = False  # its file speaks for all that lies in its folder and below
    only_marked: bool = False  # a file of the suffix without the mark isn't of this format
    held: Mapping[str, int] = field(default_factory=dict)  # suffix → times its size in memory, where that grows with it

    def read(self, path: Path, options: ReadOptions) -> Iterator[Source]:
        """Read a file of this format."""
        return cast("Read", import_module(self.module).read)(path, options)

    def memory_mb(self, path: Path) -> float:
        """Return how much memory a file takes that is held whole; else 0."""
        times = self.held.get(path.suffix.lower(), 0)
        return times * path.stat().st_size / 1e6

    @property
    def whole(self) -> bool:
        """Whether a file is kept as one: the module has `load` in place of `read`."""
        return self.kind in ("raster", "points", "tileset")

    def load(self, *arguments: Any) -> None:
        """Load a file that is kept as one (cursor, store, path, declared, load, report)."""
        import_module(self.module).load(*arguments)


_RINEX = (".[0-9][0-9][ong]", ".rnx", ".rnx.gz", ".sp3", ".sp3c")  # of navigation and orbits: to say what they are
READERS = (
    Reader(
        "CityJSON", (".city.json", ".city.jsonl", ".cityjson", ".json", ".jsonl"), "ingest.formats.city_models.cityjson"
    ),
    Reader("GeoJSON", (".geojson", ".json"), "ingest.formats.vector.gdal", mark=b'"FeatureCollection"'),
    Reader(
        "vector",
        (".gpkg", ".shp", ".fgb", ".parquet", ".geoparquet", ".kml", ".kmz", ".topojson", ".gml"),
        "ingest.formats.vector.gdal",
        held={".kml": 9, ".topojson": 16},
    ),
    Reader(
        "CityGML",
        (".gml", ".citygml", ".xml"),
        "ingest.formats.city_models.citygml",
        mark=b"opengis.net/citygml",
        only_marked=True,
    ),
    Reader("table", (".csv", ".tsv"), "ingest.formats.vector.delimited"),
    Reader("PostgreSQL table", (".pg.toml",), "ingest.sources.postgres", leads_elsewhere=True),
    Reader("IFC", (".ifc",), "ingest.formats.city_models.ifc"),
    Reader("DXF", (".dxf",), "ingest.formats.drawings.dxf"),
    Reader(
        "LandXML",
        (".xml", ".landxml"),
        "ingest.formats.drawings.landxml",
        mark=b"LandXML",
        only_marked=True,
        held={".xml": 4, ".landxml": 4},
    ),
    Reader("survey points", (".dat", ".txt"), "ingest.formats.drawings.survey_points"),
    Reader("RINEX", _RINEX, "ingest.formats.drawings.rinex"),
    Reader("OpenStreetMap", (".osm.pbf", ".osm.bz2", ".osm", ".pbf"), "ingest.formats.vector.osm"),
    Reader(
        "model",
        (".obj", ".glb", ".gltf", ".ply", ".stl"),
        "ingest.formats.scenes.triangle_model",
        held={".obj": 13, ".glb": 15, ".ply": 15, ".stl": 10},
    ),
    Reader("3D Tiles", ("tileset.json",), "ingest.formats.scenes.tileset", kind="tileset", of_folder=True),
    Reader(
        "OSGB",
        ("metadata.xml",),
        "ingest.formats.scenes.osgb",
        "tileset",
        mark=b"<ModelMetadata",
        only_marked=True,
        of_folder=True,
    ),
    Reader("GeoTIFF", (".tif", ".tiff"), "ingest.formats.sheets.geotiff", kind="raster"),
    Reader("LAS", (".las", ".laz"), "ingest.formats.sheets.las", kind="points"),
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


@dataclass(frozen=True)
class File:
    """A file to read, as it is called in the report, and where what is declared beside it stands."""

    path: Path
    shown: str
    beside: Path  # folder whose dataset.toml holds for it
    fault: str = ""  # why it can't be read: an archive that doesn't open


def find_files(paths: list[Path], scratch: Path) -> list[File]:
    """Return the files to read: those named, and in folders and archives all that a reader knows; rasters first.

    Args:
        paths: files, folders and zip archives.
        scratch: a folder in which archives are unpacked, each in its own.

    Raises:
        UnreadableFile: a path isn't there, a named file has no reader, or a folder holds none.

    """
    files: dict[Path, File] = {}
    for path in paths:
        if path.is_dir():
            inside = [p for p in _inside(path) if reader_of(p) or is_archive(p)]
            if not inside:
                raise UnreadableFile(f"{path}: no file in it that any reader knows ({_known()})")
        elif not path.exists():
            raise UnreadableFile(f"{path}: no such file or folder")
        elif reader_of(path) is None and not is_archive(path):
            raise UnreadableFile(
                f"{path}: no reader for {path.suffix or 'a file without suffix'}; known are {_known()}"
            )
        else:
            inside = [path]
        for file in inside:
            found = (
                _unpacked(file, scratch / str(len(files)))
                if is_archive(file)
                else [File(file, str(file), _nearest(file.parent, path) or file.parent)]
            )
            files |= {f.path: f for f in found if f.path not in files}
    # LoD1 stands on rasters; the sort is stable
    return sorted(files.values(), key=lambda f: not ((reader := reader_of(f.path)) and reader.kind == "raster"))


def _inside(folder: Path) -> list[Path]:
    """Return the files of a folder; of one that a file speaks for, that file alone."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    speaking = [p for p in files if (reader := reader_of(p)) and reader.of_folder]
    taken: dict[Path, Path] = {}
    for path in speaking:  # the outermost of several comes first
        if not any(parent in taken for parent in path.parent.parents):
            taken.setdefault(path.parent, path)
    kept = set(taken.values())
    return [p for p in files if p in kept or not any(parent in taken for parent in p.parents)]


def _unpacked(path: Path, folder: Path) -> list[File]:
    """Return the files of an archive; one that doesn't open or holds none is a file with a fault."""
    try:
        unpack(path, folder)
    except UnreadableFile as fault:
        return [File(path, str(path), path.parent, str(fault))]
    inside = [p for p in _inside(folder) if (reader := reader_of(p)) and not reader.leads_elsewhere]
    if not inside:
        return [File(path, str(path), path.parent, f"{path}: no file in it that any reader knows ({_known()})")]
    return [File(p, f"{path}/{p.relative_to(folder)}", _nearest(p.parent, folder) or path.parent) for p in inside]


def _nearest(folder: Path, top: Path) -> Path | None:
    """Return the folder with the dataset.toml that holds for a folder: its own, else the next above it, up to `top`."""
    for above in (folder, *folder.parents):
        if (above / DATASET_FILE).is_file():
            return above
        if above == top or top not in above.parents:
            return None
    return None


def _known() -> str:
    return ", ".join(dict.fromkeys([*(suffix for reader in readers() for suffix in reader.suffixes), *ARCHIVES]))
