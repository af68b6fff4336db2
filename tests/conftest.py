"""Fixtures: a real PostgreSQL for the session, a fresh database for each store, shared test data where it is."""

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cim.city import YANGQUAN, City
from cim.config import Settings
from cim.store import cluster
from cim.store.connection import Store, connect, initialise, open_store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from sample_data.make_city import make_city
from tiles.tilers import run

MakeStore = Callable[..., Store]

ZURICH = City(name="Zürich", srid=2056, vertical_datum="EPSG:5728", height_anomaly_m=47.0)
DELFT = City(name="Delft", srid=28992, vertical_datum="EPSG:5709", height_anomaly_m=43.6)
KOREA = City(name="Namyangju", srid=5186, vertical_datum="EPSG:5193", height_anomaly_m=23.0)


@pytest.fixture(scope="session")
def private_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Cluster]:
    """One private cluster for the session."""
    base = tmp_path_factory.mktemp("session")
    for folder in (base, *base.parents[:2]):  # pytest's folders are closed to the user that PostgreSQL runs as
        folder.chmod(0o755)
    settings = Settings(state=base / "state")
    with cluster.running(settings) as running:
        initialise(settings)  # makes the roles
        yield running


@pytest.fixture(scope="session")
def template_database(private_cluster: cluster.Cluster) -> Callable[[City], str]:
    """Give the name of an initialised database of a city, made once a session."""
    made: dict[City, str] = {}

    def template(city: City) -> str:
        if city not in made:
            name = f"template_{len(made)}"
            with connect(private_cluster.url("postgres", "postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            initialise(Settings(database_url=private_cluster.url("postgres", name)), city)
            made[city] = name
        return made[city]

    return template


@pytest.fixture
def make_store(
    private_cluster: cluster.Cluster, template_database: Callable[[City], str], tmp_path: Path
) -> Iterator[MakeStore]:
    """Make stores, each in a database of its own: `make_store(city)`."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make(city: City = YANGQUAN) -> Store:
            name = f"t{os.getpid()}_{tmp_path.name.lower()}_{next(numbers)}"[:63]
            template = template_database(city)
            with connect(private_cluster.url("postgres", "postgres"), autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE {template}')
            settings = Settings(state=tmp_path / name, database_url=private_cluster.url("postgres", name))
            return stack.enter_context(open_store(settings))

        yield make


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    """A fresh store of Yangquan."""
    return make_store()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real files made by others; the tests that need them are skipped where they aren't."""
    folder = Path(os.environ.get("CIM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no shared test data at {folder} (CIM_TEST_DATA)")
    return folder


# the small sample of seed 1: buildings, and rows of the layer with the parts of those that have some
SAMPLE_BUILDINGS, SAMPLE_ROWS = 615, 628


@dataclass(frozen=True)
class Served:
    """A city that is served: its store, its files, and the address of its server."""

    store: Store
    folder: Path
    url: str


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample city's files."""
    folder = tmp_path_factory.mktemp("sample")
    make_city(folder)
    return folder


@contextmanager
def served_sample(private: cluster.Cluster, template: str, name: str, folder: Path, state: Path) -> Iterator[Served]:
    """The sample city in a database of its own: loaded, tiled and served by a process, as its users have it."""
    with connect(private.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    url, server_url = private.url("postgres", name), private.url(cluster.SERVER, name)
    settings = Settings(state=state, database_url=url, serve_database_url=server_url)
    initialise(settings, YANGQUAN)
    with open_store(settings) as store:
        report = ingest(store, [folder], Declared())
        assert report.exit_code == 0, report.summary()
        assert list(run(store))
        environment = os.environ | {
            "CIM_STATE": str(state),
            "CIM_DATABASE_URL": url,
            "CIM_SERVE_DATABASE_URL": server_url,
        }
        with serving(environment) as address:
            yield Served(store, folder, address)


@pytest.fixture(scope="session")
def sample_city(
    private_cluster: cluster.Cluster,
    template_database: Callable[[City], str],
    sample_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """The sample city for all tests that only read it."""
    state = tmp_path_factory.mktemp("sample-state")
    with served_sample(private_cluster, template_database(YANGQUAN), "sample", sample_folder, state) as served:
        yield served


@pytest.fixture(scope="module")
def changing_city(
    private_cluster: cluster.Cluster,
    template_database: Callable[[City], str],
    sample_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """The sample city for the tests of a module that change it."""
    state = tmp_path_factory.mktemp("changing-state")
    name = state.name.replace("-", "_")
    with served_sample(private_cluster, template_database(YANGQUAN), name, sample_folder, state) as served:
        yield served


@contextmanager
def serving(environment: dict[str, str], folder: Path | None = None) -> Iterator[str]:
    """Run `cim serve` on a free port until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "services", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, cwd=folder)
    with answering(process, f"http://127.0.0.1:{port}") as address:
        yield address


@contextmanager
def answering(process: subprocess.Popen[bytes], address: str, ready: str = "/health") -> Iterator[str]:
    """Give the address of a server's process once it answers, and end the process with the block."""
    try:
        for _ in range(240):
            with suppress(httpx.TransportError):
                if httpx.get(address + ready, timeout=10).status_code == 200:
                    break
            assert process.poll() is None, "the server ended before it answered"
            time.sleep(0.25)
        yield address
    finally:
        process.terminate()
        process.wait(20)
