"""Keys and roles, jobs that end when they are dismissed, edits with their audit row, policies that keep the index."""

import io
import os
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cim.access.accounts import add_account
from cim.access.audit import COMMAND_LINE
from cim.config import Settings
from cim.loads.load import load
from cim.store import cluster
from cim.store.connection import Store, connect, initialise, open_store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import MakeStore, Served, process_of, serving, until

SLOW = """
import time
from cim.analysis.engine.declaration import Declaration, Output
from cim.analysis.engine.parameters import Parameters as Common
from cim.analysis.engine.registry import Analysis
from cim.analysis.engine.result import Check, Result
from cim.catalog.row import Text

class Parameters(Common):
    seconds: float = 60.0

def run(asked, inputs, progress):
    import geopandas as gpd
    until = time.monotonic() + asked.seconds
    while time.monotonic() < until:
        progress(1 - (until - time.monotonic()) / asked.seconds, "sleeping")
        time.sleep(0.05)
    return Result(gpd.GeoDataFrame({"id": ["done"]}), Check(True, Text(zh="睡了", en="slept")))

ANALYSIS = Declaration(Parameters, (Output("id", Text(zh="标识", en="Id")),), run, example={})
ROW = Analysis("sleep", Text(zh="睡", en="Sleep"), Text(zh="睡", en="Sleeps"), "slow_analysis")
"""


@dataclass
class Running:
    """A store of its own with a server of its own."""

    store: Store
    environment: dict[str, str]
    keys: dict[str, str]


@pytest.fixture
def city(
    make_store: MakeStore, private_cluster: cluster.Cluster, tmp_path: Path, sample_folder: Path
) -> Iterator[Running]:
    """Hydrants, districts and buildings, keys for three roles, and an analysis that sleeps, from another package."""
    store = make_store()
    files = ["terrain_town.tif", "building_core.city.jsonl", "district.geojson", "dataset.toml"]
    folder = tmp_path / "in"
    folder.mkdir()
    for name in files:
        (folder / name).symlink_to(sample_folder / name)
    assert ingest(store, [folder], Declared()).exit_code == 0
    package = tmp_path / "package"
    (package / "slow-1.dist-info").mkdir(parents=True)
    (package / "slow_analysis.py").write_text(SLOW, "utf-8")
    (package / "slow-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1\n", "utf-8")
    (package / "slow-1.dist-info/entry_points.txt").write_text("[cim.analyses]\nsleep = slow_analysis:ROW\n", "utf-8")
    with store.connect() as connection, connection.cursor() as cursor:
        keys = {role: add_account(cursor, f"{role} 王", role) for role in ("viewer", "editor", "admin")}  # type: ignore[arg-type]
    database = store.url.split("dbname=")[1].split()[0]
    environment = os.environ | {
        "CIM_STATE": str(store.settings.state),
        "CIM_DATABASE_URL": store.url,
        "CIM_SERVE_DATABASE_URL": private_cluster.url(cluster.SERVER, database),
        "CIM_WORKERS": "2",
        "PYTHONPATH": str(package),
    }
    settings = Settings(database_url=store.url, serve_database_url=environment["CIM_SERVE_DATABASE_URL"])
    initialise(settings)  # grants to the server's role what it may
    with open_store(settings):
        yield Running(store, environment, keys)


