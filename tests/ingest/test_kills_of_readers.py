"""Kill -9 while models, photogrammetry and clouds go in, while roofs are made, while a feed runs: whole or absent."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.budget import draws
from tests.conftest import MakeStore
from tests.factory import cityjson
from tests.ingest.test_appearance import gradient, model
from tests.ingest.test_mesh import textured
from tests.ingest.test_osgb import write_delivery
from tests.ingest.test_reconstruct import EAST, GRID, HOUSES, NORTH, street, write_las
from tests.ingest.test_tileset import write_set
from tests.test_kills import killed, seconds_of

KILLS = 8
SAID = """vertical_datum = "city"
dataset = "mixed"
[files."wedge.obj"]
layer = "building"
anchor = [113.58, 37.86, 712.5]
[files."metadata.xml"]
dataset = "oblique"
[files."tileset.json"]
dataset = "set"
[files."cloud.laz"]
crs = "EPSG:4547"
"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with an image, a textured city model, OSGB, a set of 3D Tiles, a cloud, and many small city models."""
    folder = tmp_path_factory.mktemp("mixed")
    textured(folder, ".obj")
    gradient(folder / "look/south.png")
    gradient(folder / "look/tile.png")
    (folder / "house.city.json").write_text(json.dumps(model()), "utf-8")
    for number in range(10):
        boxes = {
            f"n{number}-{k}": {"box": (EAST + 30 * k, NORTH + 2000 + 30 * number, 700, 20, 10, 9)} for k in range(40)
        }
        (folder / f"part{number}.city.json").write_text(json.dumps(cityjson(boxes)), "utf-8")
    if shutil.which("osgconv"):
        write_delivery(folder / "oblique")
    write_set(folder / "set")
    write_las(folder / "cloud.laz", *street())
    (folder / "dataset.toml").write_text(SAID, "utf-8")
    return folder


def held(store: Store) -> list[Any]:
    with store.connect() as connection:
        features = connection.execute("SELECT id, content FROM twin.building ORDER BY id").fetchall()
        assets = connection.execute("SELECT layer, id, sha256 FROM cim.asset ORDER BY 1, 2").fetchall()
        loads = connection.execute("SELECT count(*) FROM cim.quarantine").fetchone()
    return [features, assets, loads]


def test_a_mixed_delivery_is_killed_at_random_moments(make_store: MakeStore, mixed: Path) -> None:
    undisturbed = make_store()
    takes_s = seconds_of(undisturbed, ["ingest", str(mixed)])
    whole = held(undisturbed)
    assert len(whole[0]) == 402
    assert {layer for layer, *_ in whole[1]} >= {"point_cloud", "reality_mesh"}

    store = make_store()
    nothing = held(store)
    hits = kills = 0
    for chance in draws(11, KILLS):
        kills += 1
        hits += killed(store, ["ingest", str(mixed)], chance.uniform(0.1, takes_s))
        assert held(store) in (nothing, whole)
    assert hits >= kills // 3
    report = ingest(store, [mixed], Declared())
    assert report.exit_code == 0, report.summary()
    assert held(store) == whole
    unfinished = [p for p in store.settings.asset_store.rglob("*") if p.is_file() and ".incoming" not in p.parts]
    kept = {p.name for p in unfinished}
    assert kept >= {sha256 for *_, sha256 in whole[1]}


def test_making_roofs_is_killed_at_random_moments(make_store: MakeStore, tmp_path: Path) -> None:
    shapes = [shapely.transform(s, lambda p: np.add(p, (EAST, NORTH))) for s in HOUSES.values()]
    gpd.GeoDataFrame({"id": list(HOUSES)}, geometry=shapes, crs=GRID).to_file(
        tmp_path / "building.gpkg", driver="GPKG", engine="pyogrio"
    )
    write_las(tmp_path / "cloud.laz", *street())

    def made() -> Store:
        store = make_store()
        assert ingest(store, [tmp_path], Declared(crs=GRID, vertical_datum="city")).exit_code == 0
        return store

    undisturbed, store = made(), made()
    before = held(store)
    takes_s = seconds_of(undisturbed, ["reconstruct"])
    whole = held(undisturbed)
    assert whole != before
    for chance in draws(5, KILLS // 2):
        killed(store, ["reconstruct"], chance.uniform(0.1, takes_s))
        assert held(store) in (before, whole)
    assert held(store) == whole or seconds_of(store, ["reconstruct"])
    assert held(store) == whole


def test_a_drop_folder_is_killed_while_it_is_taken_in(make_store: MakeStore, tmp_path: Path) -> None:
    """What was dropped is loaded once, and is either still there or moved away."""
    store = make_store()
    folder = tmp_path / "drop"
    folder.mkdir()
    store.settings.feeds_file.parent.mkdir(parents=True, exist_ok=True)
    store.settings.feeds_file.write_text(
        f'[field]\ndrop = "{folder}"\nevery = "1s"\nlayer = "hydrant"\ncrs = "EPSG:4547"\n', "utf-8"
    )
    total = 0
    for number, chance in enumerate(draws(3, KILLS // 2)):
        rows = "".join(f"D{number}-{k},{462000 + k},{4190000 + number}\n" for k in range(300))
        (folder / f"{number}.csv").write_text(f"id,x,y\n{rows}", "utf-8")
        total += 300
        time.sleep(0.1)
        killed(store, ["feeds", "run", "field"], chance.uniform(0.5, 3.0))
    seconds_of(store, ["feeds", "run", "field"])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and list(folder.glob("*.csv")):
        time.sleep(1)
        seconds_of(store, ["feeds", "run", "field"])
    with store.connect() as connection:
        row = connection.execute("SELECT count(*), count(DISTINCT id) FROM twin.hydrant").fetchone()
    assert row == (total, total)
    assert not list(folder.glob("*.csv"))
