"""Oblique photogrammetry: a delivery made with the same converter, as metadata.xml and OSGB tiles with finer levels."""

import contextlib
import io
import json
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer

from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.formats.scenes.osgt import read_scene
from ingest.load.pipeline import ingest
from tests.factory import khronos_findings
from tiles.sets import tile_sets
from tiles.tilers import reached

osgconv = pytest.mark.skipif(shutil.which("osgconv") is None, reason="osgconv isn't installed (openscenegraph)")
EAST, NORTH = 500_000.0, 4_190_000.0
CITY = Declared(vertical_datum="city")


def png(wide: int = 8, tall: int = 4) -> bytes:
    """Red grows to the right, green downwards."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"".join(bytes((x * 32, y * 60, 90)) for x in range(wide)) for y in range(tall))
    header = struct.pack(">IIBBBBB", wide, tall, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def convert(source: Path, target: Path) -> None:
    subprocess.run(
        ["osgconv", "-O", "noRotation", source.name, target.resolve()],
        check=True,
        capture_output=True,
        cwd=source.parent,
    )


COARSE = """#Ascii Scene
#Version 161
#Generator OpenSceneGraph 3.6.5

osg::Group {
  UniqueID 1
  Children 1 {
    osg::PagedLOD {
      UniqueID 2
      CenterMode USER_DEFINED_CENTER
      UserCenter 20 20 2.5 30
      RangeMode PIXEL_SIZE_ON_SCREEN
      RangeList 2 {
        0 400
        400 1e+30
      }
      RangeDataList 2 {
        ""
        "FINER"
      }
      PriorityList 2 {
        0 1
        0 1
      }
      Children 1 {
        osg::Geode {
          UniqueID 3
          Drawables 1 {
            osg::Geometry {
              UniqueID 4
              PrimitiveSetList 1 {
                osg::DrawArrays {
                  UniqueID 5
                  Mode TRIANGLE_STRIP
                  First 0
                  Count 4
                }
              }
              VertexArray TRUE {
                osg::Vec3Array {
                  UniqueID 6
                  Binding BIND_PER_VERTEX
                  vector 4 {
                    0 0 0
                    40 0 0
                    0 40 0
                    40 40 5
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}
"""


def write_delivery(folder: Path, srs: str = "EPSG:4547", origin: str = f"{EAST},{NORTH},700", tiles: int = 1) -> Path:
    """Tiles of 40 m beside each other: a coarse level of two triangles, a finer one with a texture."""
    (folder / "Data").mkdir(parents=True)
    (folder / "metadata.xml").write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<ModelMetadata version="1"><SRS>{srs}</SRS>'
        f"<SRSOrigin>{origin}</SRSOrigin><Texture><ColorSource>Visible</ColorSource></Texture></ModelMetadata>",
        "utf-8",
    )
    work = folder / "work"
    work.mkdir()
    (work / "t.png").write_bytes(png())
    (work / "m.mtl").write_text("newmtl a\nKd 1 1 1\nmap_Kd t.png\n", "utf-8")
    for k in range(tiles):
        name = f"Tile_+00{k}_+000"
        tile = folder / "Data" / name
        tile.mkdir()
        x = 40 * k
        (work / "fine.obj").write_text(
            f"mtllib m.mtl\nusemtl a\nv {x} 0 0\nv {x + 40} 0 0\nv {x + 40} 40 5\nv {x} 40 5\nv {x + 20} 20 9\n"
            "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvt 0.5 0.5\nf 1/1 2/2 5/5\nf 2/2 3/3 5/5\nf 3/3 4/4 5/5\nf 4/4 1/1 5/5\n",
            "utf-8",
        )
        convert(work / "fine.obj", tile / f"{name}_L20_0.osgb")
        text = COARSE.replace("FINER", f"{name}_L20_0.osgb")
        for px, py, pz in ((40, 40, 5), (0, 40, 0), (40, 0, 0), (0, 0, 0)):  # the largest first: none is moved twice
            text = text.replace(f" {px} {py} {pz}\n", f" {px + x}.0 {py}.0 {pz}.0\n")
        (work / "coarse.osgt").write_text(text, "utf-8")
        convert(work / "coarse.osgt", tile / f"{name}.osgb")
    shutil.rmtree(work)
    return folder


def tileset(store: Store) -> tuple[Path, dict[str, Any], set[str]]:
    tile_sets(store, store.catalog.layer("reality_mesh"))
    with store.connect() as connection:
        row = connection.execute("SELECT name FROM cim.tile_root WHERE layer = 'reality_mesh'").fetchone()
    assert row is not None
    folder = store.settings.tile_store / "reality_mesh"
    root = json.loads((folder / "tileset" / row[0]).read_bytes())["root"]
    return folder, root, reached(folder, [row[0]])


def follow(folder: Path, tile: dict[str, Any]) -> dict[str, Any]:
    """Return the tile that a reference to a tileset file leads to."""
    name = tile["content"]["uri"].rsplit("/", 1)[-1]
    found: dict[str, Any] = json.loads((folder / "tileset" / name).read_bytes())["root"]
    return found


@osgconv
def test_a_delivery_goes_in_with_its_levels(store: Store, tmp_path: Path) -> None:
    folder = write_delivery(tmp_path / "飞行一", tiles=2)
    report = ingest(store, [folder], CITY)
    assert report.exit_code == 0, report.summary()
    (file,) = report.files
    assert (file.layers, file.read, file.loaded) == (["reality_mesh"], 4, 4)
    assert file.crs == "EPSG:4547"
    kept, root, names = tileset(store)
    assert sum(name.endswith(".glb") for name in names) == 4
    delivery = follow(kept, root["children"][0])
    assert len(delivery["children"]) == 2
    coarse = follow(kept, delivery["children"][0])
    assert coarse["refine"] == "REPLACE"
    assert coarse["geometricError"] == pytest.approx(2 * 30 * 16 / 400)
    (fine,) = coarse["children"]
    assert fine["geometricError"] == 0
    assert khronos_findings(kept / "content" / name for name in names if name.endswith(".glb")) == []


@osgconv
def test_vertices_stand_where_the_origin_says(store: Store, tmp_path: Path) -> None:
    ingest(store, [write_delivery(tmp_path / "one")], CITY)
    kept, root, names = tileset(store)
    to_ecef = Transformer.from_crs(4979, 4978, always_xy=True)
    to_degrees = Transformer.from_crs(4547, 4326, always_xy=True)
    found = []
    for name in names:
        if name.endswith(".glb"):
            blob = (kept / "content" / name).read_bytes()
            length = struct.unpack("<I", blob[12:16])[0]
            document = json.loads(blob[20 : 20 + length])
            view = document["bufferViews"][
                document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]["bufferView"]
            ]
            start = 20 + length + 8 + view["byteOffset"]
            local = np.frombuffer(blob[start : start + view["byteLength"]], "<f4").reshape(-1, 3).astype(float)
            y_up = local + document["nodes"][0]["translation"]
            found.append(np.column_stack([y_up[:, 0], -y_up[:, 2], y_up[:, 1]]))
    rise = 700 + store.city.height_anomaly_m
    for x, y, z in ((0, 0, 0), (40, 0, 0), (40, 40, 5), (20, 20, 9)):
        truth = to_ecef.transform(*to_degrees.transform(EAST + x, NORTH + y), rise + z)
        off = min(np.linalg.norm(points - truth, axis=1).min() for points in found)
        assert off < 0.005, (x, y, z)
    _west, _south, _east, _north, low, high = root["boundingVolume"]["region"]
    assert high - low == pytest.approx(9.0, abs=1e-3)


@osgconv
def test_a_plane_at_a_place_is_placed_too(store: Store, tmp_path: Path) -> None:
    lon, lat = Transformer.from_crs(4547, 4326, always_xy=True).transform(EAST, NORTH)
    folder = write_delivery(tmp_path / "enu", srs=f"ENU:{lat:.9f},{lon:.9f}", origin="0,0,700")
    report = ingest(store, [folder], CITY)
    assert report.exit_code == 0, report.summary()
    west, south, *_ = report.files[0].extent or (0, 0, 0, 0)
    assert (west, south) == (pytest.approx(lon, abs=1e-6), pytest.approx(lat, abs=1e-6))


@osgconv
def test_a_texture_keeps_its_side_up(tmp_path: Path) -> None:
    (tmp_path / "t.png").write_bytes(png())
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 1 1\nmap_Kd t.png\n", "utf-8")
    (tmp_path / "m.obj").write_text(
        "mtllib m.mtl\nusemtl a\nv 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nf 1/1 2/2 3/3\n", "utf-8"
    )
    convert(tmp_path / "m.obj", tmp_path / "m.osgt")
    (scene,) = read_scene((tmp_path / "m.osgt").read_text("utf-8"))
    (part,) = scene.parts
    assert part.uv is not None
    assert part.image is not None
    picture = np.asarray(Image.open(io.BytesIO(part.image)).convert("RGB")).astype(int)
    # v = 0 of OBJ is the picture's lower edge, where green is strongest; glTF's v = 0 is the first row of the file
    corner = part.uv[np.flatnonzero((part.points[:, :2] == 0).all(axis=1))[0]]
    row = min(int(corner[1] * 4), 3)
    assert picture[row, 0, 1] > 140
    assert picture[3 - row, 0, 1] < 60


@osgconv
def test_a_broken_tile_is_set_aside_and_the_others_go_in(store: Store, tmp_path: Path) -> None:
    folder = write_delivery(tmp_path / "two", tiles=2)
    fine = next((folder / "Data").glob("*000_+000/*_L20_0.osgb"))
    fine.write_bytes(fine.read_bytes()[:60])
    next((folder / "Data").glob("*001_+000/*_L20_0.osgb")).unlink()
    report = ingest(store, [folder], CITY)
    assert report.exit_code == 3
    (file,) = report.files
    assert (file.read, file.loaded, file.refused) == (4, 2, 2), report.summary()
    assert "a finer tile isn't there" in file.reasons
    tileset(store)


@osgconv
def test_the_same_delivery_is_unchanged(store: Store, tmp_path: Path) -> None:
    folder = write_delivery(tmp_path / "one")
    ingest(store, [folder], CITY)
    again = ingest(store, [folder / "metadata.xml"], CITY)
    assert (again.files[0].loaded, again.files[0].unchanged) == (0, 2)


def test_what_nothing_tells_is_an_error(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "empty"
    (folder / "Data").mkdir(parents=True)

    def said(text: str, declared: Declared = CITY) -> str:
        (folder / "metadata.xml").write_text(f"<ModelMetadata>{text}</ModelMetadata>", "utf-8")
        report = ingest(store, [folder / "metadata.xml"], declared)
        assert report.exit_code == 1
        return report.files[0].error or ""

    monkeypatch.setattr("ingest.formats.scenes.osgb.shutil.which", lambda _: None)
    assert "apt install openscenegraph" in said("<SRS>EPSG:4547</SRS>")
    monkeypatch.setattr("ingest.formats.scenes.osgb.shutil.which", lambda _: "/bin/false")
    assert "nothing tells its CRS" in said("")
    assert "vertical datum" in said("<SRS>EPSG:4547</SRS>", Declared())
    assert "SRSOrigin" in said("<SRS>EPSG:4547</SRS><SRSOrigin>a,b,c</SRSOrigin>")
    assert "no OSGB tiles" in said("<SRS>EPSG:4547</SRS>")
    (folder / "Data" / "Tile_1").mkdir()
    (folder / "Data" / "Tile_1" / "Tile_1.osgb").write_bytes(b"nothing")
    assert "none of its 1 tiles can be read" in said("<SRS>EPSG:4547</SRS>")


@pytest.mark.parametrize("text", ["", "}", "osg::Group {", "osg::Geometry { VertexArray TRUE { vector 3 { 1 2 } } }"])
def test_a_scene_that_breaks_off_is_no_scene(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert read_scene(text) == []
