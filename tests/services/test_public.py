"""What isn't public reaches nobody who hasn't signed in, at no door, whatever its kind.

Of every kind of layer one dataset is public and one isn't. Every GET address of the server is asked before the second
is loaded and after: who hasn't signed in sees no difference. Who has, sees it at the doors that show its kind.
"""

import itertools
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import httpx
import numpy as np
import pytest
from starlette.routing import Route

from cim.access.accounts import add_account
from cim.analysis.engine.keep import keep
from cim.analysis.engine.result import Check, Computed
from cim.catalog.model import KindName
from cim.catalog.row import Text
from cim.city import YANGQUAN, City
from cim.config import Settings
from cim.jobs import queue as jobs
from cim.store import cluster
from cim.store.connection import Store, connect, initialise, open_store
from cim.store.kinds import KINDS
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from services.app import create_app
from tests.conftest import answering
from tests.factory import EAST, NORTH, write_cityjson, write_terrain
from tests.ingest.test_pointcloud import write_cloud
from tests.ingest.test_tileset import glb, write_set
from tiles.tilers import run

OPEN, SECRET, ABSENT = "open", "secret", "absent"  # in the names of what is public, of what isn't, of what isn't there
SURVEYED = {OPEN: date(2020, 1, 1), SECRET: date(2022, 1, 1)}
NOBODY = "00000000-0000-4000-8000-000000000000"  # the id of no job


