"""Sets of 3D tiles that others made: taken whole, placed, re-based, dated; what is broken in them is set aside."""

import json
import os
import shutil
import struct
import time
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import trimesh
from pyproj import Transformer

from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import serving
from tiles.sets import tile_sets
from tiles.tilers import prune_store, reached, run

HERE = (113.58, 37.86, 700.0)
ECEF = Transformer.from_crs(4979, 4978, always_xy=True)


def glb(size: float = 10.0) -> bytes:
    return bytes(trimesh.creation.box([size] * 3).export(file_type="glb"))


def b3dm(content: bytes) -> bytes:
    table = b'{"BATCH_LENGTH":0} '
    table += b" " * (-(28 + len(table)) % 8)
    return struct.pack("<4sIIIIII", b"b3dm", 1, 28 + len(table) + len(content), len(table), 0, 0, 0) + table + content


def placed() -> list[float]:
    """The transform to a place in the city."""
    lon, lat = np.radians(HERE[:2])
    matrix = np.eye(4)
    matrix[:3, 0] = [-np.sin(lon), np.cos(lon), 0]
    matrix[:3, 2] = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    matrix[:3, 1] = np.cross(matrix[:3, 2], matrix[:3, 0])
    matrix[:3, 3] = ECEF.transform(*HERE)
    return [float(v) for v in matrix.T.ravel()]


BOX = {"box": [0, 0, 0, 30, 0, 0, 0, 30, 0, 0, 0, 15]}


def write_set(folder: Path, *, transform: bool = True, version: str = "1.0") -> Path:
    """A root with a b3dm, an external tileset beside it with two glTFs, one of them in a folder with a space."""
    (folder / "far away").mkdir(parents=True)
    (folder / "a.b3dm").write_bytes(b3dm(glb()))
    (folder / "b.glb").write_bytes(glb(4.0))
    (folder / "far away" / "c.glb").write_bytes(glb(6.0))
    address = "url" if version == "1.0" else "uri"
    inner = {
        "asset": {"version": version},
        "geometricError": 5,
        "root": {
            "boundingVolume": BOX,
            "geometricError": 2,
            "refine": "add",
            "content": {address: "b.glb"},
            "children": [
                {"boundingVolume": BOX, "geometricError": 0, "content": {address: "far%20away/c.glb?v=2"}},
            ],
        },
    }
    outer: dict[str, Any] = {
        "asset": {"version": version, "gltfUpAxis": "Z"},
        "geometricError": 100,
        "root": {
            "boundingVolume": BOX,
            "geometricError": 20,
            "refine": "REPLACE",
            "content": {address: "a.b3dm"},
            "children": [{"boundingVolume": BOX, "geometricError": 5, "content": {address: "./inner.json"}}],
        },
    }
    if transform:
        outer["root"]["transform"] = placed()
    (folder / "inner.json").write_text(json.dumps(inner), "utf-8")
    (folder / "tileset.json").write_text(json.dumps(outer), "utf-8")
    return folder


def root_of(store: Store, layer: str = "reality_mesh") -> str:
    with store.connect() as connection:
        row = connection.execute(
            "SELECT name FROM cim.tile_root WHERE layer = %s AND valid @> now()", [layer]
        ).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_set_goes_in_whole_and_comes_out_in_our_tree(store: Store, tmp_path: Path, version: str) -> None:
    folder = write_set(tmp_path / "old town", version=version)
    report = ingest(store, [folder], Declared())
    assert report.exit_code == 0, report.summary()
    (file,) = report.files
    assert (file.layers, file.read, file.loaded, file.refused) == (["reality_mesh"], 3, 3, 0)
    west, south, east, north = file.extent or (0, 0, 0, 0)
    assert west < HERE[0] < east
    assert south < HERE[1] < north
    assert east - west < 0.001
    assert next(iter(run(store, ["reality_mesh"]))).startswith("reality_mesh: 3 tiles, 3 built")
    kept = store.settings.tile_store / "reality_mesh"
    names = reached(kept, [root_of(store)])
    contents = {name for name in names if not name.endswith(".json")}
    assert {(kept / "content" / name).read_bytes() for name in contents} == {
        (folder / name).read_bytes() for name in ("a.b3dm", "b.glb", "far away/c.glb")
    }
    for name in names - contents:
        text = (kept / "tileset" / name).read_text("utf-8")
        assert '"url"' not in text
        assert '"add"' not in text


