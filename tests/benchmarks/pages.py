"""`python -m tests.benchmarks.pages`: boxes of about 700 features of a million, side by side.

Beside ours stand, in one run on the same database and machine: the stock PostgreSQL provider of pygeoapi (its own
environment from PyPI, its table in EPSG:4326: in the city's CRS it finds nothing in a box), and a bare route that only
passes on what PostGIS made with the same statement.
"""

import concurrent.futures
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from cim.config import Settings
from cim.store import cluster
from cim.store.connection import connect, initialise, open_store
from sample_data.terrain import EAST, NORTH
from tests.conftest import answering, serving

COUNT, SPACING_M, WANTED = 1_000_000, 24.0, 700
CLIENTS = 4
PEER = ("pygeoapi", "psycopg2-binary", "sqlalchemy<2.1", "geoalchemy2", "gunicorn", "flask")
_FILL = f"""
INSERT INTO twin.building (valid, id, geom, content, class_code, cim_level, dataset, load, name, use, height_m, storeys)
SELECT tstzrange(NULL, NULL), 'B' || k, ST_Multi(ST_MakeEnvelope(x, y, x + 11, y + 9, 4547)),
       decode(md5(k::text), 'hex'),
       '0102', 2, 'bench', 1, k || '号楼', 'residential', 3.0 * (1 + k % 7), 1 + k % 7
FROM (SELECT k, {EAST} + (k % 1000 - 500) * {SPACING_M} AS x, {NORTH} + (k / 1000 - 500) * {SPACING_M} AS y
      FROM generate_series(0, {COUNT - 1}) k) g"""
_BARE = """
import os
from psycopg_pool import ConnectionPool
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from cim.read import layers as reads
from cim.catalog.read import read_catalog
from cim.reference.crs import operation
from cim.read.filters import inside_box
from pyproj import CRS

POOL = ConnectionPool(os.environ["BENCH_URL"], min_size=4, max_size=8, open=True, kwargs={"autocommit": True})
LAYER = read_catalog().layers["building"]
TO_CITY = operation(CRS.from_epsg(4326), CRS.from_epsg(4547))

def items(request):
    west, south, east, north = (float(v) for v in request.query_params["bbox"].split(","))
    query = reads.Query(where=inside_box((west, south, east, north), TO_CITY, 4547), limit=1000, public_only=True)
    with POOL.connection() as connection, connection.cursor() as cursor:
        page = reads.features(cursor, LAYER, 4547, query)
    return Response('{"type":"FeatureCollection","features":[' + page.text + "]}", media_type="application/geo+json")

app = Starlette(routes=[Route("/items", items), Route("/health", lambda r: Response("ok"))])
"""


