"""Values over time: a CSV goes in, the series comes out as pandas computes it; tables of text keep their ids."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from cim.clock import Clock
from cim.read.series import series
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest

MADRID, SHANGHAI = Clock("Europe/Madrid"), Clock("Asia/Shanghai")


def counts(store: Store, sql: str) -> int:
    with store.connect() as connection:
        row = connection.execute(sql.encode()).fetchone()
    return int(row[0]) if row else 0


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding)
    return path


def test_the_series_of_a_malaga_car_park_of_31690_rows_is_what_pandas_computes(store: Store, shared_data: Path) -> None:
    path = shared_data / "parking_malaga/malaga_2024-03.csv"
    report = ingest(store, [path], Declared(layer="parking_observation", timezone="Europe/Madrid"))
    file = report.files[0]
    assert (file.read, file.loaded, file.refused) == (31690, 31690, 0), report.summary()
    table = pd.read_csv(path)
    lots = sorted(table["id"].unique())
    assert any("parking_lot" in what and ids == lots for what, ids in file.warned.items())
    layer = store.catalog.layers["parking_observation"]
    expected = table[table["id"] == "AL"].copy()
    expected["ts"] = pd.to_datetime(expected["ts"]).dt.tz_localize("Europe/Madrid")
    daily = expected.set_index("ts")["libres"].resample("D").agg(["mean", "min", "max", "count"])
    daily = daily[daily["count"] > 0]
    with store.connect() as connection, connection.cursor() as cursor:
        by_day = series(cursor, layer, "AL", period="day", clock=MADRID)
        raw = series(
            cursor, layer, "AL", (datetime(2024, 3, 4, tzinfo=UTC), datetime(2024, 3, 5, tzinfo=UTC)), clock=MADRID
        )
    assert by_day.counts == daily["count"].tolist()
    assert by_day.least["free"] == daily["min"].tolist()
    assert by_day.greatest["free"] == daily["max"].tolist()
    assert all(abs(a - b) < 1e-9 for a, b in zip(by_day.mean["free"], daily["mean"], strict=True) if a is not None)
    assert [t.astimezone().date() for t in by_day.times] or by_day.times[0].tzinfo
    inside = expected[(expected["ts"] >= "2024-03-04T00:00Z") & (expected["ts"] < "2024-03-05T00:00Z")]
    assert raw.mean["free"] == inside["libres"].astype(float).tolist()
    assert ingest(store, [path], Declared(layer="parking_observation", timezone="Europe/Madrid")).files[
        0
    ].unchanged == (31690)


def test_another_value_for_a_moment_replaces_it_and_the_old_one_stays_recorded(store: Store, tmp_path: Path) -> None:
    head = "sensor,time,value\n"
    first = write(tmp_path / "sensor_observation.csv", head + "S1,2024-05-06T08:00:00+08:00,4.5\n")
    assert ingest(store, [first], Declared()).files[0].loaded == 1
    second = write(tmp_path / "sensor_observation_2.csv", head + "S1,2024-05-06T00:00:00Z,4.7\n")
    assert ingest(store, [second], Declared()).files[0].updated == 1
    assert counts(store, "SELECT count(*) FROM twin.sensor_observation") == 2
    assert counts(store, "SELECT count(*) FROM twin.sensor_observation WHERE upper_inf(recorded) AND value = 4.7") == 1


def test_a_row_without_feature_time_or_value_is_set_aside(store: Store, tmp_path: Path) -> None:
    rows = [
        "sensor,time,value",
        ",2024-05-06T08:00Z,1",
        "S1,yesterday,2",
        "S1,2024-05-06T08:00Z,NA",
        "S1,2024-05-06T09:00Z",
    ]
    path = write(tmp_path / "sensor_observation.csv", "\n".join([*rows, "S1,2024-05-06T10:00Z,7"]) + "\n")
    report = ingest(store, [path], Declared())
    file = report.files[0]
    assert (file.read, file.loaded, file.refused) == (5, 1, 4)
    assert len(file.reasons) == 4
    assert report.exit_code == 3


def test_a_table_of_places_keeps_ids_as_written_in_gbk_with_semicolons(store: Store, tmp_path: Path) -> None:
    text = "编号;名称;经度;纬度\n007;桃河大桥;113.58;37.86\n1.50;泉中路;113,581;37,861\n"
    report = ingest(store, [write(tmp_path / "hydrant.csv", text, "gbk")], Declared(crs="EPSG:4490"))
    assert report.files[0].loaded == 2, report.summary()
    with store.connect() as connection:
        rows = connection.execute("SELECT id, name FROM twin.hydrant ORDER BY id").fetchall()
    assert rows == [("007", "桃河大桥"), ("1.50", "泉中路")]


def test_a_place_without_a_declared_crs_is_refused(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "hydrant.csv", "id,lon,lat\nA,113.58,37.86\n")
    report = ingest(store, [path], Declared())
    assert report.exit_code == 1
    assert report.files[0].setting == "crs"


def test_two_stations_of_beijing_with_a_time_in_four_columns(store: Store, shared_data: Path) -> None:
    """35,064 hours each, twelve quantities; the values are those that pandas reads, NA is a gap, the wind is a text."""
    folder = shared_data / "air_beijing"
    quantities = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN", "wd", "WSPM")
    said = Declared(layer="sensor_observation", timezone="Asia/Shanghai", values=quantities)
    paths = sorted(folder.glob("*.csv"))
    report = ingest(store, paths, said)
    # one value is a blank, which pandas takes for a text
    tables = [pd.read_csv(path, na_values=[" "], low_memory=False) for path in paths]
    for file, table in zip(report.files, tables, strict=True):
        present = int(table[list(quantities)].notna().sum().sum())
        assert (file.error, file.read, file.loaded, file.refused) == (None, 35_064, present, 0)
    gaps = [len(file.warned["no value in the column PM2.5: gaps"]) for file in report.files]
    assert gaps == [925, 750]
    dongsi = tables[1].assign(time=pd.to_datetime(tables[1][["year", "month", "day", "hour"]]))
    layer = store.catalog.layers["sensor_observation"]
    with store.connect() as connection, connection.cursor() as cursor:
        monthly = series(cursor, layer, "Dongsi/PM2.5", period="month", clock=SHANGHAI)
        wind = series(
            cursor,
            layer,
            "Dongsi/wd",
            (datetime(2013, 2, 28, 16, tzinfo=UTC), datetime(2013, 2, 28, 18, tzinfo=UTC)),
            clock=SHANGHAI,
        )
    expected = dongsi.set_index("time")["PM2.5"].resample("MS").mean()
    assert all(abs(a - b) < 1e-9 for a, b in zip(monthly.mean["value"], expected, strict=True) if a is not None)
    assert wind.mean["value"] == [337.5, 315.0]  # NNW, NW


def test_columns_of_values_that_do_not_fit(store: Store, tmp_path: Path) -> None:
    table = write(
        tmp_path / "air.csv", "站点,年,月,日,时,PM10,wd\nA,2024,5,6,8,40,N\nA,2024,5,6,9,much,NE\nA,2024,2,30,9,3,E\n"
    )
    said = Declared(layer="sensor_observation", values=("PM10", "wd"))
    (file,) = ingest(store, [table], said).files
    assert (file.loaded, file.refused) == (3, 3)
    assert dict(file.reasons) == {"not a number: 'much'": 1, "no time, or one that can't be read": 2}
    (file,) = ingest(store, [table], said.model_copy(update={"values": ("PM99",)})).files
    assert file.error is not None
    assert "no column PM99, which `values` names" in file.error
    (file,) = ingest(store, [table], said.model_copy(update={"layer": "parking_observation"})).files
    assert file.error is not None
    assert "is for a layer of one value" in file.error
