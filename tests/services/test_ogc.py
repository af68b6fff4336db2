"""`/ogc` as clients use it: paging, boxes in three CRS, times, languages, proxies, and honest links."""

import datetime as dt
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urldefrag

import httpx
import numpy as np
import pytest
import rasterio

from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import SAMPLE_BUILDINGS, Served
from tests.factory import EAST, NORTH, write_cityjson


def get(served: Served, path: str, **options: object) -> httpx.Response:
    return httpx.get(f"{served.url}{path}", timeout=30, **options)  # type: ignore[arg-type]


def pages(url: str, headers: dict[str, str] | None = None) -> list[list[str]]:
    found = []
    while url:
        document = httpx.get(url, headers=headers, timeout=30).json()
        found.append([f["id"] for f in document["features"]])
        url = next((link["href"] for link in document["links"] if link["rel"] == "next"), "")
        if headers:
            url = url.replace("https://gis.example.org/city", url_of(headers))
    return found


def url_of(headers: dict[str, str]) -> str:
    return headers["x-test-server"]


def test_every_layer_is_a_collection(sample_city: Served) -> None:
    listed = {c["id"] for c in get(sample_city, "/ogc/collections").json()["collections"]}
    assert listed == set(sample_city.store.catalog.layers)


def test_a_rasters_collection_holds_its_sheets_and_leads_to_the_files(sample_city: Served, tmp_path: Path) -> None:
    sheets = get(sample_city, "/ogc/collections/terrain/items?f=json").json()["features"]
    assert {s["id"] for s in sheets} == {"terrain_region", "terrain_town"}
    assert get(sample_city, "/ogc/collections/terrain/items?datetime=2020-01-01T00:00:00Z").json()["features"] == []
    town = next(s for s in sheets if s["id"] == "terrain_town")
    path = tmp_path / "town.tif"
    path.write_bytes(get(sample_city, f"/{town['properties']['extra']['file']}").content)
    with rasterio.open(path) as served, rasterio.open(sample_city.folder / "terrain_town.tif") as source:
        assert np.array_equal(served.read(1), source.read(1))


