"""The table of readers: which module reads which suffix. A new format is one row, or an entry point `cim.readers`."""

from fnmatch import fnmatch
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from ingest.formats.contract import Reader

_BEGINNING = 4096  # bytes of a file that are looked at for a format's mark
_OF_MODELS = r"\+?[A-Z]\w*[a-z]\w*"  # Building, WaterBody, +Extended
_OF_DRAWINGS = r"[^=]+"  # what the drawing's own layers are called
_RINEX = (".[0-9][0-9][ong]", ".rnx", ".rnx.gz", ".sp3", ".sp3c")  # of navigation and orbits: to say what they are
READERS = (
    Reader(
        "CityJSON",
        (".city.json", ".city.jsonl", ".cityjson", ".json", ".jsonl"),
        "ingest.formats.city_models.cityjson",
        classes=_OF_MODELS,
        spelled=True,
    ),
    Reader("GeoJSON", (".geojson", ".json"), "ingest.formats.vector.gdal", mark=b'"FeatureCollection"'),
    Reader(
        "vector",
        (".gpkg", ".shp", ".fgb", ".parquet", ".geoparquet", ".kml", ".kmz", ".topojson", ".gml"),
        "ingest.formats.vector.gdal",
        memory_factors={".kml": 9, ".topojson": 16},
    ),
    Reader(
        "CityGML",
        (".gml", ".citygml", ".xml"),
        "ingest.formats.city_models.citygml",
        mark=b"opengis.net/citygml",
        only_marked=True,
        classes=_OF_MODELS,
        spelled=True,
    ),
    Reader("table", (".csv", ".tsv"), "ingest.formats.vector.delimited"),
    Reader("PostgreSQL table", (".pg.toml",), "ingest.sources.postgres", leads_elsewhere=True),
    Reader("IFC", (".ifc",), "ingest.formats.city_models.ifc", classes=_OF_MODELS),
    Reader("DXF", (".dxf",), "ingest.formats.drawings.dxf", classes=_OF_DRAWINGS),
    Reader(
        "LandXML",
        (".xml", ".landxml"),
        "ingest.formats.drawings.landxml",
        mark=b"LandXML",
        only_marked=True,
        memory_factors={".xml": 4, ".landxml": 4},
        classes=_OF_DRAWINGS,
    ),
    Reader("survey points", (".dat", ".txt"), "ingest.formats.drawings.survey_points", classes="survey:.+"),
    Reader("RINEX", _RINEX, "ingest.formats.drawings.rinex", classes="rinex:.+"),
    Reader("OpenStreetMap", (".osm.pbf", ".osm.bz2", ".osm", ".pbf"), "ingest.formats.vector.osm", classes=".+=.+"),
    Reader(
        "model",
        (".obj", ".glb", ".gltf", ".ply", ".stl"),
        "ingest.formats.scenes.triangle_model",
        memory_factors={".obj": 13, ".glb": 15, ".ply": 15, ".stl": 10},
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
    Reader("GeoTIFF", (".tif", ".tiff"), "ingest.formats.coverages.geotiff", kind="raster"),
    Reader("LAS", (".las", ".laz"), "ingest.formats.coverages.las", kind="points"),
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
