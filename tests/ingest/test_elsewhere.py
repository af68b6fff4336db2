"""What comes through the upload door, or out of an archive, makes the program open nothing but itself.

Each format that can refer to a file is written with references that lead out: by an absolute path, upwards, to an
address, in the forms that GDAL and PROJ know. Canaries stand where they lead: files whose opening is noticed, and a
server that notes who asks. No other file may be touched, whatever becomes of the delivery itself.
"""

import ctypes
import html
import json
import os
import shutil
import sqlite3
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ezdxf
import geopandas as gpd
import httpx
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from PIL import Image
from pyproj import CRS

from cim.city import YANGQUAN, City
from cim.config import Settings
from cim.errors import BadRequest, BadSettings, CimError, UnknownCrs
from cim.messages import told
from cim.reference.crs import names_files, operation, parse
from cim.store import cluster
from cim.store.connection import Store, connect, open_store
from ingest.delivery.declared import Declared, of_others
from ingest.formats import elsewhere
from ingest.load.pipeline import ingest
from ingest.sources.uploads import new_upload, try_upload
from tests.factory import EAST, NORTH, cityjson, write_terrain
from tests.ingest.test_citygml import polygon
from tests.ingest.test_citygml import written as write_citygml
from tests.ingest.test_ifc import written as write_ifc
from tests.ingest.test_osgb import COARSE
from tests.ingest.test_pointcloud import write_cloud
from tests.ingest.test_tileset import BOX, glb, placed

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Note(BaseHTTPRequestHandler):
    def do_GET(self):
        open(sys.argv[1], "a").write(self.path + "\\n")
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_HEAD = do_POST = do_GET
    def log_message(self, *said): pass