def test_again_is_unchanged_and_builds_nothing(store: Store, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "old town")
    ingest(store, [folder], Declared())
    layer = store.catalog.layer("reality_mesh")
    first = tile_sets(store, layer)
    again = ingest(store, [folder / "tileset.json"], Declared())
    assert (again.files[0].loaded, again.files[0].unchanged) == (0, 3)
    second = tile_sets(store, layer)
    assert (second.built, second.written_files, second.roots) == (0, 0, first.roots)


def test_a_newer_flight_replaces_the_older_from_its_date(store: Store, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "old town")
    ingest(store, [folder], Declared(date=date(2023, 5, 1)))
    (folder / "b.glb").write_bytes(glb(7.0))
    report = ingest(store, [folder], Declared(date=date(2024, 5, 1)))
    assert report.files[0].updated == 3
    outcome = tile_sets(store, store.catalog.layer("reality_mesh"))
    assert len(set(outcome.roots.values())) == 3, "before, between and since"
    assert prune_store(store) == 0


def test_a_zip_of_a_set_goes_in(store: Store, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "old town")
    archive = tmp_path / "town.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*"):
            file.write(path, path.relative_to(tmp_path))
    report = ingest(store, [archive], Declared())
    assert (report.exit_code, report.files[0].loaded) == (0, 3), report.summary()


def test_what_is_lost_or_broken_is_set_aside(store: Store, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "old town")
    (folder / "b.glb").unlink()
    path = folder / "far away" / "c.glb"
    path.write_bytes(path.read_bytes()[:-20])
    report = ingest(store, [folder], Declared())
    assert report.exit_code == 3
    (file,) = report.files
    assert (file.read, file.loaded, file.refused) == (3, 1, 2)
    assert dict(file.reasons) == {
        "the content of a tile isn't there": 1, "cut short, or longer than it says": 1,
    }  # fmt: skip
    tile_sets(store, store.catalog.layer("reality_mesh"))
    names = reached(store.settings.tile_store / "reality_mesh", [root_of(store)])
    assert sum(not name.endswith(".json") for name in names) == 1


@pytest.mark.parametrize(
    "address", ["../secret.glb", "/etc/passwd", "https://example.org/a.glb", "a/../../secret.glb", "..\\secret.glb", ""]
)
def test_an_address_never_leads_out_of_the_set(store: Store, tmp_path: Path, address: str) -> None:
    folder = write_set(tmp_path / "old town", version="1.1")
    (tmp_path / "secret.glb").write_bytes(glb())
    document = json.loads((folder / "inner.json").read_text("utf-8"))
    document["root"]["content"]["uri"] = address
    (folder / "inner.json").write_text(json.dumps(document), "utf-8")
    (file,) = ingest(store, [folder], Declared()).files
    assert (file.loaded, file.refused) == (2, 1)


def test_a_set_that_refers_to_itself_ends(store: Store, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "old town", version="1.1")
    document = json.loads((folder / "inner.json").read_text("utf-8"))
    document["root"]["children"][0]["content"]["uri"] = "tileset.json"
    (folder / "inner.json").write_text(json.dumps(document), "utf-8")
    (file,) = ingest(store, [folder], Declared()).files
    assert dict(file.reasons) == {"a tileset that refers to itself": 1}
    tile_sets(store, store.catalog.layer("reality_mesh"))


