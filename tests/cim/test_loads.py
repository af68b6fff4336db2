"""The law of loads: who writes into one layer waits for nobody who writes into others, and nobody waits for ever."""

import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cim.access.asker import Asker
from cim.access.audit import COMMAND_LINE
from cim.errors import LayerBusy, NotFound
from cim.loads.load import list_loads, load, lock_key
from cim.loads.undo import undo
from cim.store.connection import Store, connect
from cim.store.schema import overlaps
from ingest.delivery.declared import Declared, declared_for
from ingest.delivery.report import LoadReport
from ingest.load.destinations import layers_of
from ingest.load.discover import find_files, readers
from ingest.load.edit import Edit, Edited, apply_edit
from ingest.load.pipeline import ingest
from tests.conftest import Served
from tests.factory import EAST, NORTH, write_cityjson

EDITOR = Asker("王", "editor")
AT_ONCE_S = 2.0  # whoever has to wait, waits for the whole test
SAID = Declared(vertical_datum="city", crs="EPSG:4547", dataset="survey", date=date(2024, 5, 1))


def square(x: float, y: float, **properties: Any) -> dict[str, Any]:
    ring = [[x, y], [x + 10, y], [x + 10, y + 10], [x, y + 10], [x, y]]
    return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}


def squares(folder: Path, layer: str, count: int = 3, **properties: Any) -> Path:
    """A file of a layer, in a folder that it shares with others."""
    shapes = [square(EAST + 20 * k, NORTH, id=f"{layer}{k}", **properties) for k in range(count)]
    path = folder / f"{layer}.geojson"
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": shapes}), "utf-8")
    return path


def put(store: Store, layer: str, identifier: str, wait_s: float | None = AT_ONCE_S, **properties: Any) -> Edited:
    feature = square(EAST, NORTH, **properties)
    edit = Edit(store.catalog.layers[layer], identifier, "replace", feature, "EPSG:4547")
    with store.connect() as connection, connection.cursor() as cursor:
        return apply_edit(cursor, store, edit, EDITOR, wait_s)


def during(store: Store, files: list[Path], what: Callable[[], None]) -> LoadReport:
    """Load files, and do something else when all is written and nothing is committed yet."""

    def ending(*_: object) -> bool:
        what()
        return True

    report = ingest(store, files, SAID, ending=ending)
    assert report.exit_code == 0, report.summary()
    return report


def test_an_edit_doesnt_wait_for_a_load_into_another_layer(store: Store, tmp_path: Path) -> None:
    """Not even where they are of one dataset, or of one that is new."""
    ingest(store, [squares(tmp_path, "building", height_m=9.0, base_m=700.0)], SAID)
    done: list[str] = []

    def edits() -> None:
        done.append(put(store, "building", "building1", name="x", height_m=9.0, base_m=700.0).action)
        done.append(put(store, "building", "fresh", name="new", height_m=7.0, base_m=700.0).action)
        done.append(put(store, "water", "fresh", name="new").action)

    bodies = {"b": {"type": "Bridge", "box": (EAST, NORTH, 700, 20, 10, 9)}}
    path = write_cityjson(tmp_path / "bridge.city.json", bodies)
    during(store, [squares(tmp_path, "parcel"), path], edits)
    assert done == ["replaced", "created", "created"]


def test_an_edit_of_a_layer_waits_for_the_load_that_writes_into_it(store: Store, tmp_path: Path) -> None:
    ingest(store, [squares(tmp_path, "parcel")], SAID)

    def edit() -> None:
        with pytest.raises(LayerBusy, match="parcel"):
            put(store, "parcel", "parcel1", wait_s=0.05, name="x")
        with pytest.raises(LayerBusy, match="parcel"), store.connect() as connection, connection.cursor() as cursor:
            undo(cursor, store, 1, wait_s=0.05)
        with pytest.raises(LayerBusy, match="parcel"):
            ingest(store, [tmp_path / "parcel.geojson"], SAID, wait_s=0.05)

    during(store, [squares(tmp_path, "parcel", name="y")], edit)
    assert put(store, "parcel", "parcel1", name="x").action == "replaced"


