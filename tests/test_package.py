"""A package of another's own, installed: its layer, role and style, reader, analysis and tool come out at the doors."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cim.store import cluster
from tests.conftest import MakeStore, serving

EXAMPLE = Path(__file__).parent / "example/benches"
BENCHES = "B1,桥头,3,113.58,37.86\nB2,河边,4,113.581,37.861\nB3,no place\n"
TOOL = "/viewer/tools/benches/bench_count.js"
NOWHERE = (  # none of these leads to another file of the package, or out of it
    *("", "bench_count", "broken/bench_count", "benches/nothing", "benches/__init__.py", "benches//bench_count"),
    *("benches/..%2ftools%2fbench_count", "benches/..%2f..%2fbenches%2ftools%2fbench_count", "%2fetc%2fpasswd"),
)


def install(source: Path, target: Path, scratch: Path) -> None:
    """Build a package's wheel as pip does, from a copy, since a build writes beside the source, and unpack it."""
    shutil.copytree(source, scratch, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    build = [sys.executable, "-c", "from setuptools import build_meta; build_meta.build_wheel('.')"]
    built = subprocess.run(build, cwd=scratch, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    [wheel] = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)


def add_broken(packages: Path) -> None:
    """Name two packages of tools that can't be imported: one isn't there, one raises."""
    (packages / "raising.py").write_text("1 / 0", "utf-8")
    metadata = packages / "broken-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n", "utf-8")
    points = "[cim.viewer_tools]\nbroken = not_installed\nraising = raising\n"
    (metadata / "entry_points.txt").write_text(points, "utf-8")


@dataclass(frozen=True)
class Installed:
    """A served city into which the package brought a layer, and the command line's words on its file."""

    client: httpx.Client
    loaded: str


@pytest.fixture
def city(make_store: MakeStore, private_cluster: cluster.Cluster, tmp_path: Path) -> Iterator[Installed]:
    packages = tmp_path / "packages"
    install(EXAMPLE, packages, tmp_path / "source")
    add_broken(packages)
    store = make_store()
    database = store.url.split("dbname=")[1].split()[0]
    environment = os.environ | {
        "CIM_STATE": str(store.settings.state),
        "CIM_DATABASE_URL": store.url,
        "CIM_SERVE_DATABASE_URL": private_cluster.url(cluster.SERVER, database),
        "CIM_WORKERS": "1",
        "PYTHONPATH": os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")]),
    }

    def cim(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "services", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    initialised = cim("init")
    assert initialised.returncode == 0, initialised.stderr
    (tmp_path / "park.bench").write_text(BENCHES, "utf-8")
    ingested = cim("ingest", str(tmp_path / "park.bench"))
    assert ingested.returncode == 3, ingested.stdout + ingested.stderr  # one line is refused
    with serving(environment) as url, httpx.Client(base_url=url, timeout=120) as client:
        yield Installed(client, ingested.stdout)


def test_a_package_brings_a_layer_a_style_a_role_a_reader_an_analysis_and_a_tool(city: Installed) -> None:
    client = city.client
    assert "2 loaded" in city.loaded
    assert "2 members in place of 5" in city.loaded

    catalog = client.get("/viewer/catalog.json").json()
    [bench] = [layer for layer in catalog["layers"] if layer["id"] == "bench"]
    assert (bench["count"], bench["role"], bench["style"]["fill"], bench["style"]["glyph"]) == (
        2, "benches", "#7a4b2a", "椅")  # fmt: skip
    # QML writes a colour as red,green,blue,alpha
    assert "122,75,42,255" in client.get("/styles/bench/qml").text
    items = client.get("/ogc/collections/bench/items", params={"f": "json"}).json()["features"]
    assert {item["id"]: item["properties"]["seats"] for item in items} == {"B1": 3, "B2": 4}

    for inputs, seats in (({}, 7), ({"least": 4}, 4)):
        answer = client.post("/ogc/processes/bench_seats/execution", json={"inputs": inputs})
        assert (answer.status_code, answer.json().get("seats_in_all")) == (200, seats), answer.text
        assert answer.json()["check"]["passed"] is True

    assert catalog["tools"] == [TOOL[1:]]  # those that can't be imported take nothing down
    module = client.get(TOOL)
    assert (module.status_code, module.headers["cache-control"]) == (200, "no-cache")
    assert module.headers["content-type"].startswith("text/javascript")
    assert module.text == (EXAMPLE / "benches/tools/bench_count.js").read_text("utf-8")
    for name in NOWHERE:
        assert client.get(f"/viewer/tools/{name}.js").status_code == 404, name
