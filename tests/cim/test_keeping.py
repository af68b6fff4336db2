"""Keeping a twin: saved and brought back bit by bit, a load taken back, an older cluster moved."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cim.config import Settings
from cim.errors import BadBackup, CannotUndo
from cim.loads.undo import undo
from cim.store import backup
from cim.store.connection import Store, initialise, open_store
from cim.store.kinds import kind_of
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.factory import EAST, NORTH, write_cityjson
from tiles.tilers import run

FILES = ("terrain_town.tif", "building_core.city.jsonl", "water.geojson", "sensor.geojson", "sensor_observation.csv")


@pytest.fixture
def own_city(sample_folder: Path, tmp_path: Path) -> Iterator[Store]:
    """A small city in a private cluster of its own."""
    settings = Settings(state=tmp_path / "one")
    initialise(settings)
    with open_store(settings) as store:
        ingest(
            store,
            [sample_folder / name for name in (*FILES, "dataset.toml") if name in FILES],
            Declared(vertical_datum="city", date=None),
        )
        yield store


def content(store: Store) -> dict[str, str]:
    """Return a hash of every table of the twin, as COPY writes it in the order of its rows."""
    hashes = {}
    with store.connect() as connection:
        names = [f'twin."{layer.id}"' for layer in store.catalog.layers.values() if kind_of(layer).stored]
        for name in [*names, "cim.body", "cim.asset", "cim.load", "cim.dataset", "cim.setting", "cim.audit"]:
            digest = hashlib.sha256()
            ordered = f'SELECT t.*::text FROM {name} t ORDER BY t.*::text COLLATE "C"'
            for row in connection.execute(
                f"SELECT r::text FROM ({ordered.replace('t.*::text FROM', 't FROM')}) r(r)".encode()
            ):
                digest.update(row[0].encode())
            hashes[name] = digest.hexdigest()
    return hashes


def tile_names(store: Store) -> set[str]:
    assert list(run(store))
    return {path.name for path in store.settings.tile_store.rglob("*.*") if path.name != "tileset.json"}


@pytest.mark.database  # of its own
def test_a_backup_brings_the_same_twin_and_the_same_tiles_back(own_city: Store, tmp_path: Path) -> None:
    file = tmp_path / "saved.cim"
    before, tiles = content(own_city), tile_names(own_city)
    saved = backup.backup(own_city.settings, file)
    with own_city.connect() as connection:
        assert connection.execute("SELECT count(*) FROM twin.building").fetchone() == (saved["versions"]["building"],)
    elsewhere = Settings(state=tmp_path / "two")
    backup.restore(elsewhere, file)
    with open_store(elsewhere) as again:
        assert content(again) == before
        assert tile_names(again) == tiles
        with pytest.raises(BadBackup, match="holds a twin already"):
            backup.restore(elsewhere, file)
        # and it goes on from there: new rows get numbers of their own
        objects = {"NEW1": {"type": "Building", "box": (EAST, NORTH + 900, 700, 9, 9, 9)}}
        report = ingest(again, [write_cityjson(tmp_path / "n.city.json", objects)], Declared(vertical_datum="city"))
        assert report.files[0].loaded == 1


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.cim").write_text("hello")
    with pytest.raises(BadBackup, match="not a backup"):
        backup.restore(Settings(state=tmp_path / "three"), tmp_path / "x.cim")


@pytest.mark.database  # of its own
def test_a_cluster_is_moved_and_the_old_one_kept(own_city: Store) -> None:
    """The move between two major versions, here from a version to itself: dump, new cluster, restore."""
    before = content(own_city)
    settings = own_city.settings
    kept = backup.upgrade(settings)
    assert (kept / "PG_VERSION").exists()
    with open_store(settings) as moved:
        assert content(moved) == before


def test_a_load_is_taken_back_and_nothing_is_erased(store: Store, tmp_path: Path) -> None:
    def deliver(height: float, *names: str) -> int:
        objects = {
            name: {"type": "Building", "box": (EAST + 40 * k, NORTH, 700, 20, 10, height)}
            for k, name in enumerate(names)
        }
        file = write_cityjson(tmp_path / "delivery.city.json", objects)
        report = ingest(store, [file], Declared(vertical_datum="city", dataset="d"))
        assert report.load
        return report.load

    def seen() -> list[tuple[str, float]]:
        sql = """SELECT v.id, b.z_max - b.z_min FROM twin.building v JOIN cim.body b ON b.hash = v.bodies[1]
                 WHERE upper_inf(recorded) ORDER BY 1"""
        with store.connect() as connection:
            return [(row[0], round(row[1], 3)) for row in connection.execute(sql).fetchall()]

    first = deliver(9.0, "A", "B")
    second = deliver(12.0, "A", "B", "C")
    assert seen() == [("A", 12.0), ("B", 12.0), ("C", 12.0)]
    with (
        store.connect() as connection,
        connection.cursor() as cursor,
        pytest.raises(CannotUndo, match=f"load {second}"),
    ):
        undo(cursor, store, first)
    with store.connect() as connection, connection.cursor() as cursor:
        undone = undo(cursor, store, second)
    assert (undone.taken_back, undone.restored) == ({"building": 3}, {"building": 2})
    assert seen() == [("A", 9.0), ("B", 9.0)]
    with store.connect() as connection:
        rows = connection.execute("SELECT count(*) FROM twin.building").fetchone()
        followed = connection.execute(
            "SELECT DISTINCT id FROM cim.outbox WHERE seq > (SELECT max(seq) - 3 FROM cim.outbox)"
        ).fetchall()
        audited = connection.execute("SELECT action, load FROM cim.audit ORDER BY seq DESC LIMIT 1").fetchone()
    assert rows == (7,)  # 2 + 3 written, 2 known again
    assert {row[0] for row in followed} == {"A", "B", "C"}
    assert audited == ("undo", second)
    with (
        store.connect() as connection,
        connection.cursor() as cursor,
        pytest.raises(CannotUndo, match="was taken back"),
    ):
        undo(cursor, store, second)
    with store.connect() as connection, connection.cursor() as cursor, pytest.raises(CannotUndo, match="no load 999"):
        undo(cursor, store, 999)
    again = deliver(12.0, "A", "B", "C")
    assert again > second
    assert seen() == [("A", 12.0), ("B", 12.0), ("C", 12.0)]


def test_rasters_and_values_over_time_are_taken_back_too(store: Store, sample_folder: Path) -> None:
    files = [sample_folder / name for name in ("terrain_town.tif", "sensor.geojson", "sensor_observation.csv")]
    load = ingest(store, files, Declared(vertical_datum="city")).load
    assert load

    def current() -> list[int]:
        names = ("cim.asset", "twin.sensor", "twin.sensor_observation")
        with store.connect() as connection:
            counts = [connection.execute(f"SELECT count(*) FROM {n} WHERE upper_inf(recorded)".encode()) for n in names]
            return [row[0] for row in (cursor.fetchone() for cursor in counts) if row]

    before = current()
    assert min(before) > 0
    with store.connect() as connection, connection.cursor() as cursor:
        undone = undo(cursor, store, load)
    assert undone.taken_back == {"terrain": before[0], "sensor": before[1], "sensor_observation": before[2]}
    assert current() == [0, 0, 0]
    with store.connect() as connection:
        told = connection.execute(
            "SELECT DISTINCT layer FROM cim.outbox WHERE txid = (SELECT max(txid) FROM cim.outbox)"
        )
        assert {row[0] for row in told} == set(undone.taken_back)


def test_what_a_complete_delivery_ended_and_a_later_one_brought_again_is_refused(store: Store, tmp_path: Path) -> None:
    def deliver(*names: str, complete: bool = False) -> int:
        objects = {n: {"type": "Building", "box": (EAST + 40 * ord(n), NORTH, 700, 20, 10, 9)} for n in names}
        said = Declared(vertical_datum="city", dataset="d", complete=complete or None)
        load = ingest(store, [write_cityjson(tmp_path / "c.city.json", objects)], said).load
        assert load
        return load

    deliver("A", "B")
    ended, again = deliver("A", complete=True), deliver("B")
    with store.connect() as connection, connection.cursor() as cursor, pytest.raises(CannotUndo, match=f"load {again}"):
        undo(cursor, store, ended)
    for load in (again, ended):
        with store.connect() as connection, connection.cursor() as cursor:
            undo(cursor, store, load)
    with store.connect() as connection:
        found = connection.execute(
            "SELECT id FROM twin.building WHERE upper_inf(recorded) AND upper_inf(valid) ORDER BY 1"
        )
        assert [row[0] for row in found.fetchall()] == ["A", "B"]
