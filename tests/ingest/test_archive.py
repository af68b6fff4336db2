"""Zip archives: anything in them, names in GBK, bounds, and members that want out."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cim.errors import UnreadableFile
from cim.store.connection import Store
from ingest.delivery.archives import unpack
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.factory import EAST, NORTH, write_cityjson, write_terrain
from tests.ingest.test_ifc import written
from tests.ingest.test_vector import write_points

KML = """<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark><name>甲</name>
<Point><coordinates>113.58,37.86,0</coordinates></Point></Placemark></Document></kml>"""
TOPOJSON = """{"type":"Topology","objects":{"hydrant":{"type":"GeometryCollection","geometries":[
{"type":"Point","properties":{"id":"T1","name":"乙"},"coordinates":[113.58,37.86]}]}},"arcs":[]}"""


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    with store.connect() as connection:
        return connection.execute(sql.encode()).fetchall()


def test_an_archive_of_several_formats_goes_in_with_what_stands_beside_it(store: Store, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    write_terrain(made / "terrain.tif", np.full((9, 9), 700), (113.5, 37.8, 113.7, 37.9), "EPSG:4490")
    write_cityjson(made / "building.city.json", {"A": {"box": (EAST, NORTH, 700, 20, 10, 9)}})
    write_points(made / "hydrant.geojson", [("H", 113.58, 37.86, "消防栓")])
    archive = tmp_path / "delivery.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in made.iterdir():
            target.write(file, f"阳泉/{file.name}")
        target.writestr("__MACOSX/._x.geojson", "no")
        target.writestr("readme.pdf", "no")
    (tmp_path / "dataset.toml").write_text('vertical_datum = "city"\ndate = 2024-05-01\n', "utf-8")
    report = ingest(store, [archive], Declared())
    assert report.exit_code == 0, report.summary()
    assert [Path(file.path).name for file in report.files] == ["terrain.tif", "building.city.json", "hydrant.geojson"]
    assert all(file.path.startswith(f"{archive}/阳泉/") for file in report.files)
    assert rows(store, "SELECT (lower(valid) AT TIME ZONE 'Asia/Shanghai')::date::text FROM twin.hydrant") == [
        ("2024-05-01",)
    ]


@pytest.mark.parametrize(("name", "text"), [("hydrant.kml", KML), ("hydrant.topojson", TOPOJSON)])
def test_kml_and_topojson_are_read(store: Store, tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    report = ingest(store, [path], Declared())
    assert report.exit_code == 0, report.summary()
    assert [row[0] for row in rows(store, "SELECT name FROM twin.hydrant")] in (["甲"], ["乙"])
    assert rows(store, "SELECT ST_NDims(geom) FROM twin.hydrant") == [(2,)]


def test_a_broken_archive_is_reported_and_the_other_files_go_in(store: Store, tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and then nothing")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as target:
        target.writestr("letter.doc", "no")
    write_points(tmp_path / "hydrant.geojson", [("H", 113.58, 37.86, "x")])
    report = ingest(store, [tmp_path], Declared())
    assert report.exit_code == 3
    errors = {Path(file.path).name: str(file.error) for file in report.files}
    assert "not a zip that can be read" in errors["broken.zip"]
    assert "no file in it that any reader knows" in errors["empty.zip"]
    assert rows(store, "SELECT id FROM twin.hydrant") == [("H",)]


@pytest.mark.parametrize(
    "name", ["../out.geojson", "/etc/out.geojson", "a/../../out.geojson", "C:/out.geojson", "..\\out.shp"]
)
def test_a_member_outside_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(name, "{}")
    with pytest.raises(UnreadableFile, match="outside itself"):
        unpack(archive, tmp_path / "inside" / "deep")
    assert not list(tmp_path.rglob("out.*"))


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("zeros.geojson", bytes(30_000_000))
    with pytest.raises(UnreadableFile, match="more than"):
        unpack(archive, tmp_path / "inside", largest=20_000_000)
    assert not (tmp_path / "inside").exists()


def test_a_member_that_is_larger_than_it_says_does_not_pass(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("a.geojson", bytes(5_000_000))
    data = bytearray(buffer.getvalue())
    place = data.rindex(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<I", 100)  # the directory's size of the member
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UnreadableFile):
        unpack(tmp_path / "a.zip", tmp_path / "inside")
    assert sum(p.stat().st_size for p in tmp_path.rglob("a.geojson")) <= 100


def test_names_of_chinese_desktops_are_readable(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("xxxxxx.geojson", "{}")
    archive.write_bytes(archive.read_bytes().replace(b"xxxxxx", "消防栓".encode("gbk")))
    unpack(archive, tmp_path / "inside")
    assert [p.name for p in (tmp_path / "inside").iterdir()] == ["消防栓.geojson"]


def test_a_zipped_building_model_is_an_archive_of_one(store: Store, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "house.ifczip", "w", zipfile.ZIP_DEFLATED) as target:
        target.write(written(tmp_path / "house.ifc", map_unit="#13"), "house.ifc")
    report = ingest(store, [tmp_path / "house.ifczip"], Declared())
    assert report.exit_code == 0, report.summary()
    assert report.files[0].path.endswith("house.ifczip/house.ifc")
    assert rows(store, "SELECT name FROM twin.building") == [("一号楼",)]
