"""Whole layers out: the notebook client and `cim export` against the database, other readers, and each other."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from pyproj import Transformer

import cim
from cim.client import Twin
from cim.concurrency.prefetch import ahead
from cim.errors import BadRequest, NotFound, ServerFault
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import SAMPLE_ROWS, MakeStore, Served
from tests.program import cim_command


@pytest.fixture(scope="module")
def twin(sample_city: Served) -> Iterator[Twin]:
    with cim.connect(sample_city.url) as connected:
        yield connected


def exported(served: Served, path: Path, *options: str, layer: str = "building") -> str:
    environment = os.environ | {"CIM_STATE": str(served.store.settings.state), "CIM_DATABASE_URL": served.store.url}
    done = cim_command(["export", layer, "-o", str(path), *options], environment)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_frame_is_what_the_database_holds(sample_city: Served, twin: Twin) -> None:
    frame = twin.read("building").set_index("id").sort_index()
    with sample_city.store.connect() as connection:
        rows = connection.execute(
            "SELECT id, name, height_m, storeys, parent_id, lower(valid), extra, ST_Area(geom) FROM twin.building"
            ' WHERE upper_inf(recorded) AND valid @> now() ORDER BY id COLLATE "C"'
        ).fetchall()
    assert list(frame.index) == [r[0] for r in rows]
    for column, k in (("name", 1), ("height_m", 2), ("storeys", 3), ("parent_id", 4), ("valid_from", 5)):
        ours = [None if pd.isna(v) else v for v in frame[column]]
        assert ours == [r[k] for r in rows], column
    assert [json.loads(v) if isinstance(v, str) else None for v in frame["extra"]] == [r[6] for r in rows]
    assert np.allclose(shapely.area(frame.geometry.values), [r[7] for r in rows])
    assert frame.crs.is_compound == bool(shapely.has_z(frame.geometry.values).any())
    assert frame.crs.sub_crs_list[0].to_epsg() == 4547 if frame.crs.is_compound else frame.crs.to_epsg() == 4547


@pytest.mark.parametrize(
    ("where", "same"),
    [
        ("storeys > 6", lambda f: f["storeys"] > 6),
        ("use = 'residential' AND NOT storeys BETWEEN 2 AND 5",
         lambda f: (f["use"] == "residential") & ~f["storeys"].between(2, 5)),
        ("name LIKE '坡上%'", lambda f: f["name"].str.startswith("坡上").fillna(False).astype(bool)),
        ("parent_id IS NULL AND height_m > 3.2 * storeys",
         lambda f: f["parent_id"].isna() & (f["height_m"] > 3.2 * f["storeys"])),
        ("use IN ('office', 'public')", lambda f: f["use"].isin(["office", "public"])),
        ('{"op": ">=", "args": [{"property": "valid_from"}, {"date": "2024-05-01"}]}',
         lambda f: f["valid_from"] >= "2024-05-01T00:00+08:00"),
    ],
)  # fmt: skip
def test_a_filter_keeps_what_pandas_keeps(twin: Twin, where: str, same: object) -> None:
    whole = twin.read("building")
    expected = set(whole.loc[same(whole), "id"])  # type: ignore[operator]
    assert expected
    assert set(twin.read("building", where=where)["id"]) == expected
    items = twin.http.get("/ogc/collections/building/items", params={"f": "json", "limit": 1000, "filter": where})
    assert {f["id"] for f in items.json()["features"]} == expected


def test_a_box_and_a_polygon_of_a_filter_keep_what_shapely_keeps(twin: Twin) -> None:
    whole = twin.read("building", crs="EPSG:4326")
    west, south, east, north = 113.575, 37.857, 113.581, 37.862
    inside = set(whole.loc[shapely.intersects(whole.geometry.values, shapely.box(west, south, east, north)), "id"])
    assert set(twin.read("building", bbox=(west, south, east, north))["id"]) == inside
    ring = "113.575 37.857, 113.581 37.857, 113.578 37.862, 113.575 37.857"
    shape = shapely.from_wkt(f"POLYGON(({ring}))")
    expected = set(whole.loc[shapely.intersects(whole.geometry.values, shape), "id"])
    found = set(twin.read("building", where=f"S_INTERSECTS(geometry, POLYGON(({ring})))")["id"])
    assert expected
    assert found == expected


@pytest.mark.parametrize(
    "where",
    ["storeys >", "nothing = 1", "name = 'x'; DROP TABLE twin.building", "storeys = 'many'",
     "NOT " * 400 + "storeys = 1",
     "{not json"],
)  # fmt: skip
def test_a_filter_that_cant_be_read_says_so(twin: Twin, where: str) -> None:
    with pytest.raises(BadRequest, match="filter"):
        twin.read("building", where=where)


def test_the_client_says_what_is_wrong(twin: Twin) -> None:
    with pytest.raises(NotFound, match="buildings"):
        twin.read("buildings")
    with pytest.raises(BadRequest, match="colour"):
        twin.read("building", columns=["colour"])
    with pytest.raises(ServerFault, match="cim serve"):
        cim.connect("http://127.0.0.1:9")


def test_a_past_moment_and_few_columns(twin: Twin) -> None:
    assert twin.read("building", at="2020-01-01").empty
    few = twin.read("building", columns=["name"], limit=5)
    assert list(few.columns) == ["id", "name", "geometry"]
    assert len(few) == 5


def test_layers_and_series(sample_city: Served, twin: Twin) -> None:
    listed = twin.layers()
    assert set(listed.index) == set(sample_city.store.catalog.layers)
    source = pd.read_csv(sample_city.folder / "parking_observation.csv")
    lot = source[source["停车场"] == "P02"].set_index(pd.to_datetime(source[source["停车场"] == "P02"]["时间"]))
    raw = twin.series("parking_observation", "P02")
    assert raw["occupied"].tolist() == lot["占用泊位"].astype(float).tolist()
    hourly = twin.series("parking_observation", "P02", period="hour", start="2024-05-07", until="2024-05-09")
    expected = lot["占用泊位"].resample("h").mean()
    inside = expected[(expected.index >= "2024-05-07T00:00+08:00") & (expected.index < "2024-05-09T00:00+08:00")]
    assert np.allclose(hourly["occupied_mean"], inside)
    observations = twin.read("parking_observation", where="feature = 'P02' AND occupied > 10")
    assert len(observations) == (lot["占用泊位"] > 10).sum()
    with pytest.raises(BadRequest, match="fortnight"):
        twin.series("parking_observation", "P02", period="fortnight")


def test_every_format_holds_the_same_buildings(sample_city: Served, twin: Twin, tmp_path: Path) -> None:
    where = "storeys > 4"
    expected = twin.read("building", where=where).set_index("id").sort_index()
    for name in ("b.gpkg", "b.parquet", "b.geojson"):
        said = exported(sample_city, tmp_path / name, "--where", where)
        assert f"{len(expected)} rows" in said, said
        read = gpd.read_parquet if name.endswith("parquet") else gpd.read_file
        back = read(tmp_path / name).set_index("id").sort_index()
        assert list(back.index) == list(expected.index)
        assert back["storeys"].tolist() == expected["storeys"].tolist()
        assert np.allclose(back.to_crs(4547).area, expected.area, atol=0.01), name
    assert f"{len(expected)} rows" in exported(sample_city, tmp_path / "b.csv", "--where", where)
    table = pd.read_csv(tmp_path / "b.csv").set_index("id").sort_index()
    assert table["name"].fillna("").tolist() == expected["name"].fillna("").tolist()
    first = shapely.from_wkt(table["geometry"].iloc[0]).centroid
    x, y = Transformer.from_crs(4326, 4547, always_xy=True).transform(first.x, first.y)
    assert abs(x - expected.geometry.iloc[0].centroid.x) < 0.01
    assert abs(y - expected.geometry.iloc[0].centroid.y) < 0.01


def test_moment_box_and_crs_of_an_export(sample_city: Served, twin: Twin, tmp_path: Path) -> None:
    box = "113.575,37.857,113.581,37.862"
    said = exported(sample_city, tmp_path / "b.gpkg", "--bbox", box, "--crs", "EPSG:4326", "--at", "2024-06-01")
    expected = set(twin.read("building", bbox=(113.575, 37.857, 113.581, 37.862))["id"])
    back = gpd.read_file(tmp_path / "b.gpkg")
    assert f"{len(expected)} rows" in said
    assert back.crs.to_epsg() == 4326
    assert set(back["id"]) == expected
    assert "0 rows" in exported(sample_city, tmp_path / "c.gpkg", "--at", "2023-01-01")
    assert "CRS" in exported(sample_city, tmp_path / "d.gpkg", "--crs", "EPSG:999999")
    assert "--bbox" in exported(sample_city, tmp_path / "d.gpkg", "--bbox", "1,2,3")
    assert "observations" not in exported(sample_city, tmp_path / "p.gpkg", layer="parking_observation")
    assert len(gpd.read_file(tmp_path / "p.gpkg")) == 4692


def test_city_models_go_round(sample_city: Served, make_store: MakeStore, tmp_path: Path) -> None:
    """What is exported as CityJSONSeq and loaded into an empty city has the same bodies, by their hashes."""
    path = tmp_path / "building.city.jsonl"
    assert "rows" in exported(sample_city, path)
    other = make_store()
    report = ingest(other, [path], Declared(vertical_datum="city"))
    assert report.exit_code == 0, report.summary()
    assert report.files[0].loaded == SAMPLE_ROWS
    sql = "SELECT id, lods, bodies, parent_id, use, storeys FROM twin.building WHERE upper_inf(recorded) ORDER BY id"
    with sample_city.store.connect() as ours, other.connect() as theirs:
        a, b = ours.execute(sql).fetchall(), theirs.execute(sql).fetchall()
    assert [r[0] for r in a] == [r[0] for r in b]
    assert [(r[1], r[3:]) for r in a] == [(r[1], r[3:]) for r in b]
    same = sum(r[2] == s[2] for r, s in zip(a, b, strict=True))
    assert same >= 0.99 * len(a), f"{same} of {len(a)} bodies are the same"


def test_rasters_go_out_as_geotiff(sample_city: Served, tmp_path: Path) -> None:
    exported(sample_city, tmp_path / "t.tif", layer="terrain")
    with rasterio.open(tmp_path / "t.tif") as out, rasterio.open(sample_city.folder / "terrain_town.tif") as town:
        box = town.bounds
        places = [(box.left + 103.0, box.top - 207.0), (box.right - 44.0, box.bottom + 71.0)]
        assert np.allclose(list(out.sample(places)), list(town.sample(places)))
        assert out.width > town.width


def test_an_export_that_fails_leaves_nothing(sample_city: Served, tmp_path: Path) -> None:
    assert "can be written as" in exported(sample_city, tmp_path / "b.xyz")
    assert "filter" in exported(sample_city, tmp_path / "b.gpkg", "--where", "nonsense >")
    assert list(tmp_path.iterdir()) == []


def test_working_ahead_keeps_order_and_passes_faults_on() -> None:
    assert list(ahead(iter(range(100)))) == list(range(100))

    def failing() -> object:
        yield 1
        raise ZeroDivisionError

    got = ahead(iter(failing()))  # type: ignore[call-overload]
    assert next(got) == 1
    with pytest.raises(ZeroDivisionError):
        next(got)


def test_times_are_utc(twin: Twin) -> None:
    assert twin.read("building", limit=1)["valid_from"].dt.tz is not None
    assert twin.read("building", limit=1)["valid_from"].iloc[0] == pd.Timestamp("2024-05-01", tz="Asia/Shanghai")
