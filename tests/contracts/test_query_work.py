"""No statement computes for each row of a layer what one computation would do for: judged by work, at every door.

The doors are gone through on a layer of some thousands of objects, in a database that logs the plan of every statement
with the rows that it visited.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from cim.access.asker import Asker
from cim.loads import quality
from cim.loads.quality import read_quality
from cim.loads.undo import undo
from cim.read import layer_summary, object_search, tile_rows
from cim.read import layers as reads
from cim.read.diff import difference
from cim.store import cluster
from cim.store.connection import Cursor, Store
from cim.write.export import Extract, export, query_of
from ingest.delivery.declared import Declared
from ingest.delivery.report import LoadReport
from ingest.load.edit import Edit, apply_edit
from ingest.load.pipeline import ingest
from ingest.reconstruct import reconstruct
from services.cli.main import cli
from tests.factory import EAST, NORTH
from tests.ingest.test_reconstruct import street, write_las
from tests.plans import Statement, watched
from tiles.tilers import run

ROOT = Path(__file__).parents[2]
GRID = "EPSG:4547"
OBJECTS = 1500
VISITS = 12  # of each version, in all nodes of a statement's plan together
PACE_M = 25.0


def footprints(count: int, names: str | None = "b", shift: float = 0.0) -> gpd.GeoDataFrame:
    """Footprints in rows of a square, each apart from the others; without names they have no ids."""
    number = np.arange(count)
    side = int(np.ceil(np.sqrt(count)))
    x, y = EAST + PACE_M * (number % side) + shift, NORTH + PACE_M * (number // side) + shift
    columns = {"name": [f"n{k}" for k in number]} | ({"id": [f"{names}{k}" for k in number]} if names else {})
    return gpd.GeoDataFrame(columns, geometry=shapely.box(x, y, x + 12, y + 15), crs=GRID)


def one_among(count: int) -> gpd.GeoDataFrame:
    """A footprint that overlaps the middle one of so many."""
    return footprints(count, "one", 7.0)[count // 2 : count // 2 + 1]


def deliver(store: Store, path: Path, frame: gpd.GeoDataFrame, **said: Any) -> LoadReport:
    frame.to_file(path, driver="GPKG", engine="pyogrio", layer="building")
    report = ingest(store, [path], Declared.model_validate({"dataset": "d"} | said))
    assert report.exit_code == 0, report.summary()
    path.unlink()
    return report


def examined(store: Store, load: int | None) -> dict[str, Any]:
    """What the quality report says of the one layer that a load brought something to."""
    with store.connect() as connection, connection.cursor() as cursor:
        known = read_quality(cursor, store, load or 0)
    assert known is not None
    (layer,) = known["quality"]["layers"]
    return dict(layer)


# ---- the doors


def load_and_look(store: Store, folder: Path) -> None:
    """New, again, dated, without ids, complete, into a layer that is too large to be looked at whole."""
    examined(store, deliver(store, folder / "a.gpkg", footprints(OBJECTS)).load)
    one = deliver(store, folder / "a.gpkg", one_among(OBJECTS))
    (finding,) = examined(store, one.load)["findings"]
    assert finding["rule"] == "overlap"
    deliver(store, folder / "a.gpkg", footprints(OBJECTS), date=date(2024, 1, 1))
    deliver(store, folder / "a.gpkg", footprints(OBJECTS, "b", 1.0), date=date(2025, 1, 1))
    deliver(store, folder / "a.gpkg", footprints(OBJECTS, None, 3.0), dataset="nameless")
    again = deliver(store, folder / "a.gpkg", footprints(OBJECTS, None, 3.5), dataset="nameless")
    assert again.files[0].updated == OBJECTS
    deliver(store, folder / "a.gpkg", footprints(OBJECTS - 5), complete=True, date=date(2025, 6, 1))


def edit_and_take_back(store: Store, folder: Path) -> None:
    layer = store.catalog.layer("building")
    shape = shapely.box(113.5, 37.85, 113.5001, 37.8501)
    feature = {"type": "Feature", "geometry": json.loads(shapely.to_geojson(shape)), "properties": {"name": "x"}}
    with store.connect() as connection, connection.cursor() as cursor:
        edited = apply_edit(cursor, store, Edit(layer, "edited", "create", feature), Asker())
    with store.connect() as connection, connection.cursor() as cursor:
        undo(cursor, store, edited.load or 0)
    load = deliver(store, folder / "b.gpkg", footprints(OBJECTS, "b", 2.0)).load
    with store.connect() as connection, connection.cursor() as cursor:
        undo(cursor, store, load or 0)


def read(store: Store, folder: Path) -> None:
    layer = store.catalog.layer("building")
    box = (113.57, 37.86, 113.59, 37.87)
    moment = datetime(2024, 6, 1, tzinfo=UTC)
    with store.connect("server") as connection, connection.cursor() as cursor:
        for zxy in ((0, 0, 0), (12, 3340, 1580), (16, *tile_at(16))):
            for _ in range(7):  # after some, a statement's plan is made without its values
                tile_rows.vector_tile(cursor, layer, store.city.srid, zxy, moment)
        _features(cursor, store, box)
        layer_summary.layer_counts(cursor, [layer])
        layer_summary.layer_datasets(cursor, layer)
        layer_summary.key_figures(cursor, [layer])
        object_search.search(cursor, [layer], "n17", 10)
        layer_summary.extent(cursor, [layer])
        reads.provenance(cursor, layer, "b7", None)
        reads.read_marks(cursor, layer, "name", None)
        difference(cursor, layer, datetime(2024, 6, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC), store.city.srid)
        where = f"S_INTERSECTS(geometry, {shapely.box(*box).wkt})"
        for suffix in (".gpkg", ".city.jsonl"):
            export(cursor, store, Extract(layer, bbox=box, where=where), folder / f"out{suffix}")


def _features(cursor: Cursor, store: Store, box: tuple[float, float, float, float]) -> None:
    layer = store.catalog.layer("building")
    query = query_of(Extract(layer, bbox=box, limit=100), store.city, 4326)
    for _ in range(7):
        reads.features(cursor, layer, store.city.srid, query)
        reads.count(cursor, layer, query)


def tile_at(z: int) -> tuple[int, int]:
    lon, lat = np.radians(113.58), np.radians(37.865)
    return int((lon / np.pi + 1) / 2 * 2**z), int((1 - np.arcsinh(np.tan(lat)) / np.pi) / 2 * 2**z)


def make_tiles(store: Store, folder: Path) -> None:
    assert list(run(store))


def look_from_above(store: Store, folder: Path) -> None:
    """A cloud over a few of the footprints."""
    xyz, code = street()
    xyz[:, :2] += np.array([EAST, NORTH]) - xyz[:, :2].min(axis=0)
    cloud = write_las(folder / "cloud.laz", xyz, code)
    assert ingest(store, [cloud], Declared(crs=GRID, vertical_datum="city")).exit_code == 0
    assert reconstruct(store).buildings > 10


def areas_that_fit_only_shifted(store: Store, folder: Path) -> None:
    """Cells in degrees, held against those of another dataset."""
    for dataset, shift in (("a", 0.0), ("b", 60.0)):
        cells = footprints(400, dataset, shift).to_crs(4490 if dataset == "b" else 4547)
        cells["code"] = cells["id"]
        cells.to_file(folder / "grid_cell.gpkg", driver="GPKG", engine="pyogrio")
        report = ingest(store, [folder / "grid_cell.gpkg"], Declared(dataset=dataset))
        assert report.exit_code == 0, report.summary()
        (folder / "grid_cell.gpkg").unlink()


DOORS: tuple[Callable[[Store, Path], None], ...] = (
    load_and_look, edit_and_take_back, areas_that_fit_only_shifted, read, look_from_above, make_tiles,
)  # fmt: skip


def versions(store: Store) -> int:
    with store.connect() as connection:
        row = connection.execute("SELECT count(*) FROM twin.building").fetchone()
    return int(row[0]) if row else 0


@pytest.mark.parametrize("mode", ["auto", "force_generic_plan"])
def test_no_door_works_for_each_row(
    store: Store, private_cluster: cluster.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Plans that know the values, and such as a pool of connections comes to, which don't."""
    monkeypatch.setattr(quality, "LARGEST", OBJECTS // 2)
    alone = replace(store, settings=replace(store.settings, workers=1))
    for door in DOORS:
        with watched(private_cluster, alone, plan_cache_mode=mode) as statements:
            door(alone, tmp_path)
        assert any(statement.nodes() for statement in statements)
        faults = {(fault, statement.text) for statement in statements for fault in statement.per_row_faults()}
        assert not faults, door.__name__
        most = max(statements, key=Statement.rows_visited)
        assert most.rows_visited() <= VISITS * versions(store), (door.__name__, most.text)


def ingest_by_command(folder: Path, frame: gpd.GeoDataFrame) -> dict[str, Any]:
    """Load footprints as a user does; return the report."""
    folder.mkdir()
    frame.to_file(folder / "building.gpkg", driver="GPKG", engine="pyogrio")
    report = folder / "report.json"
    assert cli.main(["ingest", str(folder), "--report", str(report)], standalone_mode=False) == 0
    return dict(json.loads(report.read_text("utf-8")))


def check_one_among(
    store: Store, private: cluster.Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Load many footprints, then one among them: what is done for the one doesn't grow with the many."""
    monkeypatch.setenv("CIM_DATABASE_URL", store.url)
    monkeypatch.setenv("CIM_STATE", str(store.settings.state))
    bound = {"statement_timeout": "300s"}  # it ends what would not end
    with watched(private, store, **bound) as statements:
        (file,) = ingest_by_command(folder / "many", footprints(count))["files"]
    assert file["loaded"] == count
    assert not [fault for statement in statements for fault in statement.per_row_faults()]
    assert max(map(Statement.rows_visited, statements)) <= VISITS * count
    with watched(private, store, **bound) as statements:
        report = ingest_by_command(folder / "one", one_among(count))
    assert report["findings"] == [f"building: 1 × overlap, such as b{count // 2}, one{count // 2}"]
    assert not [fault for statement in statements for fault in statement.per_row_faults()]
    counting, *others = sorted(statements, key=Statement.rows_visited, reverse=True)
    assert "LIMIT" in counting.text, "that there are very many is told by counting to the limit"
    assert max(map(Statement.rows_visited, others)) < count / 4


def test_one_among_a_hundred_thousand(
    store: Store, private_cluster: cluster.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a county has them: the way of a very large layer, from fewer objects on than it is taken by itself."""
    monkeypatch.setattr(quality, "LARGEST", 50_000)
    check_one_among(store, private_cluster, tmp_path, monkeypatch, 100_000)


@pytest.mark.long
def test_one_among_three_hundred_thousand(
    store: Store, private_cluster: cluster.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the program is set by itself."""
    check_one_among(store, private_cluster, tmp_path, monkeypatch, 300_000)


SOURCES = [
    path for name in ("cim", "ingest", "tiles", "services", "styles") for path in sorted((ROOT / name).rglob("*.py"))
]
FROM_A_ROW = (
    "cim/store/schema.py",
    "ingest/sources/postgres.py",
)  # a constraint of the table; what a foreign table has


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_statement_asks_a_row_for_its_srid(path: Path) -> None:
    """SRIDs are integers in the text of a statement."""
    assert "ST_SRID(" not in path.read_text("utf-8") or path.relative_to(ROOT).as_posix() in FROM_A_ROW