def hydrants(folder: Path, name: str) -> None:
    place = {"type": "Point", "coordinates": [113.58 if name == OPEN else 113.6, 37.86]}
    feature = {"type": "Feature", "properties": {"id": f"H-{name}", "name": f"消火栓 {name}"}, "geometry": place}
    (folder / "hydrant.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), "utf-8")


def buildings(folder: Path, name: str) -> None:
    place = (EAST if name == OPEN else EAST + 300, NORTH, 700, 20, 10, 9)
    write_cityjson(folder / "building.city.json", {f"B-{name}": {"box": place, "attributes": {"name": f"楼 {name}"}}})


def terrain(folder: Path, name: str) -> None:
    box = (113.5, 37.8, 113.7, 37.9) if name == OPEN else (113.57, 37.85, 113.6, 37.88)
    write_terrain(folder / f"{name}.tif", np.full((9, 9), 700 if name == OPEN else 777), box, "EPSG:4490")


def population(folder: Path, name: str) -> None:
    box = (113.5, 37.8, 113.6, 37.9) if name == OPEN else (113.57, 37.85, 113.65, 37.92)
    write_terrain(folder / f"{name}.tif", np.full((9, 9), 5 if name == OPEN else 77), box, "EPSG:4490")


def cloud(folder: Path, name: str) -> None:
    random = np.random.default_rng(len(name))
    east = EAST if name == OPEN else EAST + 500
    write_cloud(folder / f"{name}.las", random.uniform([east, NORTH, 680], [east + 50, NORTH + 50, 720], (500, 3)))


def mesh(folder: Path, name: str) -> None:
    write_set(folder / name)
    if name == SECRET:
        (folder / name / "b.glb").write_bytes(glb(7.0))


def values(folder: Path, name: str) -> None:
    text = f"sensor,time,value\nS-{name},2024-05-06T08:00:00+08:00,{4.5 if name == OPEN else 7.77}\n"
    (folder / "values.csv").write_text(text, "utf-8")


@dataclass(frozen=True)
class Example:
    """A layer with a public dataset and one that isn't: how their files are written, what their object is called."""

    layer: str
    write: Callable[[Path, str], None]
    id: str  # {} stands for the dataset's name


EXAMPLES: Mapping[KindName, tuple[Example, ...]] = {
    "feature": (Example("hydrant", hydrants, "H-{}"), Example("building", buildings, "B-{}")),
    "raster": (Example("terrain", terrain, "{}"), Example("population_raster", population, "{}")),
    "points": (Example("point_cloud", cloud, "{}"),),
    "tileset": (Example("reality_mesh", mesh, "{}-reality_mesh"),),
    "observation": (Example("sensor_observation", values, "S-{}"),),
}
ALL = tuple(itertools.chain.from_iterable(EXAMPLES.values()))


def deliver(store: Store, folder: Path, name: str) -> None:
    """Load a dataset of every kind."""
    for example in ALL:
        place = folder / name / example.layer
        place.mkdir(parents=True)
        example.write(place, name)
        public = "public = false\n" if name == SECRET else ""
        (place / "dataset.toml").write_text(
            f'layer = "{example.layer}"\ndataset = "{name}-{example.layer}"\nvertical_datum = "city"\n'
            f'date = {SURVEYED[name]}\n{public}', "utf-8")  # fmt: skip
    report = ingest(store, [folder / name], Declared())
    assert report.exit_code == 0, report.summary()
    assert list(run(store))


def files(store: Store) -> dict[str, bytes]:
    """All that the tile store holds."""
    folder = store.settings.tile_store
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# doors whose answers aren't compared, and why
NOT_COMPARED = {
    "/metrics": "figures of the server as a whole, which the proxy keeps inside",
    "/viewer/events": "it never ends: a test of its own listens to it",
}
# what a door must be asked with
ASKED = {
    "/viewer/search": ["?q=open", "?q=secret", "?q=消火栓"],
    "/viewer/place": ["?lon=113.58&lat=37.86&height=700"],
}
QUERIES = ["", "?at=2023-06-01"]
QUERIES_OF_ITEMS = [*QUERIES, "?datetime=../..", "?f=html", "?filter=id%20LIKE%20'%25e%25'"]
PLACES = {"terrain": [(0, 0, 0), (0, 1, 0), (13, 13361, 6000)], "mvt": [(0, 0, 0), (14, 13361, 6327)]}


@dataclass
class Doors:
    """Every GET address of the server, by the route it belongs to."""

    store: Store
    job: str = NOBODY  # of somebody who has signed in

    def values(self, path: str, names: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return what stands in the places of a route's parameters."""
        layers = [example.layer for example in ALL]
        of_layers = [(e.layer, e.id.format(name)) for e in ALL for name in (OPEN, SECRET, ABSENT)]
        stored = [Path(name).parts for name in files(self.store)]
        first = {parts[:2]: parts for parts in stored if len(parts) > 2}  # one file of each folder
        indexes = [parts[2].removesuffix(".json") for parts in stored if parts[:2] == ("terrain", "tileset")]
        known: dict[tuple[str, ...], Iterable[tuple[Any, ...]]] = {
            (): [()],
            ("layer",): [(name,) for name in layers],
            ("collection",): [(name,) for name in layers],
            ("collection", "item"): of_layers,
            ("layer", "id"): of_layers,
            ("layer", "feature"): of_layers,
            ("file",): [(f"{name}.{suffix}",) for name in layers for suffix in ("arrow", "geojson", "csv", "tif")],
            ("layer", "form"): itertools.product(layers, ["qml", "maplibre", "3dtiles"]),
            ("layer", "kind", "name"): first.values(),
            ("layer", "z", "x", "y"): [(name, *place) for name in layers for place in PLACES["mvt"]],
            ("index", "z", "x", "y"): [(index, *place) for index in indexes for place in PLACES["terrain"]],
            ("sha256",): [*self.rows("SELECT DISTINCT sha256 FROM cim.asset ORDER BY 1"), ("0" * 64,)],
            ("process",): [("cell_statistics",)],
            ("job",): [(self.job,), (NOBODY,)],
            ("job", "form"): itertools.product((self.job, NOBODY), ("geojson", "csv", "arrow")),
            ("job", "name"): itertools.product((self.job, NOBODY), ("results", "other")),
            ("job", "name", "item"): [
                (job, "results", f"{name}-hydrant") for job in (self.job, NOBODY) for name in (SECRET, ABSENT)
            ],
            ("path",): [("index.html",)],
            ("name",): [("benches/bench_count",)],
        }
        assert tuple(names) in known, f"{path}: say in this test what its parameters can be"
        return list(known[tuple(names)])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.store.connect() as connection:
            return connection.execute(sql.encode()).fetchall()

    def __iter__(self) -> Iterator[str]:
        """Yield addresses; of two spellings of a door one."""
        functions = set()
        for route in create_app(Settings()).routes:
            assert isinstance(route, Route)
            function = (route.endpoint, route.path.rstrip("/"))
            if "GET" not in (route.methods or ()) or route.path in NOT_COMPARED or function in functions:
                continue
            functions.add(function)
            names = re.findall(r"\{(\w+)(?::\w+)?\}", route.path)
            queries = QUERIES_OF_ITEMS if route.path.endswith("/items") else QUERIES
            for filled in self.values(route.path, names):
                address = route.path
                for name, value in zip(names, filled, strict=True):
                    address = re.sub(rf"\{{{name}(:\w+)?\}}", str(value), address)
                yield from (address + query for query in ASKED.get(route.path, queries))


Answer = tuple[int, str, bytes]
STAMP = re.compile(rb'"timeStamp": *"[^"]*"')  # of the answer itself


def ask(client: httpx.Client, address: str, key: str | None = None) -> Answer:
    answer = client.get(address, headers={"X-API-Key": key} if key else {})
    content = STAMP.sub(b"", answer.content)
    return answer.status_code, answer.headers.get("content-type", ""), content


@dataclass(frozen=True)
class Asked:
    """What the doors answered before what isn't public was there and after, and to whom."""

    store: Store
    before: Mapping[str, Answer]
    after: Mapping[str, Answer]
    signed_in: Mapping[str, Answer]
    files_before: Mapping[str, bytes]
    files_after: Mapping[str, bytes]


@pytest.fixture(scope="module")
def store_of_module(
    private_cluster: cluster.Cluster,
    template_database: Callable[[City], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Store]:
    """A store for the tests of this module, which the server's role reads."""
    name = "not_public"
    with connect(private_cluster.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database(YANGQUAN)}".encode())
    settings = Settings(
        state=tmp_path_factory.mktemp("not-public"),
        database_url=private_cluster.url("postgres", name),
        serve_database_url=private_cluster.url(cluster.SERVER, name),
        workers=1,
    )
    initialise(settings, YANGQUAN)
    with open_store(settings) as store:
        yield store


@contextmanager
def served(store: Store) -> Iterator[str]:
    """Serve a store without the workers beside the server: none is needed, and many addresses are asked."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = os.environ | {
        "CIM_STATE": str(store.settings.state),
        "CIM_DATABASE_URL": store.url,
        "CIM_SERVE_DATABASE_URL": store.server_url,
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "services.app:from_environment", "--port", port]
    process = subprocess.Popen([*command, "--log-level", "warning"], env=environment)
    with answering(process, f"http://127.0.0.1:{port}") as url:
        yield url


def finished_job(store: Store) -> str:
    """A job of who has signed in, with what it computed."""
    with store.connect() as connection, connection.cursor() as cursor:
        job = jobs.submit(cursor, "analysis", "cell_statistics", {}, jobs.Asker("viewer", "viewer"))
        cursor.execute("UPDATE cim.job SET status = 'running'")
        rows = gpd.GeoDataFrame({"id": [f"{SECRET}-hydrant"]})
        result = Computed("cell_statistics", rows, {}, Check(True, Text(zh="对", en="right")), {})
        assert jobs.finish(cursor, 1, keep(store.settings, result))
    return str(job)


@pytest.fixture(scope="module")
def asked(store_of_module: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    store, folder = store_of_module, tmp_path_factory.mktemp("deliveries")
    deliver(store, folder, OPEN)
    with store.connect() as connection, connection.cursor() as cursor:
        key = add_account(cursor, "viewer", "viewer")
    with served(store) as url, httpx.Client(base_url=url, timeout=120) as client:
        before = {address: ask(client, address) for address in Doors(store)}
        files_before = files(store)
        deliver(store, folder, SECRET)
        # who has signed in asks first, each time: nothing of the answer may stay for who comes next
        doors = list(Doors(store, finished_job(store)))
        both = {address: (ask(client, address, key), ask(client, address)) for address in doors}
        yield Asked(
            store, before, {a: answers[1] for a, answers in both.items()},
            {a: answers[0] for a, answers in both.items()}, files_before, files(store),
        )  # fmt: skip


def test_every_kind_of_layer_has_an_example() -> None:
    assert EXAMPLES.keys() == KINDS.keys()


def test_who_has_not_signed_in_sees_no_difference_at_any_door(asked: Asked) -> None:
    changed = [address for address, answer in asked.before.items() if asked.after.get(address) != answer]
    assert not changed, {address: (asked.before[address], asked.after.get(address)) for address in changed[:3]}


def test_what_is_not_public_is_as_if_it_were_not_there(asked: Asked) -> None:
    """An address that names it answers as one that names nothing."""
    for address, (status, kind, content) in asked.after.items():
        if SECRET in address and "/search" not in address:
            nothing = asked.after[address.replace(SECRET, ABSENT)]
            assert (status, kind, content.replace(SECRET.encode(), ABSENT.encode())) == nothing, address
        elif "search" not in address:
            assert SECRET.encode() not in content, address


def test_no_new_address_answers_who_has_not_signed_in(asked: Asked) -> None:
    new = [a for a in asked.after.keys() - asked.before.keys() if asked.after[a][0] == httpx.codes.OK]
    assert not new


def test_tiles_hold_only_what_is_public(asked: Asked) -> None:
    assert asked.files_after == asked.files_before


def test_who_has_signed_in_sees_it_where_its_kind_is_read(asked: Asked) -> None:
    for kind, examples in EXAMPLES.items():
        for example in examples:
            secret = f"{SECRET}-{example.layer}".encode()
            for address in (f"/ogc/collections/{example.layer}/items", f"/data/{example.layer}.arrow"):
                if address.endswith("arrow"):
                    assert asked.signed_in[address] != asked.after[address], address
                else:
                    assert secret in asked.signed_in[address][2], address
            if kind != "observation":  # its datasets are those of a moment, and the page shows none
                assert secret in asked.signed_in[f"/viewer/datasets/{example.layer}.json"][2]
            if kind == "raster":
                tif = f"/data/{example.layer}.tif"
                assert asked.signed_in[tif][0] == httpx.codes.OK
                assert asked.signed_in[tif][2] != asked.after[tif][2]
    shown = [json.loads(answer["/viewer/catalog.json"][2]) for answer in (asked.signed_in, asked.after)]
    counts, public = ({row["id"]: row["count"] for row in catalog["layers"]} for catalog in shown)
    drawn = [example.layer for kind in ("feature", "raster", "points", "tileset") for example in EXAMPLES[kind]]  # type: ignore[index]
    assert all(counts[name] > public[name] > 0 for name in drawn)


def test_a_file_is_handed_out_by_a_row_that_the_asker_sees(asked: Asked) -> None:
    with asked.store.connect() as connection:
        rows = connection.execute("SELECT layer, sha256, public FROM cim.asset").fetchall()
    rasters = {example.layer for example in EXAMPLES["raster"]}
    for layer, sha256, public in rows:
        address = f"/assets/{sha256}.tif"
        wanted = httpx.codes.OK if layer in rasters else httpx.codes.NOT_FOUND
        assert asked.signed_in[address][0] == wanted, (layer, public)
        assert asked.after[address][0] == (wanted if public else httpx.codes.NOT_FOUND), (layer, public)
