"""The law of survey dates: a layer is as old as its own surveys, a version as the one that brought it; undo restores.

Random deliveries of some layers of one dataset, of any dates or none, some of them taken back.
"""

import csv
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from cim.access.asker import Asker
from cim.loads.undo import undo
from cim.read.layer_summary import layer_datasets
from cim.read.layers import Query, features, provenance
from cim.store.connection import Cursor, Store, initialise
from cim.write.export import Extract, export
from ingest.delivery.declared import Declared
from ingest.load.edit import Edit, apply_edit
from ingest.load.pipeline import ingest
from tests.conftest import MakeStore
from tests.factory import write_terrain

LAYERS = ("hydrant", "tree", "grid_cell", "terrain")
DATES = (None, date(2018, 5, 1), date(2020, 2, 29), date(2021, 7, 9), date(2024, 1, 31))
IDS = ("a", "b", "c")
Dates = dict[str, Any]


def write(folder: Path, layer: str, rng: random.Random) -> None:
    if layer == "terrain":
        west, south = 463_000.0, 4_192_000.0
        heights = [[700.0 + rng.randrange(3)] * 4] * 4
        write_terrain(folder / "terrain.tif", heights, (west, south, west + 40, south + 40), "EPSG:4547")
        return
    made = []
    for number, identifier in enumerate(IDS):
        x, y = 113.58 + number * 1e-3, 37.86
        ring = [[x, y], [x + 5e-4, y], [x + 5e-4, y + 5e-4], [x, y]]
        shape = {"type": "Polygon", "coordinates": [ring]} if layer == "grid_cell" else point(x, y)
        properties = {"note": rng.randrange(2)}
        made.append({"type": "Feature", "id": f"{layer}-{identifier}", "properties": properties, "geometry": shape})
    (folder / f"{layer}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": made}), "utf-8")


def point(x: float, y: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [x, y]}


def deliver(store: Store, folder: Path, layers: list[str], day: date | None, rng: random.Random) -> int:
    folder.mkdir()
    for layer in layers:
        write(folder, layer, rng)
    said = Declared(dataset="d", date=day, vertical_datum="city", licence="open")
    report = ingest(store, [folder], said)
    assert report.exit_code == 0, report.summary()
    assert report.load is not None
    return report.load


@contextmanager
def reading(store: Store) -> Iterator[Cursor]:
    with store.connect() as connection, connection.cursor() as cursor:
        yield cursor


def dates(store: Store, layer: str) -> Dates:
    """All that is known of a layer's age: of the dataset, and of each version by when it holds."""
    with reading(store) as cursor:
        (of_layer,) = layer_datasets(cursor, store.catalog.layers[layer]) or [("", None, None, 0)]
        columns = "id, lower(valid), upper(valid), load, surveyed"
        rows = cursor.execute(f'SELECT {columns} FROM twin."{layer}" WHERE upper_inf(recorded)'.encode()).fetchall()
    return {"layer": of_layer[1], "versions": sorted(rows, key=repr)}


