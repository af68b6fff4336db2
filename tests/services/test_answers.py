"""What the page is answered is what its types say: each door's answer is read by the model it was declared with."""

import os
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import rasterio
from pydantic import TypeAdapter

from cim.access.accounts import add_account
from cim.analysis.engine.registry import analyses
from cim.city import City
from services.docs.viewer_types import viewer_types
from services.http import answers
from tests.conftest import MakeStore, Served, serving

DAY = "2099-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def page(changing_city: Served) -> Iterator[httpx.Client]:
    """Who asks as the page does, signed in as an editor."""
    with changing_city.store.connect() as connection, connection.cursor() as cursor:
        key = add_account(cursor, "page", "editor")
    with httpx.Client(base_url=changing_city.url, timeout=60, headers={"X-API-Key": key}) as client:
        yield client


def read(client: httpx.Client, path: str, model: Any) -> Any:
    """Ask for a path; its answer as the model has it, which refuses members that it doesn't declare."""
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.text)
    return TypeAdapter(model).validate_json(answer.content)


@pytest.mark.parametrize("at", ["", f"?at={DAY}", "?at=1990-01-01"])
def test_the_catalogue_tree(page: httpx.Client, at: str) -> None:
    catalog = read(page, f"/viewer/catalog.json{at}", answers.Catalog)
    assert {layer.kind for layer in catalog.layers} == {"feature", "raster", "points", "tileset", "observation"}
    document = page.get(f"/viewer/catalog.json{at}").json()
    assert document == catalog.document()  # nothing is lost on the way, nor comes to it


def test_the_city_says_where_it_is_and_how_high_its_ground_lies(page: httpx.Client, changing_city: Served) -> None:
    catalog = read(page, "/viewer/catalog.json", answers.Catalog)
    with rasterio.open(changing_city.folder / "terrain_town.tif") as file:
        lowest, highest = float(file.read(1, masked=True).min()), float(file.read(1, masked=True).max())
    anomaly = changing_city.store.city.height_anomaly_m
    assert lowest + anomaly <= catalog.ground_height_m <= highest + anomaly
    before = read(page, "/viewer/catalog.json?at=1990-01-01", answers.Catalog)
    assert not before.terrain
    assert before.ground_height_m == 0  # what is shown then is the ellipsoid


def test_an_empty_city_without_an_extent_lies_where_its_reference_system_is_used(make_store: MakeStore) -> None:
    store = make_store(City(name="Zürich", srid=2056, vertical_datum="EPSG:5728"))
    environment = os.environ | {"CIM_STATE": str(store.settings.state), "CIM_DATABASE_URL": store.url}
    with serving(environment) as url, httpx.Client(base_url=url, timeout=60) as client:
        catalog = read(client, "/viewer/catalog.json", answers.Catalog)
        west, south, east, north = catalog.box
        assert west < 8.54 < east
        assert south < 47.37 < north
        assert catalog.ground_height_m == 0


def test_what_is_asked_for_beside_tiles(page: httpx.Client) -> None:
    west, south, east, north = read(page, "/viewer/catalog.json", answers.Catalog).box
    lon, lat = (west + east) / 2, (south + north) / 2
    assert read(page, f"/viewer/place?lon={lon}&lat={lat}", answers.Place).height is None
    assert read(page, f"/viewer/place?lon={lon}&lat={lat}&height=0", answers.Place).height is not None
    [coordinate] = read(page, f"/viewer/search?q={lon},{lat}", list[answers.Hit])
    assert coordinate.crs == "EPSG:4326"
    marks = read(page, "/viewer/marks/hydrant.json", list[answers.Mark])
    assert marks
    hits = read(page, f"/viewer/search?q={marks[0].id}", list[answers.Hit])
    assert marks[0].id in {hit.id for hit in hits}
    assert read(page, "/viewer/datasets/hydrant.json", list[answers.DatasetNote])
    origin = read(page, f"/viewer/provenance/hydrant/{marks[0].id}", answers.Provenance)
    assert origin.operator
    with httpx.Client(base_url=page.base_url, timeout=60) as stranger:
        assert read(stranger, f"/viewer/provenance/hydrant/{marks[0].id}", answers.Provenance).operator is None
    assert read(page, "/observations/parking_observation/P01?period=hour", answers.Series).times


