"""Clients that take nothing, or send nothing more: what the server holds for them, and for how long."""

import io
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pyarrow as pa
import pytest

from cim.access.accounts import add_account
from cim.city import YANGQUAN, City
from cim.config import Settings
from cim.store import cluster
from cim.store.connection import Store, connect, initialise, open_store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from services.http.flow import LARGEST_BODY
from tests.conftest import peak_mb, process_of, serving
from tests.factory import write_terrain

BUILDINGS = 60_000  # 11 MB of Arrow: more than the buffers of a connection hold
CELLS = 2_000  # rows and columns of a raster of 16 MB that doesn't shrink
ARROW, FILE, RASTER = "/data/building.arrow", "/data/building.gpkg?limit=40000", "/data/terrain.tif"
PAGE = "/ogc/collections/building/items?f=json&limit=10000"
FORTY = [ARROW] * 24 + [PAGE] * 8 + [FILE] * 4 + [RASTER] * 4
MOST_MB = 700  # that forty stalled clients cost: four downloads that are made, pages of some megabytes


@dataclass(frozen=True)
class Big:
    """A store whose layers are larger than the buffers of a connection."""

    store: Store
    environment: dict[str, str]
    key: str


@pytest.fixture(scope="module")
def big(
    private_cluster: cluster.Cluster,
    template_database: Callable[[City], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Big]:
    state = tmp_path_factory.mktemp("big-state")
    name = state.name.replace("-", "_")
    with connect(private_cluster.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database(YANGQUAN)}".encode())
    url, server_url = private_cluster.url("postgres", name), private_cluster.url(cluster.SERVER, name)
    settings = Settings(state=state, database_url=url, serve_database_url=server_url)
    initialise(settings, YANGQUAN)
    environment = {"CIM_STATE": str(state), "CIM_DATABASE_URL": url, "CIM_SERVE_DATABASE_URL": server_url}
    with open_store(settings) as store:
        heights = np.random.default_rng(1).normal(700, 1, (CELLS, CELLS))
        box = (455_000.0, 4_185_000.0, 455_000.0 + 5 * CELLS, 4_185_000.0 + 5 * CELLS)
        raster = write_terrain(state / "noise.tif", heights, box, "EPSG:4547")
        assert ingest(store, [raster], Declared(layer="terrain", vertical_datum="city")).exit_code == 0
        with store.connect() as connection, connection.cursor() as cursor:
            key = add_account(cursor, "editor", "editor")
            cursor.execute(
                f"""INSERT INTO twin.building (valid, id, geom, content, class_code, cim_level, dataset, load, name,
                                               storeys, extra)
                    SELECT tstzrange('2024-05-01', NULL), 'B' || i, ST_Multi(ST_SetSRID(
                           ST_MakeEnvelope(x, y, x + 10 + i % 7, y + 12), 4547)),
                           decode(md5(i::text), 'hex'), '0102', 2, 'generated', 1, md5(i::text), 1 + i % 20,
                           jsonb_build_object('k', md5((-i)::text) || md5((i * 7)::text) || md5((i * 11)::text))
                    FROM generate_series(1, {BUILDINGS}) i,
                         LATERAL (SELECT 455000 + (i % 300) * 30 AS x, 4185000 + (i / 300) * 30 AS y) place"""
            )
        yield Big(store, os.environ | environment, key)


@contextmanager
def served(big: Big, wait_s: float, **settings: str) -> Iterator[tuple[str, Path]]:
    """Serve with a time that a client has; give the address, and the process as /proc shows it."""
    with serving(big.environment | {"CIM_CLIENT_WAIT_S": str(wait_s)} | settings) as url:
        yield url, process_of(url)


def asked(url: str, path: str, *, body: bytes = b"", headers: str = "", method: str = "GET") -> socket.socket:
    """Send a request through a connection that takes little, and read nothing of the answer."""
    at = urlsplit(url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((at.hostname, at.port))
    connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode() + body)
    return connection


def until(true: Callable[[], bool], seconds: float = 240.0) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def held(process: Path, store: Store) -> set[str]:
    """Return the files of downloads that a server has open or on disk."""
    spool = store.settings.spool_store
    files = {str(path) for path in spool.rglob("*") if path.is_file()}
    for link in (process / "fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith(str(spool)):
            files.add(target)
    return files


def spooled_bytes(url: str) -> float:
    lines = httpx.get(f"{url}/metrics", timeout=120).text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("cim_spooled_bytes")))


def queries(store: Store) -> int:
    with store.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
            " AND pid <> pg_backend_pid() AND query LIKE 'COPY%'"
        ).fetchone()
    return int(row[0]) if row else -1