def test_the_body_that_a_load_writes_is_written_once(store: Store, tmp_path: Path) -> None:
    """A block of an edit and a body of a load into another layer may be the same: one waits, or takes the other's."""
    said = {"height_m": 9.0, "base_m": 700.0}
    put(store, "building", "one", **said)
    with store.connect() as connection:
        (row,) = connection.execute("SELECT * FROM cim.body").fetchall()
        connection.execute("DELETE FROM cim.body")
    other = connect(store.url)
    try:
        other.execute(f"INSERT INTO cim.body VALUES ({', '.join(['%s'] * len(row))})", row)  # not committed yet
        with pytest.raises(LayerBusy, match=r"building two"):
            put(store, "building", "two", wait_s=0.05, **said)
        with ThreadPoolExecutor() as threads:
            path = squares(tmp_path, "building", count=1, **said)
            loading = threads.submit(ingest, store, [path], SAID)
            assert wait_until(store, "SELECT 1 FROM pg_locks WHERE NOT granted")
            other.commit()
            assert loading.result(60).exit_code == 0
    finally:
        other.close()
    assert put(store, "building", "two", **said).action == "created"
    with store.connect() as connection:
        assert connection.execute("SELECT count(*) FROM cim.body").fetchone() == (1,)
        assert connection.execute("SELECT count(DISTINCT bodies) FROM twin.building").fetchone() == (1,)


def wait_until(store: Store, sql: str) -> bool:
    with connect(store.url, autocommit=True) as connection:
        for _ in range(600):
            if connection.execute(sql.encode()).fetchone():
                return True
            threading.Event().wait(0.05)
    return False


def test_loads_that_name_their_layers_in_any_order_dont_wait_for_each_other(store: Store) -> None:
    """With locks in the order in which they are named, this ends in a deadlock within the first rounds."""
    orders = [["building", "parcel", "water"], ["water", "parcel", "building"], ["parcel", "building"]]
    together = threading.Barrier(len(orders))

    def rounds(layers: list[str]) -> int:
        together.wait(60)
        for _ in range(20):
            with store.connect() as c, c.cursor() as cursor, load(cursor, COMMAND_LINE, "load", layers) as work:
                work.report = {"files": []}
        return 20

    with ThreadPoolExecutor(len(orders)) as threads:
        assert list(threads.map(rounds, orders)) == [20, 20, 20]
    assert len(list(list_loads(store))) == 60
    assert len({lock_key(name) for name in store.catalog.layers}) == len(store.catalog.layers)


def test_two_deliveries_of_the_same_layers_follow_each_other(store: Store, tmp_path: Path) -> None:
    """Whatever order their files have; what the one writes first the other doesn't end before it began."""
    names = ["parcel", "water", "district"]
    for turn in range(3):
        folders = [tmp_path / f"{turn}{side}" for side in "ab"]
        for side, folder in enumerate(folders):
            for name in names:
                squares(folder, name, name=f"{turn}{side}")
        paths = [folders[0] / f"{name}.geojson" for name in names], [folders[1] / f"{n}.geojson" for n in names[::-1]]
        with ThreadPoolExecutor(2) as threads:
            reports = list(threads.map(lambda files: ingest(store, files, SAID), paths))
        assert [report.exit_code for report in reports] == [0, 0], [report.summary() for report in reports]
    with store.connect() as connection:
        for name in names:
            assert connection.execute(overlaps(store.catalog.layers[name]).encode()).fetchall() == []
            rows = connection.execute(f"SELECT count(*) FROM twin.{name} WHERE upper_inf(recorded)".encode())
            assert rows.fetchone() == (3,)