@pytest.mark.parametrize("language", ["zh", "en"])
def test_processes_are_described(page: httpx.Client, language: str) -> None:
    listed = read(page, f"/ogc/processes?f=json&lang={language}", answers.ProcessList)
    assert {process.id for process in listed.processes} == set(analyses())
    for process in listed.processes:
        path = f"/ogc/processes/{process.id}?f=json&lang={language}"
        described = read(page, path, answers.Process)
        assert described.document() == page.get(path).json()


@pytest.mark.parametrize("name", analyses())
def test_jobs_and_their_results(page: httpx.Client, name: str) -> None:
    inputs = dict(analyses()[name].declaration.example)
    path = f"/ogc/processes/{name}/execution"
    queued = page.post(path, json={"inputs": inputs}, headers={"Prefer": "respond-async"})
    job = answers.Job.model_validate_json(queued.content)
    job = waited(page, f"/ogc/jobs/{job.job}?f=json", answers.Job)
    assert job.status == "successful", job.message
    results = read(page, f"/ogc/jobs/{job.job}/results", answers.Results)
    assert results.features
    assert job.job in {row.job for row in read(page, "/ogc/jobs?f=json", answers.JobList).jobs}


def waited(client: httpx.Client, path: str, model: Any) -> Any:
    """Ask for a job until it is done."""
    for _ in range(600):
        job = read(client, path, model)
        if job.status not in ("accepted", "running"):
            return job
        time.sleep(0.1)
    raise AssertionError(f"{path} doesn't end")


def test_an_upload_is_checked_loaded_and_taken_back(page: httpx.Client) -> None:
    rows = "id,name,lon,lat\nN1,甲,113.58,37.86\nN2,乙,,\n"
    sent = page.post("/viewer/uploads?name=hydrant.csv&crs=EPSG:4326&layer=hydrant", content=rows.encode())
    queued = answers.Queued.model_validate_json(sent.content)
    checked = waited(page, f"/viewer/uploads/jobs/{queued.job}", answers.UploadJob).result
    assert isinstance(checked, answers.Checked)
    assert checked.acceptable, checked.report
    accepted = page.post(f"/viewer/uploads/{queued.upload}/accept?crs=EPSG:4326&layer=hydrant")
    loading = answers.Queued.model_validate_json(accepted.content)
    load = waited(page, f"/viewer/uploads/jobs/{loading.job}", answers.UploadJob).result.report.load
    undoing = answers.Queued.model_validate_json(page.post(f"/viewer/loads/{load}/undo").content)
    undone = waited(page, f"/viewer/uploads/jobs/{undoing.job}", answers.UploadJob).result
    assert isinstance(undone, answers.Undone)
    assert undone.load == load


@pytest.mark.parametrize("path", ["/viewer/search?q=", "/ogc/jobs/nothing?f=json", "/3dtiles/nowhere/tileset.json"])
def test_a_fault(page: httpx.Client, path: str) -> None:
    answer = page.get(path)
    assert answers.Fault.model_validate_json(answer.content).status == answer.status_code


def test_what_there_isnt_is_left_out_and_null_is_said() -> None:
    hit = answers.Hit(layer=None, id=None, text="1, 2", lon=1, lat=2)
    assert hit.document() == {"layer": None, "id": None, "text": "1, 2", "lon": 1.0, "lat": 2.0}
    schema = answers.InputSchema.model_validate({"type": "number", "x-ogc-unit": "m", "exclusiveMinimum": 0})
    assert schema.document() == {"type": "number", "x-ogc-unit": "m", "exclusiveMinimum": 0}
    assert '  "x-ogc-unit"?: string;' in viewer_types()
    assert "  crs?: string;" in viewer_types()
    assert "  layer: string | null;" in viewer_types()