def rows_of(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    return int(pa.ipc.open_stream(io.BytesIO(answer.content)).read_all().num_rows)


def test_forty_clients_that_take_nothing_hold_nobody_up(big: Big) -> None:
    with served(big, 3600) as (url, process), httpx.Client(base_url=url, timeout=240) as client:
        for path in (ARROW, PAGE, FILE, RASTER):  # what is imported once doesn't count
            assert client.get(path).status_code == 200
        before = peak_mb(process, anew=True)
        with ExitStack() as stalled:
            for path in FORTY:
                stalled.enter_context(asked(url, path))
            assert client.get("/health").status_code == 200
            assert client.get("/metrics").status_code == 200
            assert len(client.get(PAGE).json()["features"]) == 10_000
            assert rows_of(client.get(ARROW)) == BUILDINGS
            assert until(lambda: queries(big.store) == 0), "a query waits for a client"
            assert spooled_bytes(url) > 0
            assert client.get("/health").status_code == 200
            assert len(client.get(PAGE).json()["features"]) == 10_000
            assert rows_of(client.get(ARROW)) == BUILDINGS
        assert until(lambda: not held(process, big.store)), held(process, big.store)
        assert spooled_bytes(url) == 0
        assert peak_mb(process) - before < MOST_MB
        assert rows_of(client.get(ARROW)) == BUILDINGS


def test_a_client_that_takes_or_sends_nothing_more_is_dropped(big: Big) -> None:
    key = f"X-API-Key: {big.key}\r\nContent-Length: 1000\r\n"
    with served(big, 2) as (url, process), ExitStack() as stalled:
        begun = {
            "arrow": asked(url, ARROW),
            "page": asked(url, PAGE),
            "file": asked(url, FILE),
            "raster": asked(url, RASTER),
            "upload": asked(url, "/viewer/uploads?name=a.geojson", method="POST", headers=key, body=b"{"),
            "edit": asked(url, "/ogc/collections/building/items", method="POST", headers=key, body=b"{"),
            "execution": asked(
                url, "/ogc/processes/incident/execution", method="POST", headers="Content-Length: 9\r\n", body=b"{"
            ),
            "no request": socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)),
            "half a request": asked(url, "/health"),  # its server has answered; the next request never ends
        }
        begun["half a request"].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Half: ")
        for connection in begun.values():
            stalled.enter_context(connection)
        for what, connection in begun.items():
            assert until(lambda connection=connection: is_dropped(connection)), f"{what} is still there"
        assert until(lambda: not held(process, big.store)), held(process, big.store)
        assert not any((big.store.settings.state / "uploads").glob("*/a.geojson"))
        assert httpx.get(f"{url}/health", timeout=120).status_code == 200


def is_dropped(connection: socket.socket) -> bool:
    """Whether the server has ended a connection, of which nothing is read."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED


ESTABLISHED = 1


def test_a_client_that_takes_an_answer_slowly_gets_all_of_it(big: Big) -> None:
    with served(big, 5) as (url, _), httpx.stream("GET", f"{url}{ARROW}", timeout=240) as answer:
        received = bytearray()
        for part in answer.iter_raw(1 << 20):
            received += part
            time.sleep(0.5)  # longer in all than a piece may take
    assert pa.ipc.open_stream(received).read_all().num_rows == BUILDINGS


def test_downloads_have_no_more_of_the_disk_than_they_may(big: Big) -> None:
    with served(big, 3600, CIM_SPOOL_MB="18") as (url, process), ExitStack() as stalled:
        stalled.enter_context(asked(url, ARROW))
        assert until(lambda: spooled_bytes(url) > 10e6)
        whole = httpx.get(f"{url}{FILE}", timeout=240)
        assert whole.status_code == 503
        assert "spool_mb" in whole.json()["detail"]
        assert int(whole.headers["retry-after"]) > 0
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):  # there was room for its beginning
            httpx.get(f"{url}{ARROW}", timeout=240)
        assert spooled_bytes(url) <= 18e6
        stalled.close()
        assert until(lambda: not held(process, big.store))
        assert rows_of(httpx.get(f"{url}{ARROW}", timeout=240)) == BUILDINGS


@pytest.mark.parametrize("path", ["/ogc/processes/incident/execution", "/ogc/collections/building/items"])
def test_a_body_has_a_largest_size(big: Big, path: str) -> None:
    with served(big, 3600) as (url, _):
        body = b'{"inputs": {"geometry": "' + b"x" * LARGEST_BODY + b'"}}'
        answer = httpx.post(f"{url}{path}", content=body, headers={"X-API-Key": big.key}, timeout=240)
        assert answer.status_code == 413
        deep = httpx.post(f"{url}{path}", content=b"[" * 100_000, headers={"X-API-Key": big.key}, timeout=240)
        assert deep.status_code == 400