def test_a_set_without_a_place_needs_an_anchor(store: Store, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "model", transform=False)
    report = ingest(store, [folder], Declared())
    assert report.exit_code == 1
    assert report.files[0].setting == "anchor"
    assert "longitude, latitude and height" in (report.files[0].error or "")
    report = ingest(store, [folder], Declared(anchor=HERE))
    assert report.exit_code == 0, report.summary()
    west, south, east, north = report.files[0].extent or (0, 0, 0, 0)
    assert ((west + east) / 2, (south + north) / 2) == (pytest.approx(HERE[0]), pytest.approx(HERE[1]))
    tile_sets(store, store.catalog.layer("reality_mesh"))
    kept = store.settings.tile_store / "reality_mesh" / "tileset"
    root = json.loads((kept / root_of(store)).read_bytes())["root"]["children"][0]
    outer = json.loads((kept / root["content"]["uri"].rsplit("/", 1)[-1]).read_bytes())["root"]
    lon, lat, height = ECEF.transform(*outer["transform"][12:15], direction="INVERSE")
    assert (lon, lat) == (pytest.approx(HERE[0]), pytest.approx(HERE[1]))
    assert height == pytest.approx(HERE[2] + store.city.height_anomaly_m, abs=1e-3), (
        "from the city's height to the ellipsoid's"
    )


def test_a_set_elsewhere_is_refused(store: Store, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "paris")
    document = json.loads((folder / "tileset.json").read_text("utf-8"))
    document["root"]["transform"][12:15] = ECEF.transform(2.35, 48.85, 80.0)
    (folder / "tileset.json").write_text(json.dumps(document), "utf-8")
    report = ingest(store, [folder], Declared())
    assert report.exit_code == 1
    assert "2.3" in (report.files[0].error or "")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"asset":{}}', '{"asset":{"version":"2.0"},"root":{}}', '{"asset":{"version":"1.1"},"root":{}}'],
)
def test_what_is_no_tileset_is_said(store: Store, tmp_path: Path, text: str) -> None:
    (tmp_path / "tileset.json").write_text(text, "utf-8")
    report = ingest(store, [tmp_path / "tileset.json"], Declared())
    assert report.exit_code == 1
    assert report.files[0].error


def test_files_beside_a_set_are_its_own(store: Store, tmp_path: Path) -> None:
    """A folder with a set and a table beside it: the set's glTFs aren't models of their own."""
    write_set(tmp_path / "data" / "old town")
    (tmp_path / "data" / "hydrant.csv").write_text("id,x,y\nh1,500000,4190000\n", "utf-8")
    report = ingest(store, [tmp_path / "data"], Declared(crs="EPSG:4547"))
    assert [Path(file.path).name for file in report.files] == ["hydrant.csv", "tileset.json"]


def test_our_own_tiles_are_a_set_too(store: Store, tmp_path: Path, sample_folder: Path) -> None:
    """What this program serves it can take in again: dozens of contents in nested tileset files, to the same names."""
    ingest(store, [sample_folder / "building_core.city.jsonl"], Declared())
    list(run(store, ["building"]))
    made = store.settings.tile_store / "building"
    shutil.copytree(made, tmp_path / "set")
    root = (made / "tileset" / root_of(store, "building")).read_bytes().replace(b'"../', b'"')
    (tmp_path / "set" / "tileset.json").write_bytes(root)
    for folder in (tmp_path / "set" / "tileset", tmp_path / "set" / "content"):
        assert any(folder.iterdir())
    report = ingest(store, [tmp_path / "set"], Declared())
    assert report.exit_code == 0, report.summary()
    tile_sets(store, store.catalog.layer("reality_mesh"))
    ours, theirs = (
        {n for n in reached(store.settings.tile_store / layer, [root_of(store, layer)]) if n.endswith(".glb")}
        for layer in ("building", "reality_mesh")
    )
    assert ours == theirs
    assert len(ours) > 40