def test_a_load_begins_when_it_holds_its_layers(store: Store) -> None:
    """Its moment follows all that was written into them: an edit that waited doesn't end a version before it began."""
    with connect(store.url) as first, first.cursor() as cursor:
        with load(cursor, COMMAND_LINE, "load", ["parcel"]) as work:
            work.report = {"files": []}
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(put, store, "parcel", "P", None, name="x")
            assert wait_until(store, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            (released,) = first.execute("SELECT clock_timestamp()").fetchone() or ()
            first.commit()
            first.close()
            assert waiting.result(60).action == "created"
    with store.connect() as connection:
        (began,) = connection.execute("SELECT lower(recorded) FROM twin.parcel").fetchone() or ()
    assert began > released


def test_a_load_begins_with_nothing_before_it(store: Store) -> None:
    with store.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        with pytest.raises(RuntimeError, match="before anything else"), load(cursor, COMMAND_LINE, "load", ["parcel"]):
            pass


def test_nothing_stays_of_a_load_that_is_given_up_or_fails(store: Store) -> None:
    with store.connect() as c, c.cursor() as cursor, load(cursor, EDITOR, "load", ["parcel"]) as work:
        work.give_up()
    edit = Edit(store.catalog.layers["parcel"], "nothing", "delete")
    with pytest.raises(NotFound), store.connect() as connection, connection.cursor() as cursor:
        apply_edit(cursor, store, edit, EDITOR)
    assert list(list_loads(store)) == []
    assert put(store, "parcel", "P", name="x").action == "created"  # and the layer is free again


def test_the_sample_goes_only_where_it_is_foreseen(sample_city: Served) -> None:
    """Else its load would begin again, and again."""
    with sample_city.store.connect() as connection:
        (report,) = connection.execute("SELECT report FROM cim.load ORDER BY load LIMIT 1").fetchone() or ()
    went = {file["path"]: set(file["layers"]) for file in report["files"]}
    store = sample_city.store
    foreseen = {
        file.shown: layers_of(store, file, declared_for(file.path, file.beside, Declared(), None))
        for file in find_files([sample_city.folder], sample_city.folder / "scratch")
    }
    assert went.keys() == foreseen.keys()
    assert [name for name, layers in went.items() if not layers <= foreseen[name]] == []
    buildings = next(layers for name, layers in foreseen.items() if name.endswith("building_core.city.jsonl"))
    assert "building" in buildings
    assert "hydrant" not in buildings  # people go on editing what a city model can't bring


def test_what_nobody_foresaw_is_held_too(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of another package gives classes that its row doesn't tell: the load begins again, and is whole."""
    code = """
import numpy as np, shapely
from pyproj import CRS
from cim.features import Features, Header, Source
from ingest.formats.readers import Reader

def read(path, options):
    def batches():
        for n, name in enumerate(("Bridge", "WaterBody")):
            yield Features([f"w{n}"], [{}], np.array([shapely.box(463000, 4192000, 463020, 4192010)], object), [name],
                           [None])
    yield Source(Header(crs=CRS.from_epsg(4547), layer_hint="parcel"), batches())

ROW = Reader("wild", (".wild",), "wild_reader")
"""
    package = tmp_path / "package"
    (package / "wild-1.dist-info").mkdir(parents=True)
    (package / "wild_reader.py").write_text(code, "utf-8")
    (package / "wild-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: wild\nVersion: 1\n", "utf-8")
    (package / "wild-1.dist-info/entry_points.txt").write_text("[cim.readers]\nwild = wild_reader:ROW\n", "utf-8")
    monkeypatch.syspath_prepend(str(package))
    readers.cache_clear()
    try:
        path = tmp_path / "in.wild"
        path.write_text("x", "utf-8")
        report = ingest(store, [path, squares(tmp_path, "parcel")], SAID)
    finally:
        readers.cache_clear()
        sys.modules.pop("wild_reader", None)
    assert report.exit_code == 0, report.summary()
    assert [file.loaded for file in report.files] == [2, 3]
    assert len(list(list_loads(store))) == 1
    with store.connect() as connection:
        counts = [connection.execute(f"SELECT count(*) FROM twin.{n}".encode()).fetchone() for n in ("bridge", "water")]
    assert counts == [(1,), (1,)]


def test_the_list_names_edits_and_marks_what_was_taken_back(store: Store, tmp_path: Path) -> None:
    first = ingest(store, [squares(tmp_path, "parcel")], SAID, asker=EDITOR).load
    put(store, "parcel", "parcel1", name="x")
    edit = Edit(store.catalog.layers["parcel"], "parcel2", "delete")
    with store.connect() as connection, connection.cursor() as cursor:
        apply_edit(cursor, store, edit, Asker("李", "admin"))
    with store.connect() as connection, connection.cursor() as cursor:
        undo(cursor, store, 3, EDITOR)
    newest, edited, loaded = list_loads(store)
    assert newest.startswith("3  ")
    assert "李  deleted parcel parcel2  (taken back " in newest
    assert newest.endswith(" by 王)")
    assert "王  replaced parcel parcel1" in edited
    assert "taken back" not in edited
    assert f"{first}  " in loaded
    assert "王  1 files → parcel: 3 loaded, 0 updated" in loaded