def main() -> None:
    """Print the rates and the ratios."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        settings = Settings(state=folder / "state")
        initialise(settings)
        with open_store(settings) as store:
            private = cluster.locate(settings)
            _fill(store.url)
            environment = os.environ | {"CIM_STATE": str(settings.state)}
            with serving(environment) as url:
                ours, found = _rate(f"{url}/ogc/collections/building/items?f=json&limit=1000&bbox=", 400)
            with _bare(folder, private.url(cluster.OWNER)) as url:
                bare, found_bare = _rate(f"{url}/items?bbox=", 400)
            with _stock(folder, private) as url:
                stock, found_stock = _rate(f"{url}/collections/building/items?f=json&limit=1000&bbox=", 40)
        for name, rate, mean in (
            ("cim", ours, found),
            ("bare route", bare, found_bare),
            ("stock pygeoapi", stock, found_stock),
        ):
            print(f"{name:<16} {rate:>8.1f} requests/s of {mean:.0f} features")  # noqa: T201
        print(f"ours / stock     {ours / stock:>8.1f}")  # noqa: T201
        print(f"ours / bare      {ours / bare:>8.2f}")  # noqa: T201


def _fill(url: str) -> None:
    with connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO cim.load DEFAULT VALUES")
        connection.execute(_FILL.encode())
        connection.execute("CREATE SCHEMA bench")
        connection.execute(
            "CREATE TABLE bench.building AS SELECT fid, id, name, use, height_m, storeys,"
            " ST_Transform(geom, 4326)::geometry(MultiPolygon, 4326) AS geom FROM twin.building"
        )
        connection.execute("ALTER TABLE bench.building ADD PRIMARY KEY (id)")
        connection.execute("CREATE INDEX ON bench.building USING gist (geom)")
        connection.execute("ANALYZE")
        connection.execute("VACUUM twin.building")


def _rate(address: str, requests: int) -> tuple[float, float]:
    """Return requests a second of some clients, and how many features they found on average."""
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(4547, 4326, always_xy=True)
    half = np.sqrt(WANTED) * SPACING_M / 2
    boxes = []
    for x, y in np.random.default_rng(4).uniform(-9000, 9000, (requests + 40, 2)):
        west, south = to_degrees.transform(EAST + x - half, NORTH + y - half)
        east, north = to_degrees.transform(EAST + x + half, NORTH + y + half)
        boxes.append(f"{west:.7f},{south:.7f},{east:.7f},{north:.7f}")

    plain = {"Accept-Encoding": "identity"}  # neither peer compresses
    with httpx.Client(timeout=120, headers=plain) as client, concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:

        def ask(box: str) -> int:
            answer = client.get(address + box)
            assert answer.status_code == 200, answer.text[:500]
            return (
                len(json.loads(answer.content)["features"]) if box is boxes[-1] else answer.content.count(b'"Feature"')
            )

        list(pool.map(ask, boxes[requests:] if requests > 40 else boxes[:4]))
        started = time.perf_counter()
        found = list(pool.map(ask, boxes[:requests]))
        return requests / (time.perf_counter() - started), float(np.mean(found))


@contextmanager
def _bare(folder: Path, url: str) -> Iterator[str]:
    (folder / "bare.py").write_text(_BARE, "utf-8")
    with _running(
        [sys.executable, "-m", "uvicorn", "bare:app", "--log-level", "warning"], folder, {"BENCH_URL": url}
    ) as found:
        yield found


@contextmanager
def _stock(folder: Path, private: cluster.Cluster) -> Iterator[str]:
    uv, home = Path(sys.executable).with_name("uv"), folder / "peer"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, home], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", home / "bin/python", *PEER], check=True)
    config: dict[str, Any] = {
        "server": {
            "bind": {"host": "127.0.0.1", "port": 5000}, "url": "http://127.0.0.1:5000", "mimetype": "application/json",
            "encoding": "utf-8", "language": "en-US", "limits": {"default_items": 1000, "max_items": 1000},
            "map": {"url": "", "attribution": ""},
        },
        "logging": {"level": "ERROR"},
        "metadata": {
            "identification": {
                "title": "t", "description": "d", "keywords": ["k"], "url": "http://x.org", "terms_of_service": "x",
            },
            "license": {"name": "x", "url": "http://x.org"}, "provider": {"name": "x", "url": "http://x.org"},
            "contact": {"name": "x"},
        },
        "resources": {"building": _collection(private)},
    }  # fmt: skip
    (folder / "stock.yml").write_text(yaml.safe_dump(config), "utf-8")
    environment = {"PYGEOAPI_CONFIG": str(folder / "stock.yml"), "PYGEOAPI_OPENAPI": str(folder / "openapi.yml")}
    generate = [
        home / "bin/pygeoapi",
        "openapi",
        "generate",
        folder / "stock.yml",
        "--output-file",
        folder / "openapi.yml",
    ]
    subprocess.run(generate, env=os.environ | environment, check=True, capture_output=True)
    command = [
        str(home / "bin/gunicorn"),
        "pygeoapi.flask_app:APP",
        "--workers",
        "1",
        "--threads",
        "4",
        "--timeout",
        "300",
    ]
    with _running(command, folder, environment, "/conformance", bind=True) as found:
        yield found


def _collection(private: cluster.Cluster) -> dict[str, Any]:
    return {
        "type": "collection", "title": "building", "description": "building", "keywords": ["b"], "links": [],
        "extents": {"spatial": {"bbox": [113, 37, 114, 38.5], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}},
        "providers": [{
            "type": "feature", "name": "PostgreSQL", "id_field": "id", "table": "building", "geom_field": "geom",
            "data": {"host": str(private.folder), "dbname": cluster.DATABASE, "user": cluster.OWNER, "password": "x",
                     "search_path": ["bench", "public"]},
        }],
    }  # fmt: skip


@contextmanager
def _running(
    command: list[str], folder: Path, more: dict[str, str], ready: str = "/health", *, bind: bool = False
) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = ["--bind", f"127.0.0.1:{port}"] if bind else ["--port", str(port)]
    process = subprocess.Popen([*command, *address], cwd=folder, env=os.environ | more)
    with answering(process, f"http://127.0.0.1:{port}", ready) as url:
        yield url


if __name__ == "__main__":
    main()
