"""What the page is answered of each kind that is drawn, at a moment: its tiles of then, none before there were any."""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import get_args

import httpx
import numpy as np

from cim.store.kinds import KINDS, Drawing
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import MakeStore, serving
from tests.factory import EAST, NORTH, write_cityjson, write_terrain
from tests.ingest.test_pointcloud import write_cloud
from tests.ingest.test_tileset import glb, write_set
from tiles.tilers import TILERS, run


def building(folder: Path, year: int) -> Path:
    box = (EAST, NORTH, 700, 10, 10, year - 2000)
    return write_cityjson(folder / "building.city.json", {"B1": {"type": "Building", "box": box}})


def terrain(folder: Path, year: int) -> Path:
    heights = np.full((40, 40), float(year - 1300))
    return write_terrain(folder / "terrain.tif", heights, (EAST, NORTH, EAST + 400, NORTH + 400), "EPSG:4547")


def cloud(folder: Path, year: int) -> Path:
    points = np.column_stack([EAST + np.arange(50.0), NORTH + np.arange(50.0), np.full(50, float(year - 1300))])
    return write_cloud(folder / "point_cloud.las", points)


def tileset(folder: Path, year: int) -> Path:
    written = write_set(folder / "town")
    (written / "b.glb").write_bytes(glb(float(year - 2000)))
    return written


DELIVERIES: dict[Drawing, Callable[[Path, int], Path]] = {
    "features": building,
    "ground": terrain,
    "cloud": cloud,
    "sets": tileset,
}


def test_each_way_of_drawing_has_its_tiler_and_is_tested_here() -> None:
    assert set(TILERS) == set(DELIVERIES) == set(get_args(Drawing))
    assert {kind.drawing for kind in KINDS.values()} - {None} == set(TILERS)


def test_tiles_are_those_of_the_moment(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    layers: dict[Drawing, str] = {}
    for year in (2021, 2023):
        for drawing, write in DELIVERIES.items():
            folder = tmp_path / f"{year}-{drawing}"
            folder.mkdir()
            report = ingest(store, [write(folder, year)], Declared(date=date(year, 5, 1), vertical_datum="city"))
            assert report.exit_code == 0, report.summary()
            (layers[drawing],) = report.files[0].layers
    assert len(list(run(store))) >= len(DELIVERIES)
    environment = os.environ | {"CIM_STATE": str(store.settings.state), "CIM_DATABASE_URL": store.url}
    with serving(environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        roots: dict[str, set[bytes]] = {layer: set() for layer in layers.values()}
        for at, tiled in (("2020-01-01", False), ("2022-01-01", True), ("2024-01-01", True), ("", True)):
            catalog = client.get("/viewer/catalog.json", params={"at": at} if at else {}).json()
            tree = {layer["id"]: layer for layer in catalog["layers"]}
            for drawing, layer in layers.items():
                assert tree[layer]["drawing"] == drawing
                assert (tree[layer]["count"] > 0) is tiled or not tree[layer]["counted"], (at, layer)
                path = "/terrain/layer.json" if drawing == "ground" else f"/3dtiles/{layer}/tileset.json"
                answer = client.get(path, params={"at": at} if at else {})
                # what the tree says is what is served: the page asks for no root that it says there isn't
                says = catalog["terrain"] if drawing == "ground" else tree[layer]["bodies"]
                assert says is (answer.status_code == 200), (at, layer)
                if tiled:
                    assert says, (at, layer)
                    roots[layer].add(answer.content)
                elif says:  # a root of then, which leads to nothing
                    assert drawing != "ground"
                    assert not {"content", "children"} & set(answer.json()["root"]), (at, layer)
        assert {layer: len(different) for layer, different in roots.items()} == dict.fromkeys(layers.values(), 2)
        days = [moment[:10] for moment in client.get("/viewer/catalog.json").json()["moments"]]
        assert len(days) == 2
