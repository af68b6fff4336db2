"""Tilesets of buildings: against PROJ, the Khronos validator, our own check, and the law of incremental updates."""

import json
from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer
from scipy.spatial import cKDTree

from cim.catalog.model import Layer
from cim.geometry.stored_form import decode
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import DELFT, ZURICH, MakeStore
from tests.factory import EAST, NORTH, khronos_findings, write_cityjson
from tiles.build import tile_layer
from tiles.check import Findings, check_tileset

ROOT = Path(__file__).parents[2]
CITY_HEIGHTS = Declared(vertical_datum="city")

# The operations written out, independent of the product's choice of them. Swiss: CH1903+ LV95 to WGS 84 by the
# official three-parameter shift (swisstopo 2016: 674.374, 15.056, 405.346), of the horizontal place alone: taken at
# 500 m above the ellipsoid it moves a place by 2 cm.
ZURICH_TO_WGS84 = (
    "+proj=pipeline +step +inv +proj=somerc +lat_0=46.9524055555556 +lon_0=7.43958333333333 +k_0=1"
    " +x_0=2600000 +y_0=1200000 +ellps=bessel +step +proj=cart +ellps=bessel"
    " +step +proj=helmert +x=674.374 +y=15.056 +z=405.346 +step +inv +proj=cart +ellps=WGS84"
)
GEODETIC_TO_ECEF = "+proj=cart +ellps=WGS84"


def building(store: Store) -> Layer:
    return store.catalog.layers["building"]


def checked(store: Store) -> Findings:
    layer = building(store)
    names = [f.name for f in layer.public_fields]
    with store.connect() as connection:
        row = connection.execute(
            "SELECT name FROM cim.tile_root WHERE layer = %s AND valid @> now()", [layer.id]
        ).fetchone()
        rows = connection.execute(
            f"SELECT id, {', '.join(names)} FROM twin.building"
            " WHERE upper_inf(recorded) AND valid @> now() AND lods[cardinality(lods)] >= '1'"
        ).fetchall()
    assert row
    return check_tileset(folder(store), row[0], {r[0]: dict(zip(names, r[1:], strict=True)) for r in rows})


def folder(store: Store) -> Path:
    return store.settings.tile_store / "building"


def files(store: Store) -> set[str]:
    return {p.name for p in folder(store).glob("*/*")}


@pytest.fixture
def zurich(make_store: MakeStore, shared_data: Path) -> Store:
    store = make_store(ZURICH)
    ingest(store, [shared_data / "cityjson_zurich/zurich_subset_lod2.json"], CITY_HEIGHTS)
    tile_layer(store, building(store))
    return store


def test_zurichs_tileset_keeps_all_rules(zurich: Store) -> None:
    findings = checked(zurich)
    assert findings.problems == []
    assert len(findings.leaf_count) == 161


def test_leaf_vertices_are_the_sources_through_a_written_out_pipeline(zurich: Store) -> None:
    with zurich.connect() as connection:
        blobs = connection.execute("SELECT faces FROM cim.body").fetchall()
    source = decode([row[0] for row in blobs]).vertices
    lon, lat, _ = Transformer.from_pipeline(ZURICH_TO_WGS84).transform(*source[:, :2].T, np.zeros(len(source)))
    expected = np.stack(Transformer.from_pipeline(GEODETIC_TO_ECEF).transform(lon, lat, source[:, 2] + 47.0), axis=1)
    leaves = [c for c in checked(zurich).contents if c.is_leaf]
    vertices = np.concatenate([leaf.ecef(p) for leaf in leaves for p in leaf.glb.primitives])
    assert len(vertices) > 3000
    nearest, _ = cKDTree(expected).query(vertices)
    assert nearest.max() < 0.01


def test_roofs_and_walls_are_told_apart(zurich: Store) -> None:
    for content in checked(zurich).contents:
        materials = [content.glb.material(p) for p in content.glb.primitives]
        assert set(materials) <= {"RoofSurface", "WallSurface"}
        for primitive in content.glb.primitives:
            up = content.glb.accessor(primitive["attributes"]["NORMAL"])[:, 1]
            if content.glb.material(primitive) == "RoofSurface":
                assert np.median(up) > 0.3


@pytest.mark.client
def test_every_glb_passes_the_khronos_validator(zurich: Store, make_store: MakeStore, shared_data: Path) -> None:
    delft = make_store(DELFT)
    paths = [shared_data / "cityjsonseq_3dbag/tile_901_trimmed.jsonl", shared_data / "cityjson_delft3dbag/delft.json"]
    ingest(delft, paths, Declared())
    tile_layer(delft, building(delft))
    glbs = [p for store in (zurich, delft) for p in folder(store).glob("content/*.glb")]
    assert khronos_findings(glbs) == []
    assert len(glbs) > 100


def town(count: int, changed: dict[int, float] | None = None) -> dict[str, dict[str, object]]:
    heights = {i: 9.0 + i % 5 for i in range(count)} | (changed or {})
    return {
        f"B{i:04}": {"box": (EAST + 60 * (i % 20), NORTH + 60 * (i // 20), 700, 20, 12, heights[i])}
        for i in range(count)
    }


def test_again_builds_nothing_and_one_change_rebuilds_its_leaf_and_ancestors(
    make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store()
    ingest(store, [write_cityjson(tmp_path / "b.city.json", town(400))], CITY_HEIGHTS)
    first = tile_layer(store, building(store))
    assert first.built == first.tiles > 30
    again = tile_layer(store, building(store))
    assert (again.built, again.written_files) == (0, 0)
    before = files(store)
    ingest(store, [write_cityjson(tmp_path / "b.city.json", town(400, {137: 30.0}))], CITY_HEIGHTS)
    changed = tile_layer(store, building(store))
    assert changed.built == 4  # detail, blocks, coarse, far
    assert checked(store).problems == []

    fresh = make_store()
    ingest(fresh, [write_cityjson(tmp_path / "b.city.json", town(400, {137: 30.0}))], CITY_HEIGHTS)
    tile_layer(fresh, building(fresh))
    assert files(fresh) <= files(store)
    assert files(store) - files(fresh) <= before


def test_a_past_date_is_one_more_root_over_shared_content(store: Store, tmp_path: Path) -> None:
    for year, changed in ((2019, {}), (2023, {7: 40.0})):
        options = Declared.model_validate({"vertical_datum": "city", "date": f"{year}-01-01", "dataset": "survey"})
        ingest(store, [write_cityjson(tmp_path / "b.city.json", town(60, changed))], options)
    outcome = tile_layer(store, building(store))
    starts = [store.city.clock.day(interval[0]).year if interval[0] else None for interval in outcome.roots]
    assert starts == [None, 2019, 2023]
    assert len(set(outcome.roots.values())) == 3


def test_our_check_sees_a_volume_moved_off_its_content(store: Store, tmp_path: Path) -> None:
    ingest(store, [write_cityjson(tmp_path / "b.city.json", town(30))], CITY_HEIGHTS)
    tile_layer(store, building(store))
    assert checked(store).problems == []
    for path in folder(store).glob("tileset/*.json"):
        text = path.read_text()
        document = json.loads(text)
        tile = document["root"]
        while "children" in tile:
            tile = tile["children"][0]
        if "content" in tile and tile["content"]["uri"].endswith(".glb"):
            tile["content"]["boundingVolume"]["region"][0] += 5000 / 6.4e6
            path.write_text(json.dumps(document))
    assert any("outside its volume" in problem for problem in checked(store).problems)