def submitted(client: httpx.Client, seconds: float = 60.0) -> str:
    answer = client.post(
        "/ogc/processes/sleep/execution", json={"inputs": {"seconds": seconds}}, headers={"Prefer": "respond-async"}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"]).split("/ogc/")[1]


def await_worker(client: httpx.Client) -> None:
    """Wait until a worker stands: an edit that waits for one is answered with a job."""
    done = client.post("/ogc/processes/sleep/execution", json={"inputs": {"seconds": 0}}, timeout=70)
    assert done.status_code == 200, done.text


def outcome(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """What became of an edit, also where it had to wait for a worker."""
    assert answer.status_code in (200, 201, 202), answer.text
    document: dict[str, Any] = answer.json()
    if answer.status_code == 202:
        job = answer.headers["location"]
        assert until(lambda: bool(client.get(job).json()["finished"])), "it waits for what it needn't wait for"
        document = client.get(job).json()["result"]
    return document


FAILURES = {  # of an analysis, of the checks of an upload, of taking a load back
    "zh": ("位置在本市范围", "压缩包不得含有指向包外的文件", "没有批次 999999"),
    "en": ("the place lies", "a zip must not have members outside itself", "no load 999999"),
}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_why_a_job_failed_is_said_in_the_language_of_who_reads_it(sample_city: Served, language: str) -> None:
    with sample_city.store.connect() as connection, connection.cursor() as cursor:
        key = add_account(cursor, f"editor who reads {language}", "editor")
    other = {"zh": "en", "en": "zh"}[language]
    far = {"inputs": {"lon": 0.0, "lat": 0.0}}
    outside = io.BytesIO()
    with zipfile.ZipFile(outside, "w") as archive:
        archive.writestr("../a.csv", "id\n")
    with httpx.Client(base_url=sample_city.url, headers={"X-API-Key": key}, timeout=60) as client:
        asked = client.post("/ogc/processes/incident/execution", json=far, headers={"Prefer": "respond-async"})
        sent = client.post("/viewer/uploads?name=a.zip", content=outside.getvalue())
        undone = client.post("/viewer/loads/999999/undo")
        jobs = [
            f"/ogc/jobs/{asked.json()['jobID']}",
            *(f"/viewer/uploads/jobs/{a.json()['job']}" for a in (sent, undone)),
        ]
        for job, words in zip(jobs, FAILURES[language], strict=True):
            assert until(lambda job=job: client.get(job).json()["status"] == "failed")  # type: ignore[misc]
            asks = {"Accept-Language": language}
            assert words in client.get(job, headers=asks).json()["message"]
            assert (
                words
                in client.get(job, params={"lang": language}, headers={"Accept-Language": other}).json()["message"]
            )
        page = client.get(f"{jobs[0]}?f=html", headers=asks).text
        problem = client.get(f"{jobs[0]}/results", headers=asks)
        assert FAILURES[language][0] in page
        assert problem.status_code == 400
        assert FAILURES[language][0] in problem.json()["detail"]


def status(client: httpx.Client, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/ogc/{job}").json()
    return found


def test_a_job_of_a_minute_is_dismissed_and_its_process_is_gone(city: Running) -> None:
    with serving(city.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        job = submitted(client)
        assert until(lambda: status(client, job)["progress"] > 0)
        with city.store.connect() as connection:
            row = connection.execute("SELECT worker FROM cim.job").fetchone()
        assert row
        worker = int(row[0])
        os.kill(worker, 0)
        assert client.delete(f"/ogc/{job}").json()["status"] == "dismissed"
        assert until(lambda: not Path(f"/proc/{worker}").exists(), 5.0)
        assert status(client, job)["status"] == "dismissed"
        assert client.get(f"/ogc/{job}/results").status_code == 404
        # another process takes its place
        answer = client.post("/ogc/processes/cell_statistics/execution", json={"inputs": {"cells": "district"}})
        assert answer.status_code == 200
        assert answer.json()["check"]["passed"]


def test_a_killed_server_loses_no_job_and_runs_none_twice_to_a_double_effect(city: Running) -> None:
    with serving(city.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        before = submitted(client, 0.1)
        assert until(lambda: status(client, before)["status"] == "successful")
        running = [submitted(client, 6.0) for _ in range(2)]
        assert until(lambda: all(status(client, job)["status"] == "running" for job in running))
        waiting = [submitted(client, 0.2) for _ in range(3)]
        workers = {int(row[0]) for row in _rows(city.store, "SELECT worker FROM cim.job WHERE status = 'running'")}
        os.kill(int(process_of(url).name), signal.SIGKILL)
        assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 5.0), (
            "a worker outlived the server"
        )
    with serving(city.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        jobs = [before, *running, *waiting]
        assert until(lambda: all(status(client, job)["finished"] for job in jobs), 40.0)
        assert {status(client, job)["status"] for job in jobs} == {"successful"}
        assert client.get(f"/ogc/{before}/results").json()["features"][0]["id"] == "done"
    attempts = dict(_rows(city.store, "SELECT number, attempt FROM cim.job ORDER BY number"))
    assert list(attempts.values()) == [1, 2, 2, 1, 1, 1]


def _rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    with store.connect() as connection:
        return connection.execute(sql.encode()).fetchall()


def test_who_asks_for_too_much_waits(city: Running) -> None:
    with serving(city.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        jobs = [submitted(client) for _ in range(20)]
        answer = client.post("/ogc/processes/sleep/execution", json={"inputs": {}}, headers={"Prefer": "respond-async"})
        assert answer.status_code == 429
        assert "dismiss" in answer.json()["detail"]
        as_viewer = {"X-API-Key": city.keys["viewer"]}
        other = client.post(
            "/ogc/processes/sleep/execution",
            json={"inputs": {"seconds": 0}},
            headers=as_viewer | {"Prefer": "respond-async"},
        )
        assert other.status_code == 201
        assert len(client.get("/ogc/jobs").json()["jobs"]) == 20
        assert len(client.get("/ogc/jobs", headers=as_viewer).json()["jobs"]) == 1
        assert len(client.get("/ogc/jobs", headers={"X-API-Key": city.keys["admin"]}).json()["jobs"]) == 21
        mine = other.headers["location"].split("/ogc/")[1]
        assert client.delete(f"/ogc/{mine}").status_code == 403
        for job in jobs:
            assert client.delete(f"/ogc/{job}").status_code == 200


@pytest.mark.parametrize("role", [None, "viewer"])
def test_writes_need_an_editor(city: Running, role: str | None) -> None:
    with serving(city.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        headers = {"X-API-Key": city.keys[role]} if role else {}
        for method in ("PUT", "DELETE"):
            answer = client.request(method, "/ogc/collections/district/items/140302", json={}, headers=headers)
            assert answer.status_code == (403 if role else 401)
        assert client.post("/ogc/collections/district/items", json={}, headers=headers).status_code in (401, 403)
        assert client.get("/ogc", headers={"X-API-Key": "guessed"}).status_code == 401
        wrong_name = client.get("/ogc", auth=("somebody", city.keys["viewer"]))
        assert wrong_name.status_code == 401
        assert wrong_name.headers["www-authenticate"].startswith("Basic")
        assert client.get("/ogc", headers={"Authorization": "Basic %%%"}).status_code == 401
    assert _rows(city.store, "SELECT count(*) FROM cim.audit WHERE account IS NOT NULL") == [(0,)]


def test_an_edit_is_a_version_with_its_load_and_audit_row(city: Running) -> None:
    with serving(city.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        await_worker(client)
        client.auth = ("editor 王", city.keys["editor"])
        address = "/ogc/collections/building/items/YQ00024"
        feature = client.get(address).json()
        assert client.put(address, json=feature).json()["action"] == "unchanged"
        feature["properties"]["name"] = "新名"
        edited = client.put(address, json=feature).json()
        assert edited["action"] == "replaced"
        after = client.get(address).json()["properties"]
        assert (after["name"], after["lods"], after["load"]) == ("新名", "2.2", edited["load"])
        feature["properties"]["height_m"] = 31.0
        higher = client.put(address, json=feature).json()
        assert (higher["action"], len(higher["warnings"])) == ("replaced", 1)
        assert client.get(address).json()["properties"]["lods"] == "2.2"  # its roof was measured
        made = client.post("/ogc/collections/hydrant/items", json={
            "type": "Feature", "geometry": {"type": "Point", "coordinates": [113.58, 37.86]},
            "properties": {"name": "新栓", "压力": 0.3}})  # fmt: skip
        assert made.status_code == 201
        assert client.get(made.headers["location"]).json()["properties"]["extra"] == {"压力": 0.3}
        assert client.delete(made.headers["location"]).json()["action"] == "deleted"
        assert client.get(made.headers["location"]).status_code == 404
        assert client.delete(made.headers["location"]).status_code == 404
        for broken in ({}, {"type": "Feature", "geometry": {"type": "Point"}}, {"type": "Feature", "geometry": None}):
            assert client.put(address, json=broken).status_code == 400
        far = feature | {"geometry": {"type": "Point", "coordinates": [13.5, 37.8]}}
        assert client.put("/ogc/collections/hydrant/items/H9", json=far).status_code == 422
        line = {
            "type": "Feature",
            "geometry": {"type": "LineString", "coordinates": [[113.58, 37.86], [113.581, 37.86]]},
            "properties": {},
        }
        assert client.put("/ogc/collections/hydrant/items/H9", json=line).status_code == 400
    audit = _rows(
        city.store,
        "SELECT account, role, action, layer, id, load IS NOT NULL FROM cim.audit"
        " WHERE account IS NOT NULL ORDER BY seq",
    )
    assert [row[2] for row in audit] == ["unchanged", "replaced", "replaced", "created", "deleted"]
    assert audit[1] == ("editor 王", "editor", "replaced", "building", "YQ00024", True)
    assert _rows(city.store, "SELECT count(*) FROM twin.building WHERE id = 'YQ00024'") == [(3,)]


def hydrant(name: str, **options: Any) -> dict[str, Any]:
    point = {"type": "Point", "coordinates": [113.58, 37.86]}
    return {"type": "Feature", "geometry": point, "properties": {"name": name}} | options


@contextmanager
def loading(store: Store, layer: str) -> Iterator[None]:
    """Hold a layer as a load does that takes its time, and then writes nothing."""
    with store.connect() as c, c.cursor() as cursor, load(cursor, COMMAND_LINE, "load", [layer]) as work:
        yield
        work.give_up()


def test_an_edit_that_waits_for_a_load_is_a_job_and_is_done_once(city: Running) -> None:
    address = "/ogc/collections/hydrant/items/H1"
    with serving(city.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        await_worker(client)
        client.auth = ("editor 王", city.keys["editor"])
        district = client.get("/ogc/collections/district/items/140302").json()
        with loading(city.store, "hydrant"):
            answer = client.put("/ogc/collections/district/items/140302", json=district)
            assert outcome(client, answer)["action"] == "unchanged"
            answers = [client.put(address, json=hydrant(name)) for name in ("first", "second")]
            assert [answer.status_code for answer in answers] == [202, 202]
            jobs = [answer.headers["location"] for answer in answers]
            assert all(job.startswith(f"{url}/ogc/jobs/") for job in jobs)
            assert answers[0].json()["status"] in ("accepted", "running")
            for key, code in (("viewer", 403), ("editor", 200), ("admin", 200), (None, 401)):
                headers = {"X-API-Key": city.keys[key]} if key else {}
                assert httpx.get(jobs[0], headers=headers, timeout=30).status_code == code
            assert client.get(f"{jobs[0]}/results").status_code == 404
            # who waits keeps no worker from others
            count = {"inputs": {"layer": "district", "cells": "district", "indicator": "count"}}
            assert client.post("/ogc/processes/cell_statistics/execution", json=count).status_code == 200
            given_up = client.put(address, json=hydrant("never"))
            assert client.delete(given_up.headers["location"]).json()["status"] == "dismissed"
            far = hydrant("far", geometry={"type": "Point", "coordinates": [13.5, 37.8]})
            failing = client.put(address, json=far).headers["location"]
        assert until(lambda: all(client.get(job).json()["finished"] for job in (*jobs, failing)))
        first, second = (client.get(job).json() for job in jobs)
        assert (first["status"], first["result"]["action"]) == ("successful", "created")
        assert (second["status"], second["result"]["action"]) == ("successful", "replaced")
        item = next(link["href"] for link in second["links"] if link["rel"] == "item")
        assert client.get(item).json()["properties"]["name"] == "second"
        results = next(link["href"] for link in second["links"] if link["rel"].endswith("/results"))
        assert client.get(results).json() == second["result"]
        assert client.get(failing).json()["status"] == "failed"
        assert client.get(f"{failing}/results").status_code == 422
        assert client.get(given_up.headers["location"]).json()["status"] == "dismissed"
    assert _rows(city.store, "SELECT name FROM twin.hydrant WHERE id = 'H1' ORDER BY fid") == [("first",), ("second",)]
    audit = "SELECT action FROM cim.audit WHERE id = 'H1' ORDER BY seq"
    assert _rows(city.store, audit) == [("created",), ("replaced",)]


def test_an_edit_in_the_order_of_its_crs_axes(city: Running) -> None:
    """What was read with `crs` is put back with Content-Crs: northing or latitude comes first where it does there."""
    address = "/ogc/collections/building/items/YQ00024"
    with serving(city.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        await_worker(client)
        client.auth = ("editor 王", city.keys["editor"])
        for uri in ("EPSG/0/4547", "EPSG/0/4326", "OGC/1.3/CRS84"):
            crs = f"http://www.opengis.net/def/crs/{uri}"
            answer = client.get(address, params={"crs": crs})
            header = {"Content-Crs": answer.headers["content-crs"]}
            assert crs in header["Content-Crs"]
            edited = client.put(address, json=answer.json(), headers=header)
            assert (edited.status_code, edited.json().get("action")) == (200, "unchanged"), edited.text
        for unknown in ("<http://www.opengis.net/def/crs/EPSG/0/999999>", "<urn:x>"):
            assert client.put(address, json=answer.json(), headers={"Content-Crs": unknown}).status_code == 400


def test_an_edit_from_a_date_keeps_the_time_before(city: Running) -> None:
    with serving(city.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        await_worker(client)
        client.auth = ("", city.keys["admin"])
        address = "/ogc/collections/district/items/140302"
        feature = client.get(address).json()
        feature["properties"]["name"] = "城区（新）"
        assert client.put(f"{address}?datetime=2024-09-01", json=feature).json()["action"] == "replaced"
        assert client.get(address, params={"datetime": "2024-08-31T00:00:00Z"}).json()["properties"]["name"] == "城区"
        assert client.get(address).json()["properties"]["name"] == "城区（新）"


def test_what_isnt_public_is_seen_by_who_has_signed_in_and_never_in_tiles(city: Running, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "camera.geojson").write_text(
        '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"id":"S1","name":"暗",'
        '"stream_url":"rtsp://x"},"geometry":{"type":"Point","coordinates":[113.58,37.86]}}]}', "utf-8")  # fmt: skip
    (secret / "dataset.toml").write_text("public = false\n", "utf-8")
    assert ingest(city.store, [secret], Declared()).exit_code == 0
    with serving(city.environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        key = {"X-API-Key": city.keys["viewer"]}
        path = "/ogc/collections/camera/items"
        assert client.get(path).json()["features"] == []
        seen = client.get(path, headers=key).json()["features"]
        assert [f["properties"]["stream_url"] for f in seen] == ["rtsp://x"]
        assert client.get(path).json()["features"] == []  # the connection of the pool forgot the role
        assert b"S1" not in client.get("/tiles/camera/14/13361/6327.mvt", headers=key).content
        count = {"inputs": {"layer": "camera", "cells": "h3:9", "indicator": "count"}}
        run = "/ogc/processes/cell_statistics/execution"
        assert client.post(run, json=count, headers=key).json()["count"] == 1
        assert client.post(run, json=count).json()["count"] == 0


def test_the_server_reads_no_keys_and_writes_nothing_but_jobs(city: Running) -> None:
    url = city.environment["CIM_SERVE_DATABASE_URL"]
    for sql in (
        "SELECT key_hash FROM cim.account",
        "SELECT * FROM cim.audit",
        "UPDATE twin.building SET name = 'x'",
        "INSERT INTO cim.account VALUES ('x', 'admin', 'y')",
        "ALTER TABLE twin.building DISABLE ROW LEVEL SECURITY",
        "SET ROLE cim_owner",
    ):
        with connect(url) as connection, pytest.raises(Exception, match=r"permission denied|must be owner"):
            connection.execute(sql.encode())
    stored = _rows(city.store, "SELECT key_hash FROM cim.account")
    assert all(city.keys[role].encode() not in bytes(row[0]) for role in city.keys for row in stored)


def test_a_policy_leaves_the_spatial_index_in_use(city: Running) -> None:
    with city.store.connect() as connection:
        connection.execute(
            """INSERT INTO twin.hydrant (valid, id, geom, content, class_code, cim_level, dataset, load, public)
               SELECT tstzrange(NULL, NULL), 'H' || i,
                      ST_SetSRID(ST_MakePoint(460000 + i % 300 * 20, 4190000 + i / 300 * 20), 4547),
                      '\\x00', '0502', 2, 'x', 1, i % 10 > 0 FROM generate_series(1, 60000) i"""
        )
    with city.store.connect() as connection:
        connection.execute("ANALYZE twin.hydrant")
    box = "ST_MakeEnvelope(461000, 4191000, 461200, 4191200, 4547)"
    sql = f"""FROM twin.hydrant v WHERE upper_inf(v.recorded) AND v.valid @> now()
              AND v.geom && {box} AND ST_Intersects(v.geom, {box})"""
    with connect(city.environment["CIM_SERVE_DATABASE_URL"]) as connection:
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN SELECT id {sql}".encode()))
        assert "hydrant_geom" in plan, plan
        assert "Seq Scan" not in plan
        public = connection.execute(f"SELECT count(*) {sql}".encode()).fetchone()
        connection.execute("SELECT set_config('cim.role', 'viewer', false)")
        everything = connection.execute(f"SELECT count(*) {sql}".encode()).fetchone()
    assert public
    assert everything
    assert public[0] < everything[0] == 121