@pytest.mark.parametrize("seed", range(4))
def test_a_layer_is_as_old_as_its_own_surveys(store: Store, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    standing: list[tuple[int, list[str], date | None]] = []
    before: dict[str, Dates] | None = None  # the last load, which may be taken back
    for step in range(9):
        if before and rng.random() < 0.4:
            load, _, _ = standing.pop()
            with reading(store) as cursor:
                undo(cursor, store, load)
                cursor.connection.commit()
            assert {layer: dates(store, layer) for layer in LAYERS} == before
            before = None
            continue
        layers, day = rng.sample(LAYERS, rng.choice([1, 1, 2])), rng.choice(DATES)
        before = {layer: dates(store, layer) for layer in LAYERS}
        standing.append((deliver(store, tmp_path / str(step), layers, day, rng), layers, day))
        day_of = {load: of for load, _, of in standing}
        for layer in LAYERS:
            known = dates(store, layer)
            assert layer in layers or known == before[layer], "another layer was delivered"
            surveys = [of.isoformat() for _, delivered, of in standing if layer in delivered and of]
            assert known["layer"] == max(surveys, default=None)
            assert all(surveyed == day_of[load] for *_, load, surveyed in known["versions"])


def test_every_read_says_when_a_version_was_surveyed(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path / "1", ["hydrant", "terrain"], date(2018, 5, 1), random.Random(1))
    deliver(store, tmp_path / "2", ["hydrant"], date(2021, 7, 9), random.Random(4))
    hydrant, terrain = store.catalog.layers["hydrant"], store.catalog.layers["terrain"]
    with reading(store) as cursor:
        told = {i: (provenance(cursor, hydrant, f"hydrant-{i}", None) or {})["surveyed"] for i in IDS}
        page = json.loads(f"[{features(cursor, hydrant, 4547, Query()).text}]")
        export(cursor, store, Extract(hydrant), tmp_path / "h.csv")
        before = layer_datasets(cursor, hydrant, at=datetime(2019, 1, 1, tzinfo=UTC))
        sheets = layer_datasets(cursor, terrain)
        begins = store.city.clock.begins(date(2018, 5, 1))  # the evening before, in UTC
        on_the_day = layer_datasets(cursor, hydrant, at=begins)
        sheet = provenance(cursor, terrain, "terrain", None) or {}
    assert set(told.values()) == {"2018-05-01", "2021-07-09"}
    assert {f["id"].removeprefix("hydrant-"): f["properties"]["surveyed"] for f in page} == told
    with (tmp_path / "h.csv").open(encoding="utf-8-sig") as file:
        assert {row["id"].removeprefix("hydrant-"): row["surveyed"] for row in csv.DictReader(file)} == told
    assert [row[1:3] for row in before] == [("2018-05-01", "open")]
    assert [row[1:3] for row in on_the_day] == [("2018-05-01", "open")]
    assert [row[1:3] for row in sheets] == [("2018-05-01", "open")]
    assert sheet["surveyed"] == "2018-05-01"


def test_an_edit_is_no_survey(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path / "1", ["hydrant"], date(2018, 5, 1), random.Random(1))
    before = dates(store, "hydrant")["layer"]
    layer = store.catalog.layers["hydrant"]
    for identifier, surveyed in (("hydrant-a", "2018-05-01"), ("new", None)):
        feature = {"type": "Feature", "properties": {"note": "edited"}, "geometry": point(113.58, 37.86)}
        with reading(store) as cursor:
            apply_edit(cursor, store, Edit(layer, identifier, "replace", feature), Asker("e", "editor"))
            cursor.connection.commit()
            assert (provenance(cursor, layer, identifier, None) or {})["surveyed"] == surveyed
    with reading(store) as cursor:
        assert dict(row[:2] for row in layer_datasets(cursor, layer)) == {"d": before, "edits": None}


def test_a_city_from_before_keeps_its_dates(make_store: MakeStore, tmp_path: Path) -> None:
    store, rng = make_store(), random.Random(7)
    for step, day in enumerate((date(2018, 5, 1), None, date(2021, 7, 9), date(2024, 1, 31))):
        deliver(store, tmp_path / str(step), [*LAYERS[step % 2 :]] if day else ["shelter"], day, rng)
    known = {layer: dates(store, layer) for layer in (*LAYERS, "shelter")}
    with store.connect() as connection:
        connection.execute("DROP TABLE cim.survey")
        connection.execute("ALTER TABLE cim.dataset ADD COLUMN surveyed date")
        connection.execute("ALTER TABLE cim.asset DROP COLUMN surveyed CASCADE")
        for layer in ("hydrant", "tree", "grid_cell", "shelter"):
            connection.execute(f'ALTER TABLE twin."{layer}" DROP COLUMN surveyed'.encode())
    initialise(store.settings)
    assert {layer: dates(store, layer) for layer in known} == known