server = HTTPServer(("127.0.0.1", 0), Note)
print(server.server_port, flush=True)
server.serve_forever()
"""
PLACE = (113.58, 37.86)
POINT = {"type": "Point", "coordinates": PLACE}
GEOJSON = {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"id": "x"}, "geometry": POINT}]}
_OPENED, _NOW = 0x20, 0o4000  # IN_OPEN; IN_NONBLOCK


@dataclass
class Canaries:
    """A folder in which each opening is noticed, and a server that notes what it is asked."""

    folder: Path
    port: int
    log: Path
    watch: int

    def touched(self) -> list[str]:
        """Return the files that were opened since, and the addresses that were asked."""
        asked = self.log.read_text("utf-8").split()
        self.log.write_text("", "utf-8")
        try:
            events = os.read(self.watch, 1 << 16)
        except BlockingIOError:
            return asked
        names, place = [], 0
        while place < len(events):
            length = struct.unpack_from("iIII", events, place)[3]
            names.append(events[place + 16 : place + 16 + length].rstrip(b"\0").decode())
            place += 16 + length
        return sorted({name for name in names if name}) + asked

    def references(self, name: str) -> list[str]:
        """Return the ways out to a canary."""
        path, address = self.folder / name, f"http://127.0.0.1:{self.port}/{name}"
        upwards = "../" * 20 + str(path).lstrip("/")
        return [str(path), upwards, upwards.replace("/", "\\"), f"file://{path}", address, f"/vsicurl/{address}"]


@pytest.fixture(scope="module")
def canaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canaries]:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "canary.geojson").write_text(json.dumps(GEOJSON), "utf-8")
    (folder / "canary.json").write_text(json.dumps({"asset": {"version": "1.0"}, "root": {}}), "utf-8")
    (folder / "canary.xml").write_text("<a/>", "utf-8")
    (folder / "canary.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "utf-8")
    (folder / "canary.mtl").write_text("newmtl m\nKd 1 0 0\n", "utf-8")
    (folder / "canary.bin").write_bytes(bytes(36))
    (folder / "canary.glb").write_bytes(glb())
    (folder / "canary.toml").write_text('to = "EPSG:4547"\ndx = 0.0\ndy = 0.0\nsecret = "x"\n', "utf-8")
    (folder / "canary.prj").write_text(CRS.from_epsg(4490).to_wkt(), "utf-8")
    (folder / "canary.dxf").write_text("0\nEOF\n", "ascii")
    write_terrain(folder / "canary.tif", np.full((64, 64), 1234), (113.5, 37.8, 113.7, 37.9), "EPSG:4490")
    Image.new("RGB", (8, 8), (200, 10, 10)).save(folder / "canary.png")
    libc = ctypes.CDLL(None)
    watch = libc.inotify_init1(_NOW)
    assert libc.inotify_add_watch(watch, os.fsencode(folder), _OPENED) > 0
    log = tmp_path_factory.mktemp("asked") / "log"
    log.write_text("", "utf-8")
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(log)], stdout=subprocess.PIPE)
    assert server.stdout
    yield Canaries(folder, int(server.stdout.readline()), log, watch)
    server.kill()
    server.wait()
    server.stdout.close()
    os.close(watch)


@pytest.fixture(scope="module")
def city(
    private_cluster: cluster.Cluster,
    template_database: Callable[[City], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Store]:
    """A city that nothing stays in: what comes through the upload door is only tried."""
    with connect(private_cluster.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE elsewhere TEMPLATE {template_database(YANGQUAN)}".encode())
    state = tmp_path_factory.mktemp("elsewhere")
    with open_store(Settings(state=state, database_url=private_cluster.url("postgres", "elsewhere"))) as store:
        yield store


Write = Callable[[Path, str], object]  # a folder, and a reference to put into a file of it


def text(name: str, content: str) -> Write:
    """A file of text in which REF stands for the reference."""
    return lambda folder, reference: (folder / name).write_text(content.replace("REF", reference), "utf-8")


def escaped(name: str, content: str) -> Write:
    return lambda folder, reference: text(name, content)(folder, html.escape(reference))


def beside(name: str, content: str, made: Callable[[Path], object]) -> Write:
    """A file that is sound, and one with the reference beside it."""

    def write(folder: Path, reference: str) -> None:
        made(folder)
        text(name, content)(folder, reference)

    return write


def document(**members: object) -> str:
    return json.dumps(GEOJSON | members)


def crs_member(name: str) -> str:
    return document(crs={"type": "name", "properties": {"name": name}})


VRT = '<OGRVRTDataSource><OGRVRTLayer name="canary"><SrcDataSource>REF</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
RASTER_VRT = (
    '<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:4490</SRS><GeoTransform>113.5,0.003,0,37.9,0,-0.002'
    '</GeoTransform><VRTRasterBand dataType="Float32" band="1"><SimpleSource><SourceFilename>REF</SourceFilename>'
    "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
)
GRID = "+proj=longlat +ellps=GRS80 +nadgrids=REF +type=crs"
OGR = (
    '<?xml version="1.0"?>DTD<ogr:FeatureCollection xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' xsi:schemaLocation="http://ogr.maptools.org/ SCHEMA" xmlns:ogr="http://ogr.maptools.org/"'
    ' xmlns:gml="http://www.opengis.net/gml" xmlns:xlink="http://www.w3.org/1999/xlink"><gml:featureMember>'
    '<ogr:hydrant fid="p.0"><ogr:geometryProperty><gml:Point srsName="SRS"><gml:coordinates>113.58,37.86'
    '</gml:coordinates></gml:Point></ogr:geometryProperty><ogr:name xlink:href="LINK">INSIDE</ogr:name></ogr:hydrant>'
    "</gml:featureMember></ogr:FeatureCollection>"
)


def gml(dtd: str = "", schema: str = "x.xsd", srs: str = "EPSG:4326", link: str = "", inside: str = "x") -> str:
    parts = {"DTD": dtd, "SCHEMA": schema, "SRS": srs, "LINK": link, "INSIDE": inside}
    content = OGR
    for mark, part in parts.items():
        content = content.replace(mark, part)
    return content


def kml(dtd: str = "", inside: str = "x", link: str = "") -> str:
    return (
        f'{dtd}<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{link}<Placemark><name>{inside}</name><Point>'
        "<coordinates>113.58,37.86</coordinates></Point></Placemark></Document></kml>"
    )


ENTITY = '<!DOCTYPE a [<!ENTITY x SYSTEM "REF">]>'


def wkt_of_grid(reference: str) -> str:
    return CRS.from_user_input(GRID.replace("REF", reference)).to_wkt()


def frame(path: Path, **options: object) -> None:
    gpd.GeoDataFrame({"id": ["x"]}, geometry=[shapely.Point(PLACE)], **options).to_file(path, engine="pyogrio")


def shapefile_grid(folder: Path, reference: str) -> None:
    frame(folder / "hydrant.shp", crs="EPSG:4490")
    (folder / "hydrant.prj").write_text(wkt_of_grid(reference), "utf-8")


def geopackage_grid(folder: Path, reference: str) -> None:
    frame(folder / "hydrant.gpkg", crs="EPSG:4490")
    with sqlite3.connect(folder / "hydrant.gpkg") as database:
        database.execute(
            "UPDATE gpkg_spatial_ref_sys SET organization = 'NONE', definition = ? WHERE srs_id = 4490",
            [wkt_of_grid(reference)],
        )
    database.close()


def flatgeobuf_grid(folder: Path, reference: str) -> None:
    frame(folder / "hydrant.fgb", crs=CRS.from_user_input(GRID.replace("REF", reference)))


def parquet_grid(folder: Path, reference: str) -> None:
    shape = gpd.GeoDataFrame({"id": ["x"]}, geometry=[shapely.Point(PLACE)], crs=CRS(GRID.replace("REF", reference)))
    shape.to_parquet(folder / "hydrant.parquet")


def terrain(folder: Path) -> Path:
    return write_terrain(folder / "terrain.tif", np.full((64, 64), 700), (113.5, 37.8, 113.7, 37.9), "EPSG:4490")


def tiff_tag(folder: Path, reference: str) -> None:
    with rasterio.open(terrain(folder), "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=reference)


def cloud_grid(folder: Path, reference: str) -> None:
    points = np.random.default_rng(1).uniform([EAST, NORTH, 700], [EAST + 9, NORTH + 9, 710], (50, 3))
    write_cloud(folder / "point_cloud.las", points, crs=wkt_of_grid(reference))


def cityjson_image(folder: Path, reference: str) -> None:
    model = cityjson({"house": {"box": (EAST, NORTH, 700, 20, 10, 12)}})
    model["CityObjects"]["house"]["geometry"][0]["texture"] = {
        "": {"values": [[[[None]]] * 2 + [[[0, 0, 1, 2, 3]]] + [[[None]]] * 3]}
    }
    corners = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    model["appearance"] = {"textures": [{"type": "PNG", "image": reference}], "vertices-texture": corners}
    (folder / "building.city.json").write_text(json.dumps(model), "utf-8")


def cityjson_crs(folder: Path, reference: str) -> None:
    model = cityjson({"house": {"box": (EAST, NORTH, 700, 20, 10, 12)}})
    model["metadata"]["referenceSystem"] = GRID.replace("REF", reference)
    (folder / "building.city.json").write_text(json.dumps(model), "utf-8")


SQUARE = [(EAST, NORTH, 700), (EAST, NORTH + 9, 700), (EAST + 9, NORTH + 9, 700), (EAST, NORTH, 700)]


def citygml(inside: str, reference_system: str = "EPSG:4547") -> Write:
    surface = f"<bldg:lod2MultiSurface><gml:MultiSurface>SURFACE{polygon(SQUARE, 'p')}</gml:MultiSurface>"

    def write(folder: Path, reference: str) -> None:
        said = html.escape(reference)
        building = f'<bldg:Building gml:id="A">{inside}{surface}</bldg:lod2MultiSurface></bldg:Building>'
        linked = '<gml:surfaceMember xlink:href="REF#x"/>' if "SURFACE" in inside else ""
        building = building.replace("SURFACE", linked)
        write_citygml(
            folder / "building.citygml", building.replace("REF", said), reference=reference_system.replace("REF", said)
        )

    return write


CODE = '<bldg:usage codeSpace="REF">401</bldg:usage>'
LOOK = (
    '<app:appearance xmlns:app="http://www.opengis.net/citygml/appearance/2.0"><app:Appearance><app:surfaceDataMember>'
    "<app:ParameterizedTexture><app:imageURI>REF</app:imageURI><app:target uri='#p'><app:TexCoordList>"
    "<app:textureCoordinates ring='#p'>0 0 1 0 1 1 0 0</app:textureCoordinates></app:TexCoordList></app:target>"
    "</app:ParameterizedTexture></app:surfaceDataMember></app:Appearance></app:appearance>"
)


def model_of(**parts: object) -> dict[str, object]:
    return {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}], "textures": [{"source": 0}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}], **parts,
    }  # fmt: skip


TRIANGLE = "data:application/octet-stream;base64,AAAAAAAAAAAAAAAAAACAPwAAAAAAAAAAAAAAAAAAgD8AAAAA"
OBJ = "mtllib MTL\nusemtl m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n"
PLY = (
    "ply\nformat ascii 1.0\ncomment TextureFile REF\nelement vertex 3\nproperty float x\nproperty float y\n"
    "property float z\nproperty float s\nproperty float t\nelement face 1\nproperty list uchar int vertex_indices\n"
    "end_header\n0 0 0 0 0\n1 0 0 1 0\n0 1 0 0 1\n3 0 1 2\n"
)


def gltf_image(folder: Path, reference: str) -> None:
    model = model_of(buffers=[{"byteLength": 36, "uri": TRIANGLE}], images=[{"uri": reference}])
    (folder / "building.gltf").write_text(json.dumps(model), "utf-8")


def glb_image(folder: Path, reference: str) -> None:
    said = json.dumps(model_of(buffers=[{"byteLength": 36}], images=[{"uri": reference}])).encode()
    said += b" " * (-len(said) % 4)
    body = struct.pack("<I4s", len(said), b"JSON") + said + struct.pack("<I4s9f", 36, b"BIN\0", *[0, 0, 0, 1] * 2, 0)
    (folder / "building.glb").write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)


def gltf_buffer(folder: Path, reference: str) -> None:
    model = model_of(buffers=[{"byteLength": 36, "uri": reference}], images=[{"uri": "x.png"}])
    (folder / "building.gltf").write_text(json.dumps(model), "utf-8")


def tileset(name: str) -> Write:
    def write(folder: Path, reference: str) -> None:
        tile = {"boundingVolume": BOX, "geometricError": 2, "refine": "ADD", "content": {name: reference}}
        root = tile | {"transform": placed(), "children": [tile]}
        said = {"asset": {"version": "1.0"}, "geometricError": 9, "root": root}
        (folder / "tileset.json").write_text(json.dumps(said), "utf-8")

    return write


PROXY = """#Ascii Scene
#Version 161
#Generator OpenSceneGraph 3.6.5