def test_after_a_full_last_page_there_is_none(sample_city: Served) -> None:
    """Also where counting would cost more than the page, so that no number matched is given."""
    for limit in (85, 17, 5):
        found = pages(f"{sample_city.url}/ogc/collections/road_segment/items?f=json&limit={limit}")
        assert [len(page) for page in found] == [limit] * (85 // limit)
    size = "SELECT reltuples FROM pg_class WHERE oid = 'twin.bridge'::regclass"  # nobody asked for bridges before
    with sample_city.store.connect() as connection:
        before = connection.execute(size).fetchone()
        connection.execute("UPDATE pg_class SET reltuples = 5e6 WHERE oid = 'twin.bridge'::regclass")
    try:
        found = pages(f"{sample_city.url}/ogc/collections/bridge/items?f=json&limit=12")
        assert [len(page) for page in found] == [12, 12]
        assert "numberMatched" not in get(sample_city, "/ogc/collections/bridge/items?f=json&limit=12").json()
    finally:
        with sample_city.store.connect() as connection:
            connection.execute("UPDATE pg_class SET reltuples = %s WHERE oid = 'twin.bridge'::regclass", before)


def test_pages_give_each_building_once(sample_city: Served) -> None:
    found = pages(f"{sample_city.url}/ogc/collections/building/items?f=json&limit=100")
    ids = [i for page in found for i in page]
    with sample_city.store.connect("server") as connection:
        row = connection.execute("SELECT count(*) FROM twin.building WHERE upper_inf(recorded)").fetchone()
    assert len(ids) == len(set(ids)) == (row or (0,))[0]
    assert all(len(page) == 100 for page in found[:-1])


def test_boxes_in_the_axis_order_of_their_crs(sample_city: Served) -> None:
    with sample_city.store.connect("server") as connection:
        sql = """SELECT ST_XMin(g), ST_YMin(g), ST_XMax(g), ST_YMax(g),
                        ST_XMin(w), ST_YMin(w), ST_XMax(w), ST_YMax(w)
                 FROM (SELECT ST_Envelope(geom) g, ST_Envelope(ST_Transform(geom, 4326)) w FROM twin.building
                       WHERE id = 'YQ00001') b"""
        x0, y0, x1, y1, w, s, e, n = connection.execute(sql).fetchone()  # type: ignore[misc]
    base = "/ogc/collections/building/items?f=json&limit=500"
    epsg = "http://www.opengis.net/def/crs/EPSG/0/"
    answers = [
        get(sample_city, f"{base}&bbox={w},{s},{e},{n}"),
        get(sample_city, f"{base}&bbox={s},{w},{n},{e}&bbox-crs={epsg}4326"),
        get(sample_city, f"{base}&bbox={y0},{x0},{y1},{x1}&bbox-crs={epsg}4547"),
    ]
    found = [{f["id"] for f in a.json()["features"]} for a in answers]
    assert "YQ00001" in found[0]
    assert found[0] == found[1] == found[2]


def test_a_box_of_degrees_finds_what_touches_it_and_nothing_beside_it(sample_city: Served) -> None:
    """Its sides run askew in the city's CRS; a box around them there would find some more."""
    found = get(sample_city, "/ogc/collections/tree/items?f=json&limit=10000").json()["features"]
    assert len(found) > 9000
    ids = np.array([f["id"] for f in found])
    lon, lat = np.array([f["geometry"]["coordinates"][:2] for f in found]).T
    for west, south, side in ((113.571, 37.856, 0.004), (113.5774, 37.8588, 0.0081), (113.5851, 37.8612, 0.0005)):
        box = f"{west},{south},{west + side},{south + side}"
        inside = (lon >= west) & (lon <= west + side) & (lat >= south) & (lat <= south + side)
        answer = get(sample_city, f"/ogc/collections/tree/items?f=json&limit=10000&bbox={box}").json()["features"]
        assert {f["id"] for f in answer} == set(ids[inside])


@pytest.mark.parametrize("box", ["-180,-90,180,90", "-180,-90,0,180,90,9000"])
def test_a_box_of_the_whole_world_finds_all(sample_city: Served, box: str) -> None:
    answer = get(sample_city, f"/ogc/collections/fire_station/items?f=json&bbox={box}")
    assert answer.status_code == 200
    assert len(answer.json()["features"]) == 2


@pytest.mark.parametrize("query", ["bbox=1,2,3", "bbox=a,b,c,d", "limit=0", "limit=x", "datetime=yesterday", "f=xml"])
def test_what_cannot_be_read_is_a_400(sample_city: Served, query: str) -> None:
    assert get(sample_city, f"/ogc/collections/building/items?{query}").status_code == 400


def test_what_is_not_there_is_a_404(sample_city: Served) -> None:
    assert get(sample_city, "/ogc/collections/nowhere").status_code == 404
    assert get(sample_city, "/ogc/collections/building/items/nobody").status_code == 404


def test_chinese_is_written_as_it_is_and_numbers_have_a_point(sample_city: Served) -> None:
    text = get(sample_city, "/ogc/collections/building/items?f=json&name=阳泉市民中心").text
    assert "阳泉市民中心" in text
    heights = re.findall(r'"height_m":\s*([^,}]+)', text)
    assert heights
    assert all("." in h for h in heights)


def test_crs_of_the_answer(sample_city: Served) -> None:
    path = "/ogc/collections/fire_station/items/FS1?f=json&crs=http://www.opengis.net/def/crs/EPSG/0/4547"
    answer = get(sample_city, path)
    north, east = answer.json()["geometry"]["coordinates"][:2]
    assert abs(north - NORTH) < 5000
    assert abs(east - EAST) < 5000
    assert answer.headers["content-crs"] == "<http://www.opengis.net/def/crs/EPSG/0/4547>"


@pytest.mark.parametrize(
    "asked",
    [{"params": {"lang": "zh"}}, {"params": {"lang": "zh-CN"}}, {"headers": {"Accept-Language": "zh-CN,zh;q=0.9"}}],
)
def test_chinese_titles(sample_city: Served, asked: dict[str, object]) -> None:
    collection = get(sample_city, "/ogc/collections/building", **asked).json()
    assert collection["title"] == "建筑"
    schema = get(sample_city, "/ogc/collections/building/schema", **asked).json()
    assert schema["properties"]["use"]["title"] == "用途"
    assert {"const": "residential", "title": "住宅"} in schema["properties"]["use"]["oneOf"]


def test_behind_a_proxy_every_link_carries_its_name_and_prefix(sample_city: Served) -> None:
    """The requests that QGIS 3.22 makes, under another host and prefix."""
    headers = {
        "Host": "gis.example.org",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "gis.example.org",
        "X-Forwarded-Prefix": "/city",
        "x-test-server": sample_city.url,
    }
    landing = httpx.get(f"{sample_city.url}/ogc", headers=headers).json()
    description = next(link["href"] for link in landing["links"] if link["rel"] == "service-desc")
    assert description == "https://gis.example.org/city/ogc/openapi"
    api = httpx.get(description.replace("https://gis.example.org/city", sample_city.url), headers=headers).json()
    assert api["components"]["parameters"]["limit"]["schema"]["maximum"] == 10_000
    for path in ("", "/collections", "/collections/building", "/collections/building/items?limit=10", "/conformance"):
        text = httpx.get(f"{sample_city.url}/ogc{path}", headers=headers).text
        assert not re.findall(r'"href": "(?!https://gis\.example\.org/city)', text)
        html = httpx.get(f"{sample_city.url}/ogc{path}", headers=headers | {"Accept": "text/html"}).text
        assert not re.findall(r'(?:href|src)="http(?!s://gis\.example\.org/city)', html)
    walked = pages(f"{sample_city.url}/ogc/collections/building/items?limit=300", headers)
    assert len({i for page in walked for i in page}) == sum(map(len, walked)) > 600


def test_links_crawled_to_depth_three_answer_and_stay_here(sample_city: Served) -> None:
    waiting, seen = {f"{sample_city.url}/ogc", f"{sample_city.url}/ogc?f=html&lang=zh"}, set[str]()
    for _ in range(3):
        found = set()
        for url in sorted(waiting - seen):
            answer = httpx.get(url, timeout=30)
            assert answer.status_code == 200, url
            if "/ogc" in url:
                found |= set(re.findall(r'"(?:href|\$ref)":\s*"([^#"][^"]*)"', answer.text))
                links = re.findall(r'(?:href|src)="([^"#]+)"', answer.text)
                found |= {str(httpx.URL(url).join(link.replace("&amp;", "&"))) for link in links if link != "data:,"}
        seen |= waiting
        waiting = {urldefrag(link)[0] for link in found}
        assert {link for link in waiting if not link.startswith(sample_city.url)} == set()
    assert len(seen) > 30


def test_openapi_refers_only_to_itself(sample_city: Served) -> None:
    document = get(sample_city, "/ogc/openapi").json()

    def references(part: object) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if "$ref" in part else []
            return own + [r for value in part.values() for r in references(value)]
        return [r for value in part for r in references(value)] if isinstance(part, list) else []

    for reference in set(references(document)):
        target: object = document
        for step in reference.removeprefix("#/").split("/"):
            assert isinstance(target, dict)
            target = target[step]


def test_datetime_gives_the_city_as_it_was(sample_city: Served) -> None:
    path = "/ogc/collections/fire_station/items?f=json&datetime="
    assert get(sample_city, f"{path}2020-01-01T00:00:00Z").json()["features"] == []
    assert len(get(sample_city, f"{path}2024-06-01T00:00:00Z").json()["features"]) == 2
    assert len(get(sample_city, f"{path}2020-01-01/2024-06-01").json()["features"]) == 2


@pytest.mark.client
def test_gdal_reads_all_while_another_process_loads(sample_city: Served) -> None:
    if not shutil.which("ogrinfo"):
        pytest.skip("ogrinfo isn't installed: apt-get install gdal-bin")
    address = f"OAPIF:{sample_city.url}/ogc/collections/building"
    command = ["ogrinfo", "-ro", "-al", "-q", "-oo", "PAGE_SIZE=100", address]
    reading = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    store = sample_city.store
    for k in range(3):
        objects = {"YQ00001": {"box": (EAST - 3000, NORTH - 3000, 700, 20, 10, 9 + k), "attributes": {"name": "临时"}}}
        path = write_cityjson(sample_city.folder.parent / "other.city.json", objects)
        options = Declared(vertical_datum="city", id_prefix="T-", date=dt.date(2024, 6, 1 + k), dataset="other")
        assert ingest(store, [path], options).exit_code == 0
    text = reading.communicate(timeout=120)[0]
    ids = re.findall(r"^  id \(String\) = (.*)$", text, re.M)
    ours = [i for i in ids if not i.startswith("T-")]
    assert len(ours) == len(set(ours)) >= SAMPLE_BUILDINGS
    assert "阳泉市民中心" in text
    one = subprocess.run(
        ["ogrinfo", "-ro", "-al", "-q", address, "-where", "id='YQ00001'"], capture_output=True, text=True, check=True
    ).stdout
    assert "YQ00001" in one
    with store.connect() as connection:  # other tests count the sample's buildings
        connection.execute("DELETE FROM twin.building WHERE dataset = 'other'")
