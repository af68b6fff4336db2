"""A kept result as a collection at its job's address: pages, boxes, single rows, and who may read it."""

import dataclasses
from typing import Any

import geopandas as gpd
import httpx
import numpy as np
import pytest
import shapely

from cim.access.accounts import add_account
from cim.access.asker import Asker
from tests.conftest import Served
from tests.example.results import computed_of, finished, squares

COUNT = 57


@pytest.fixture(scope="module")
def rows(sample_city: Served) -> gpd.GeoDataFrame:
    return squares(COUNT, sample_city.store.city.srid)


@pytest.fixture(scope="module")
def job(sample_city: Served, rows: gpd.GeoDataFrame) -> str:
    return f"{sample_city.url}/ogc/jobs/{finished(sample_city.store, computed_of(rows))}"


def linked(document: dict[str, Any], rel: str) -> str:
    """The address of a document's one link of a relation; none is empty."""
    hrefs = [link["href"] for link in document["links"] if link["rel"] == rel]
    assert len(hrefs) <= 1
    return hrefs[0] if hrefs else ""


def test_links_lead_from_the_job_to_its_rows(job: str) -> None:
    landing = httpx.get(job).json()
    assert "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson" in httpx.get(
        linked(landing, "conformance")).json()["conformsTo"]  # fmt: skip
    assert httpx.get(linked(landing, "service-desc")).json()["openapi"]
    [collection] = httpx.get(linked(landing, "data")).json()["collections"]
    assert collection == httpx.get(linked(collection, "self")).json()
    assert httpx.get(linked(collection, "items")).json()["numberMatched"] == COUNT
    page = httpx.get(job, headers={"Accept": "text/html"}).text
    assert f"{job}/collections/results/items" in page


@pytest.mark.parametrize("limit", [1, 10, 19, 56, 57, 58, 100_000])
def test_pages_give_each_row_once_and_as_the_whole_result_has_it(job: str, limit: int) -> None:
    whole = httpx.get(f"{job}/results").json()["features"]
    address, features = f"{job}/collections/results/items?limit={limit}", []
    while address:
        page = httpx.get(address).json()
        assert page["numberMatched"] == COUNT
        assert page["numberReturned"] == len(page["features"]) <= limit
        features += page["features"]
        address = linked(page, "next")
    assert features == whole


def test_a_box_holds_the_rows_that_meet_it(job: str, rows: gpd.GeoDataFrame) -> None:
    degrees = rows.to_crs(4326)
    west, south, _, _ = degrees.total_bounds
    for box in (
        (west - 1, south - 1, west + 0.0007, south + 0.0004), (-180, -90, 180, 90), (170, -90, 150, 90),
        (170, -90, west + 0.0007, 90), (west + 0.00005, south + 0.00005, west + 0.00005, south + 0.00005), (0, 0, 1, 1),
    ):  # fmt: skip
        page = httpx.get(f"{job}/collections/results/items?bbox={','.join(map(str, box))}&limit=1000").json()
        area = shapely.box(*box) if box[0] <= box[2] else shapely.box(-180, box[1], box[2], box[3])
        assert {f["id"] for f in page["features"]} == set(degrees["id"][degrees.intersects(area)]), box
        assert page["numberMatched"] == len(page["features"])


def test_pages_of_a_box_keep_the_box(job: str) -> None:
    address, ids = f"{job}/collections/results/items?bbox=-180,-90,180,90&limit=25", []
    while address:
        page = httpx.get(address).json()
        ids += [f["id"] for f in page["features"]]
        address = linked(page, "next")
    assert len(ids) == len(set(ids)) == COUNT - 1  # one has no place


def test_a_row_is_found_by_its_id(job: str) -> None:
    page = httpx.get(f"{job}/collections/results/items?limit=5&offset=40").json()
    for feature in page["features"]:
        from urllib.parse import quote

        one = httpx.get(f"{job}/collections/results/items/{quote(feature['id'], safe='')}").json()
        assert one | {"links": 0} == feature | {"links": 0}
        assert httpx.get(linked(one, "self")).json() == one
    assert httpx.get(f"{job}/collections/results/items/none").status_code == 404


def test_rows_of_one_name_are_told_apart(sample_city: Served, rows: gpd.GeoDataFrame) -> None:
    twins = rows.assign(id="twin")
    base = f"{sample_city.url}/ogc/jobs/{finished(sample_city.store, computed_of(twins))}/collections/results/items"
    ids = [f["id"] for f in httpx.get(f"{base}?limit=1000").json()["features"]]
    assert ids == [str(n) for n in range(COUNT)]
    assert httpx.get(f"{base}/7").json()["properties"]["people"] == 7
    assert [httpx.get(f"{base}/{name}").status_code for name in ("57", "07", "-1", "²", "9" * 30)] == [404] * 5


def test_a_result_without_rows_or_places_is_an_empty_collection(sample_city: Served, rows: gpd.GeoDataFrame) -> None:
    untyped = gpd.GeoDataFrame({"id": [], "week": np.empty(0, object)}, geometry=[], crs=rows.crs)
    for empty in (rows.iloc[:0], gpd.GeoDataFrame({"id": ["a"]}), untyped, untyped.astype({"id": object})):
        base = f"{sample_city.url}/ogc/jobs/{finished(sample_city.store, computed_of(empty))}/collections/results"
        assert "extent" not in httpx.get(base).json()
        assert httpx.get(f"{base}/items").json()["numberMatched"] == len(empty)
        assert httpx.get(f"{base}/items?bbox=-180,-90,180,90").json()["features"] == []


def test_a_result_is_read_by_whom_its_results_are(sample_city: Served, rows: gpd.GeoDataFrame) -> None:
    with sample_city.store.connect() as connection, connection.cursor() as cursor:
        keys = {name: add_account(cursor, f"collection {name}", "viewer") for name in ("owner", "other")}
    asker = Asker("collection owner", "viewer", None)
    base = f"{sample_city.url}/ogc/jobs/{finished(sample_city.store, computed_of(rows), asker)}"
    paths = ("results", "conformance", "collections", "collections/results", "collections/results/items",
             "collections/results/items/x")  # fmt: skip
    for path in paths:
        assert httpx.get(f"{base}/{path}").status_code == 403, path
        assert httpx.get(f"{base}/{path}", headers={"X-API-Key": keys["other"]}).status_code == 403, path
        status = httpx.get(f"{base}/{path}", headers={"X-API-Key": keys["owner"]}).status_code
        assert status == (404 if path.endswith("/x") else 200), path
    httpx.patch(base, json={"shared": True}, headers={"X-API-Key": keys["owner"]}).raise_for_status()
    assert httpx.get(f"{base}/collections/results/items").json()["numberMatched"] == COUNT


def test_a_job_of_an_analysis_that_is_gone_is_still_read(sample_city: Served, rows: gpd.GeoDataFrame) -> None:
    gone = dataclasses.replace(computed_of(rows), analysis="of_a_package_since_removed")
    base = f"{sample_city.url}/ogc/jobs/{finished(sample_city.store, gone)}"
    assert httpx.get(f"{base}/collections/results").json()["title"] == gone.analysis