osg::ProxyNode {
  UniqueID 1
  FileNames 1 {
    "REF"
  }
  Children 0
  ExternalReferenceMode LOAD_IMMEDIATELY
  UserCenter FALSE
  CenterMode USER_DEFINED_CENTER
  UserCenter 0 0 0 1
}
"""


def osgb(content: str) -> Write:
    def write(folder: Path, reference: str) -> None:
        if shutil.which("osgconv") is None:
            pytest.skip("osgconv isn't installed (openscenegraph)")
        tile = folder / "Data" / "Tile_1"
        tile.mkdir(parents=True)
        said = "<ModelMetadata><SRS>EPSG:4547</SRS><SRSOrigin>463000,4192000,0</SRSOrigin></ModelMetadata>"
        (folder / "metadata.xml").write_text(f'<?xml version="1.0"?>{said}', "utf-8")
        (tile / "Tile_1.osgb").write_text(content.replace("REF", reference).replace("FINER", reference), "utf-8")

    return write


def drawing(folder: Path, reference: str) -> None:
    made = ezdxf.new()
    made.add_xref_def(reference, "outside")
    made.modelspace().add_blockref("outside", (EAST, NORTH))
    image = made.add_image_def(reference.replace(".dxf", ".png"), (8, 8))
    made.modelspace().add_image(image, (EAST, NORTH), (5, 5))
    made.modelspace().add_line((EAST, NORTH), (EAST + 9, NORTH))
    made.saveas(folder / "survey_line.dxf")


def building_model(folder: Path, reference: str) -> None:
    said = write_ifc(folder / "house.ifc").read_text("utf-8")
    links = f"#70=IFCDOCUMENTREFERENCE('{reference}','x','x',$,$);#71=IFCIMAGETEXTURE(.T.,.T.,$,$,$,'{reference}');"
    (folder / "house.ifc").write_text(said.replace("ENDSEC;END-ISO", links + "ENDSEC;END-ISO"), "utf-8")


HYDRANT = text("hydrant.geojson", document())


def said_beside(key: str) -> Write:
    """A sound file, and a dataset.toml whose CRS or grid is the reference."""

    def write(folder: Path, reference: str) -> None:
        HYDRANT(folder, "")
        (folder / "dataset.toml").write_text(f"{key} = {json.dumps(reference)}\n", "utf-8")

    return write


# the format, how it refers → the canary it refers to, and how it is written
FORMATS: dict[str, tuple[str, Write]] = {
    **{f"{ext}: OGR VRT": ("canary.geojson", text(f"hydrant.{ext}", VRT))
       for ext in ("kml", "gml", "geojson", "gpkg", "fgb", "topojson")},
    "shp: OGR VRT": ("canary.geojson", beside("hydrant.shp", VRT, lambda f: (f / "hydrant.shx").write_text("x"))),
    "kml: VRT behind a root of its own": ("canary.geojson", text("hydrant.kml", "<kml/>" + VRT)),
    "geojson: pipeline": ("canary.geojson", text("hydrant.geojson", json.dumps(
        {"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read REF"}))),
    "gml: WFS": ("wfs", text("hydrant.gml", "<OGRWFSDataSource><URL>REF</URL></OGRWFSDataSource>")),
    "geojson: linked crs": ("canary.prj", text("hydrant.geojson", document(
        crs={"type": "link", "properties": {"href": "REF", "type": "ogcwkt"}}))),
    "geojson: linked crs in escapes": ("canary.prj", text("hydrant.geojson", document(
        crs={"type": "link", "properties": {"href": "REF"}}).replace('"crs"', '"\\u0063r\\u0073"').replace(
        '"link"', '"\\u006cink"'))),
    "geojson: linked crs of a geometry": ("canary.prj", text("hydrant.geojson", document().replace(
        '"type": "Point"', '"type": "Point", "crs": {"type": "URL", "properties": {"url": "REF"}}'))),
    "geojson: linked crs behind a comment": ("canary.prj", text("hydrant.geojson", document(
        crs={"type": "link", "properties": {"href": "REF"}}).replace('"crs":', '"crs" /* x */ :'))),
    "geojson: crs member": ("canary.prj", text("hydrant.geojson", crs_member("REF"))),
    "geojson: grid": ("canary.tif", text("hydrant.geojson", crs_member(GRID))),
    "geojson: init file": ("canary.prj", text("hydrant.geojson", crs_member("+init=REF:1"))),
    "geojson: ESRI paging": ("canary.geojson", text("hydrant.geojson", document(
        exceededTransferLimit=True, links=[{"rel": "next", "href": "REF"}]))),
    "gml: srsName": ("canary.prj", escaped("hydrant.gml", gml(srs="REF"))),
    "gml: grid": ("canary.tif", escaped("hydrant.gml", gml(srs=GRID))),
    "gml: grid in character references": ("canary.tif", escaped("hydrant.gml", gml(srs=GRID.replace("n", "&#110;")))),
    "gml: grid in notes": ("canary.tif", beside(
        "hydrant.gfs", f"<GMLFeatureClassList><GMLFeatureClass><Name>hydrant</Name><ElementPath>hydrant</ElementPath>"
        f"<SRSName>{GRID}</SRSName></GMLFeatureClass></GMLFeatureClassList>",
        lambda f: (f / "hydrant.gml").write_text(gml(), "utf-8"))),
    "gml: schema": ("canary.xml", escaped("hydrant.gml", gml(schema="REF"))),
    "gml: xlink": ("canary.xml", escaped("hydrant.gml", gml(link="REF#x"))),
    "gml: entity": ("canary.xml", text("hydrant.gml", gml(dtd=ENTITY, inside="&x;"))),
    "gml: UTF-16": ("canary.tif", lambda folder, reference: (folder / "hydrant.gml").write_bytes(
        gml(srs=GRID.replace("REF", reference)).replace("1.0", "1.0\" encoding=\"UTF-16").encode("utf-16"))),
    "kml: network link": ("canary.xml", escaped("hydrant.kml", kml(
        link="<NetworkLink><Link><href>REF</href></Link></NetworkLink>"))),
    "kml: entity": ("canary.xml", text("hydrant.kml", kml(dtd=ENTITY, inside="&x;"))),
    "shp: grid": ("canary.tif", shapefile_grid),
    "gpkg: grid": ("canary.tif", geopackage_grid),
    "fgb: grid": ("canary.tif", flatgeobuf_grid),
    "parquet: grid": ("canary.tif", parquet_grid),
    "tif: VRT": ("canary.tif", text("terrain.tif", RASTER_VRT)),
    "tif: WMS": ("wms", text("terrain.tif", '<GDAL_WMS><Service name="TMS"><ServerUrl>REF</ServerUrl></Service>'
        "<DataWindow><SizeX>64</SizeX><SizeY>64</SizeY><TileLevel>1</TileLevel></DataWindow></GDAL_WMS>")),
    "tif: overviews": ("canary.tif", beside("terrain.tif.ovr", RASTER_VRT, terrain)),
    "tif: mask": ("canary.tif", beside("terrain.tif.msk", RASTER_VRT, terrain)),
    "tif: overviews in notes": ("canary.tif", beside(
        "terrain.tif.aux.xml", '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">REF</MDI></Metadata>'
        "</PAMDataset>", terrain)),
    "tif: grid in notes": ("canary.tif", beside(
        "terrain.tif.aux.xml", f"<PAMDataset><SRS>{GRID}</SRS></PAMDataset>", terrain)),
    "tif: overviews in a tag": ("canary.tif", tiff_tag),
    "las: grid": ("canary.tif", cloud_grid),
    "CityJSON: image": ("canary.png", cityjson_image),
    "CityJSON: crs": ("canary.tif", cityjson_crs),
    "CityGML: image": ("canary.png", citygml(LOOK)),
    "CityGML: code list": ("canary.xml", citygml(CODE)),
    "CityGML: surface": ("canary.xml", citygml("<!--SURFACE-->")),
    "CityGML: crs": ("canary.tif", citygml("", GRID)),
    "LandXML: entity": ("canary.xml", text("survey.xml", f'<?xml version="1.0"?>{ENTITY}<LandXML version="1.2">&x;'
        "</LandXML>")),
    "OSM: entity": ("canary.xml", text("roads.osm", f'<?xml version="1.0"?>{ENTITY}<osm version="0.6">&x;</osm>')),
    "obj: materials": ("canary.mtl", text("building.obj", OBJ.replace("MTL", "REF"))),
    "obj: image": ("canary.png", beside("building.mtl", "newmtl m\nKd 1 1 1\nmap_Kd REF\n",
        lambda f: (f / "building.obj").write_text(OBJ.replace("MTL", "building.mtl"), "utf-8"))),
    "ply: image": ("canary.png", text("building.ply", PLY)),
    "glTF: buffer": ("canary.bin", gltf_buffer),
    "glTF: image": ("canary.png", gltf_image),
    "glb: image": ("canary.png", glb_image),
    "3D Tiles: content": ("canary.glb", tileset("uri")),
    "3D Tiles: url": ("canary.glb", tileset("url")),
    "3D Tiles: tileset": ("canary.json", tileset("uri")),
    "OSGB: proxy": ("canary.obj", osgb(PROXY)),
    "OSGB: finer": ("canary.obj", osgb(COARSE)),
    "DXF: drawing and image": ("canary.dxf", drawing),
    "IFC: document": ("canary.png", building_model),
    "dataset.toml: crs": ("canary.prj", said_beside("crs")),
    "dataset.toml: parameters": ("canary.toml", said_beside("crs")),
    "dataset.toml: grid of the height anomaly": ("canary.tif", said_beside("height_anomaly_grid")),
    "dataset.toml: grid of a crs": ("canary.tif", lambda f, r: said_beside("crs")(f, GRID.replace("REF", r))),
    "dataset.toml: grid of a datum": ("canary.tif", lambda f, r: said_beside("vertical_datum")(
        f, f"+proj=longlat +ellps=GRS80 +geoidgrids={r} +type=crs")),
}  # fmt: skip


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder.parent))
    return target


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_that_is_sent_makes_the_program_open_anything_else(
    form: str, city: Store, canaries: Canaries, tmp_path: Path
) -> None:
    canary, write = FORMATS[form]
    declared = Declared(vertical_datum=None if "datum" in form else "city", anchor=(*PLACE, 700.0))
    if "OSGB" in form or "IFC" in form or "DXF" in form:
        declared = Declared(vertical_datum="city")
    touched: dict[str, list[str]] = {}
    for number, reference in enumerate(canaries.references(canary)):
        folder = tmp_path / f"delivery{number}"
        folder.mkdir()
        write(folder, reference)
        archive = zipped(folder, tmp_path / f"delivery{number}.zip")
        upload, path = new_upload(city.settings, archive.name)
        shutil.copyfile(archive, path)
        canaries.touched()  # by writing the delivery
        with suppress(BadRequest, BadSettings, UnknownCrs):  # told as a whole
            try_upload(city, upload, declared)
        with suppress(BadSettings, UnknownCrs):
            ingest(city, [archive], declared, ending=lambda *_: False)
        touched[reference] = canaries.touched()
    assert not {reference: names for reference, names in touched.items() if names}


def test_canaries_sing(canaries: Canaries) -> None:
    canaries.touched()
    (canaries.folder / "canary.png").read_bytes()
    httpx.get(f"http://127.0.0.1:{canaries.port}/canary.png")
    assert canaries.touched() == ["canary.png", "/canary.png"]


@pytest.mark.parametrize("form", ["kml: OGR VRT", "geojson: pipeline", "geojson: linked crs", "gml: grid"])
def test_what_is_kept_from_gdal_would_open_a_canary(form: str, canaries: Canaries, tmp_path: Path) -> None:
    """The forms are right: GDAL by itself follows them."""
    canary, write = FORMATS[form]
    reference = canaries.references(canary)[4 if "linked" in form else 0]
    write(tmp_path, reference)
    (path,) = tmp_path.iterdir()
    canaries.touched()
    alone = f"import pyogrio; pyogrio.read_info({str(path)!r})"
    subprocess.run([sys.executable, "-c", alone], capture_output=True, check=False)
    assert canaries.touched()


def test_gdal_is_left_with_the_formats_that_we_read() -> None:
    elsewhere.leave_our_formats()
    assert pyogrio.list_drivers().keys() == elsewhere.FORMATS


def test_a_link_in_an_archive_is_a_small_file(city: Store, canaries: Canaries, tmp_path: Path) -> None:
    """Archives of Unix may hold symbolic links: what comes out is a file that holds a path."""
    archive = tmp_path / "links.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for name in ("hydrant.geojson", "terrain.tif"):
            member = zipfile.ZipInfo(name)
            member.external_attr = (stat.S_IFLNK | 0o777) << 16
            target.writestr(member, str(canaries.folder / f"canary.{name.partition('.')[2]}"))
    canaries.touched()
    report = ingest(city, [archive], Declared(vertical_datum="city"))
    assert report.exit_code == 1, report.summary()
    assert canaries.touched() == []


def database_link(city: Store) -> str:
    return f'url = "{city.url}"\nquery = "SELECT name AS id, role FROM cim.account"\n'


@pytest.mark.parametrize("inside", ["hydrant.pg.toml", "tables/HYDRANT.PG.TOML"])
def test_a_link_to_a_database_is_refused_out_of_an_archive_and_the_others_go_in(
    city: Store, tmp_path: Path, inside: str
) -> None:
    archive = tmp_path / "delivery.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(inside, database_link(city))
        target.writestr("hydrant.geojson", document())
    upload, path = new_upload(city.settings, archive.name)
    shutil.copyfile(archive, path)
    said = try_upload(city, upload, Declared())["report"]
    kept = ingest(city, [archive], Declared(), ending=lambda *_: False).as_json()
    for report in (said, kept):
        of_file = {Path(file["path"]).name.lower(): file for file in report["files"]}
        refused = of_file["hydrant.pg.toml"]
        assert (refused["read"], refused["loaded"]) == (0, 0)
        assert "leads to another database" in refused["error"]
        assert "数据库" in told(refused["error"], "zh")
        assert of_file["hydrant.geojson"]["loaded"] == 1


def test_what_an_editor_says_of_a_file_is_never_a_path(city: Store, canaries: Canaries, tmp_path: Path) -> None:
    """The CRS that a form sends may be called like a file of the server."""
    for name in ("canary.toml", "canary.prj"):
        for reference in canaries.references(name):
            upload, path = new_upload(city.settings, "hydrant.geojson")
            HYDRANT(path.parent, "")
            canaries.touched()
            with pytest.raises(CimError) as told:
                try_upload(city, upload, Declared(crs=reference))
            assert "secret" not in str(told.value)
            assert canaries.touched() == []
    assert of_others(Declared(crs="GCJ-02"), None).crs == "GCJ-02"
    assert parse(of_others(Declared(crs="EPSG:4490"), None).crs or "") == CRS.from_epsg(4490)


def test_what_came_with_a_delivery_is_read(city: Store, tmp_path: Path) -> None:
    """A CRS and a code list may lie anywhere in the archive."""
    folder = tmp_path / "delivery"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "own.prj").write_text(CRS.from_epsg(4490).to_wkt(), "utf-8")
    HYDRANT(folder / "deep/er", "")
    (folder / "deep/er/dataset.toml").write_text('crs = "../../own.prj"\n', "utf-8")
    report = ingest(city, [zipped(folder, tmp_path / "d.zip")], Declared(), ending=lambda *_: False)
    (file,) = report.files
    assert (file.error, file.loaded, file.crs) == (None, 1, "EPSG:4490")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("EPSG:4547", False),
        ("urn:ogc:def:crs:EPSG::4490", False),
        ("http://www.opengis.net/def/crs/EPSG/0/4490", False),
        ("+proj=longlat +ellps=GRS80 +nadgrids=own.gsb", False),  # among PROJ's own
        ("+init=epsg:4490", False),
        ("+init=/etc/passwd:1", True),
        ("+proj=longlat +nadgrids=@null,/etc/passwd", True),
        ('+proj=longlat +geoidgrids="/a b/c.gtx"', True),
        ("+proj=pipeline +step +proj=hgridshift +grids=../x", True),
        ("+proj=pipeline +step +proj=tinshift +file=http://x/y", True),
        ('PARAMETERFILE["Latitude and longitude difference file","C:\\x"]', True),
    ],
)
def test_a_reference_system_may_name_a_grid_and_not_a_path(text: str, named: bool) -> None:
    assert names_files(text) is named
    if named:
        with pytest.raises(UnknownCrs, match="PROJ_DATA"):
            parse(text)


def test_no_operation_is_made_of_a_reference_system_that_names_a_path(canaries: Canaries) -> None:
    own = CRS.from_user_input(GRID.replace("REF", str(canaries.folder / "canary.tif")))
    canaries.touched()
    for source, target in ((own, CRS.from_epsg(4547)), (CRS.from_epsg(4547), own)):
        with pytest.raises(UnknownCrs, match="PROJ_DATA"):
            operation(source, target)
    assert canaries.touched() == []
