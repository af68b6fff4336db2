"""Two time axes: deliveries, corrections, ends; at every moment each id has at most one version."""

import datetime as dt
from pathlib import Path

import pytest

from cim.store.connection import Store
from cim.store.schema import overlaps, table
from ingest.delivery.declared import Declared
from ingest.delivery.report import LoadReport
from ingest.load.pipeline import ingest
from tests.factory import EAST, NORTH, write_cityjson


def deliver(store: Store, path: Path, heights: dict[str, float], year: int | None, **options: object) -> LoadReport:
    objects = {i: {"box": (EAST, NORTH, 700, 20, 10, h)} for i, h in heights.items()}
    date = dt.date(year, 1, 1) if year else None
    said = {"vertical_datum": "city", "dataset": "survey", "date": date} | options
    return ingest(store, [write_cityjson(path / "b.city.json", objects)], Declared.model_validate(said))


def height_at(store: Store, identifier: str, at: str) -> float | None:
    layer = store.catalog.layers["building"]
    with store.connect("server") as connection:
        row = connection.execute(
            f"SELECT z_max - 700 FROM {table(layer)} b JOIN cim.body ON hash = b.bodies[1]"
            " WHERE id = %s AND upper_inf(recorded) AND valid @> %s::timestamptz",
            [identifier, at],
        ).fetchall()
        assert len(row) <= 1
        assert connection.execute(overlaps(layer).encode()).fetchall() == []
    return float(row[0][0]) if row else None


def test_two_dated_deliveries_answer_for_their_times(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, {"A": 9}, 2019)
    deliver(store, tmp_path, {"A": 12}, 2023)
    assert [height_at(store, "A", at) for at in ("2018-06-01", "2020-06-01", "2024-06-01")] == [None, 9, 12]


def test_a_dated_delivery_on_an_undated_row_keeps_the_time_before(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, {"A": 9}, None)
    assert deliver(store, tmp_path, {"A": 12}, 2023).files[0].updated == 1
    assert [height_at(store, "A", at) for at in ("1990-01-01", "2024-06-01")] == [9, 12]


def test_an_older_delivery_ends_where_the_newer_begins(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, {"A": 12}, 2023)
    deliver(store, tmp_path, {"A": 9}, 2019)
    assert [height_at(store, "A", at) for at in ("2018-06-01", "2020-06-01", "2024-06-01")] == [None, 9, 12]


def test_a_correction_of_the_same_date_replaces_and_keeps_what_was_recorded(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, {"A": 9}, 2019)
    deliver(store, tmp_path, {"A": 10}, 2019)
    assert height_at(store, "A", "2020-06-01") == 10
    with store.connect("server") as connection:
        assert connection.execute("SELECT count(*) FROM twin.building").fetchone() == (2,)


@pytest.mark.parametrize("year", [2023, None])
def test_a_complete_delivery_ends_what_is_absent(store: Store, tmp_path: Path, year: int | None) -> None:
    deliver(store, tmp_path, {"A": 9, "B": 9}, 2019)
    report = deliver(store, tmp_path, {"A": 9}, year, complete=True)
    assert (report.files[0].unchanged, report.files[0].ended) == (1, 1)
    assert height_at(store, "B", "2020-06-01") == 9
    assert height_at(store, "B", "2030-06-01") is None


def test_an_object_that_ended_may_come_again(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, {"A": 9, "B": 9}, 2019)
    deliver(store, tmp_path, {"A": 9}, 2021, complete=True)
    deliver(store, tmp_path, {"B": 20}, None)
    assert [height_at(store, "B", at) for at in ("2020-06-01", "2022-06-01")] == [9, 20]


def test_the_same_id_elsewhere_from_another_dataset_is_a_clash(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, {"A": 9}, None)
    objects = {"A": {"box": (EAST + 500, NORTH, 700, 20, 10, 9)}}
    path = write_cityjson(tmp_path / "other.city.json", objects)
    report = ingest(store, [path], Declared(vertical_datum="city"))
    assert report.exit_code == 1
    assert "id_prefix" in report.summary()
    prefixed = ingest(store, [path], Declared(vertical_datum="city", id_prefix="o-"))
    assert prefixed.files[0].loaded == 1