def test_a_layer_loaded_beside_a_running_server_is_tiled_by_it(store: Store, tmp_path: Path) -> None:
    """Nobody has to run `cim tiles` for what an upload, a feed or an officer brings first."""
    state = {"CIM_STATE": str(store.settings.state), "CIM_DATABASE_URL": store.url, "CIM_WORKERS": "1"}
    with serving(os.environ | state) as address:
        assert ingest(store, [write_set(tmp_path / "set")], Declared(dataset="set")).exit_code == 0
        await_tiles(address)
    assert root_of(store)


def await_tiles(address: str) -> None:
    deadline = time.monotonic() + 60
    while httpx.get(f"{address}/3dtiles/reality_mesh/tileset.json").status_code != 200:
        assert time.monotonic() < deadline, "it wasn't tiled"
        time.sleep(0.2)


def test_a_layer_that_cannot_be_tiled_keeps_no_other_from_its_tiles(
    store: Store, sample_folder: Path, tmp_path: Path
) -> None:
    state = {"CIM_STATE": str(store.settings.state), "CIM_DATABASE_URL": store.url, "CIM_WORKERS": "1"}
    store.settings.tile_store.mkdir(parents=True)
    (store.settings.tile_store / "building").write_text("where the folder should be")
    with serving(os.environ | state) as address:
        for path, dataset in (
            (sample_folder / "building_core.city.jsonl", "town"),
            (write_set(tmp_path / "set"), "set"),
        ):
            assert ingest(store, [path], Declared(dataset=dataset)).exit_code == 0
        await_tiles(address)
        assert httpx.get(f"{address}/3dtiles/building/tileset.json").status_code == 404


def pnts(points: int = 3, **header: object) -> bytes:
    """A pnts of some points, or with what its feature table says replaced."""
    positions = np.arange(3 * points, dtype="<f4").tobytes()
    table = json.dumps({"POINTS_LENGTH": points, "POSITION": {"byteOffset": 0}} | header).encode()
    table += b" " * (-len(table) % 8)
    length = 28 + len(table) + len(positions)
    return struct.pack("<4sIIIIII", b"pnts", 1, length, len(table), len(positions), 0, 0) + table + positions


def lengthened(content: bytes, field: int) -> bytes:
    """The content with one of the four lengths of its tables beyond its end."""
    return content[: 12 + 4 * field] + struct.pack("<I", len(content)) + content[16 + 4 * field :]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (pnts(), None),
        (b3dm(glb()), None),
        *((lengthened(pnts(), field), "longer") for field in range(4)),
        *((lengthened(b3dm(glb()), field), "longer") for field in range(4)),
        (pnts(POINTS_LENGTH=None, POSITION=None), "can't be read"),
        (pnts().replace(b'"POINTS_LENGTH"', b'"POINTS_LENGHT"'), "can't be read"),
        (pnts().replace(b'{"POINTS', b'["POINTS'), "can't be read"),
    ],
)
def test_tables_of_a_content_that_do_not_hold_are_set_aside(
    store: Store, tmp_path: Path, content: bytes, fault: str | None
) -> None:
    folder = write_set(tmp_path / "old town", version="1.0")
    (folder / "a.b3dm").write_bytes(content)
    (file,) = ingest(store, [folder], Declared()).files
    faults = " ".join(map(str, file.reasons))
    assert (fault in faults) if fault else not faults


def test_what_is_served_of_a_set_is_read_by_py3dtiles(store: Store, tmp_path: Path) -> None:
    from py3dtiles.tileset.content import Pnts, read_binary_tile_content

    folder = write_set(tmp_path / "old town", version="1.0")
    (folder / "a.b3dm").write_bytes(pnts(7))
    assert ingest(store, [folder], Declared()).exit_code == 0
    tile_sets(store, store.catalog.layer("reality_mesh"))
    served = [p for p in (store.settings.tile_store / "reality_mesh").rglob("*") if p.suffix in (".pnts", ".b3dm")]
    (content,) = [read_binary_tile_content(path) for path in served]
    assert isinstance(content, Pnts)
    assert content.body.feature_table.nb_points() == 7
