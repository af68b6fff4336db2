"""One table of assumptions: a city's own file replaces rows, in loading and in analyses, and says so in results."""

import json
from pathlib import Path

import pytest

from cim.analysis.engine.run import analyse
from cim.catalog.assumptions import read_assumptions
from cim.city import YANGQUAN
from cim.config import Settings
from cim.errors import BadCatalog
from cim.store.connection import Store, initialise
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import MakeStore

OURS = read_assumptions().rows
BROKEN = ["- {id: storey_height}", "storey_height: 3", "- {id: a, value: -1, unit: m, source: x}", ": : :", "- 3"]


def written(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "assumptions.yaml").write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize("name", OURS)
def test_a_citys_file_replaces_a_row_and_leaves_the_others(name: str, tmp_path: Path) -> None:
    row = OURS[name]
    text = json.dumps([{"id": name, "value": row.value + 1.5, "unit": row.unit, "source": "the city's own"}])
    assumptions = read_assumptions(written(tmp_path / "catalog", text))
    assert assumptions[name] == row.value + 1.5
    assert assumptions.sources()[0]["source"] == "the city's own"
    assert {k: v for k, v in assumptions.rows.items() if k != name} == {k: v for k, v in OURS.items() if k != name}
    assert read_assumptions()[name] == row.value


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_is_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadCatalog, match=r"assumptions\.yaml"):
        read_assumptions(written(tmp_path / "catalog", text))


def footprints(path: Path) -> Path:
    """Two footprints of 100 m² in Yangquan: one with storeys alone."""
    ring = [[463000.0, 4192000.0], [463010.0, 4192000.0], [463010.0, 4192010.0], [463000.0, 4192010.0]]
    features = [
        {"type": "Feature", "id": f"b{n}", "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
         "properties": {"storeys": 4, "base": 700.0}}
        for n in range(1)
    ]  # fmt: skip
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::4547"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}), "utf-8")
    return path


def with_catalog(store: Store, folder: Path) -> Store:
    city = YANGQUAN.model_copy(update={"catalog": folder})
    initialise(store.settings, city)
    return Store(store.settings, city, store.catalog, store.url, store.server_url)


@pytest.mark.parametrize("storey_m", [3.0, 2.8, 4.5])
def test_loading_and_analyses_go_by_the_citys_storey(storey_m: float, make_store: MakeStore, tmp_path: Path) -> None:
    row = {"id": "storey_height", "value": storey_m, "unit": "m", "source": "survey of 2024"}
    store = with_catalog(make_store(), written(tmp_path / "catalog", json.dumps([row])))
    ingest(store, [footprints(tmp_path / "building.geojson")], Declared(vertical_datum="city"))
    with store.connect() as connection, connection.cursor() as cursor:
        found = cursor.execute(
            "SELECT flags FROM twin.building WHERE upper_inf(recorded) AND 'height_from_storeys' = ANY(flags)"
        ).fetchall()
        computed = analyse(cursor, store, "cell_statistics", {"cells": "h3:9"})
        from cim.geometry.measures import volumes
        from cim.geometry.stored_form import decode

        blobs = [bytes(b) for (b,) in cursor.execute("SELECT faces FROM cim.body").fetchall()]
    assert len(found) == 1
    assert volumes(decode(blobs)).tolist() == pytest.approx([100.0 * 4 * storey_m])
    sources = {a["id"]: a["source"] for a in computed.computed_from["assumptions"]}
    assert sources["storey_height"] == "survey of 2024"


def test_init_takes_a_catalog_with_assumptions(tmp_path: Path, make_store: MakeStore) -> None:
    folder = written(tmp_path / "catalog", '[{id: storey_height, value: 3.3, unit: m, source: "own"}]')
    settings: Settings = make_store().settings
    initialise(settings, YANGQUAN.model_copy(update={"catalog": folder}))
