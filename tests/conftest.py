"""Fixtures: a real PostgreSQL for the session, a fresh database for each store, shared test data where it is."""

import fcntl
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import httpx
import hypothesis
import pytest

from cim.city import YANGQUAN, City
from cim.config import Settings
from cim.store import cluster
from cim.store.connection import Store, connect, initialise, open_store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from sample_data.make_city import make_city
from tests import program
from tests.budget import PATIENT
from tiles.tilers import run

MakeStore = Callable[..., Store]
# a busy machine is no fault of a property; the same examples in each run, others in one that is patient
hypothesis.settings.register_profile("cim", deadline=None, derandomize=not PATIENT)
hypothesis.settings.load_profile("cim")


LONGEST = [
    *("test_access_and_jobs", "test_cases", "test_extremes", "test_stalled", "test_kills", "test_docs"),
    *("test_kills_of_readers", "test_incremental", "test_vector", "test_elsewhere", "test_edit", "test_setup"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a database, so that `make quick` runs the rest; begin with the longest files.

    A file stays in one process: a long one that begins last would be waited for by all others.
    """
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    for item in items:
        if isinstance(item, pytest.Function) and "private_cluster" in item.fixturenames:
            item.add_marker("database")


ZURICH = City(name="Zürich", srid=2056, vertical_datum="EPSG:5728", height_anomaly_m=47.0)
DELFT = City(name="Delft", srid=28992, vertical_datum="EPSG:5709", height_anomaly_m=43.6)
KOREA = City(name="Namyangju", srid=5186, vertical_datum="EPSG:5193", height_anomaly_m=23.0)


KEEP = "CIM_TESTS_KEEP"  # names a folder that keeps the cluster, its templates and the loaded sample for the next run


def _shared(base: Path) -> Path:
    """Where what all processes of a run share lies: not in pytest's own folder, which each new run closes to others."""
    if KEEP in os.environ:
        return Path(os.environ[KEEP]).absolute()
    run = _run(base)
    return Path(tempfile.gettempdir()) / f"cim-{run.parent.name}-{run.name}"


def _run(base: Path) -> Path:
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a run share, open to the user that PostgreSQL runs as."""
    folder = _shared(tmp_path_factory.getbasetemp())
    folder.mkdir(exist_ok=True, parents=True)
    folder.chmod(0o755)
    return folder


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove what a run shared, when all its processes have ended."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory and "PYTEST_XDIST_WORKER" not in os.environ and KEEP not in os.environ:
        shutil.rmtree(_shared(factory.getbasetemp()), ignore_errors=True)


@contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes of the run from doing the same at the same time."""
    with (folder / f"{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def private_cluster(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Cluster]:
    """One private cluster for the run; the last process that leaves it stops it."""
    program.get_ready()  # what needs a database runs commands and servers
    settings = Settings(state=shared_folder / "state")
    with ExitStack() as stack:
        with alone(shared_folder, "cluster"):
            running = stack.enter_context(cluster.running(settings))
            initialise(settings)  # makes the roles
            _never_mind_the_disk(running)
            _sweep(running, shared_folder / "run", str(_run(tmp_path_factory.getbasetemp())))
        yield running


def _never_mind_the_disk(running: cluster.Cluster) -> None:
    """Wait for no disk: a power cut isn't tested, and a process that is killed loses nothing by it."""
    with connect(running.url("postgres", "postgres"), autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")


def _sweep(running: cluster.Cluster, note: Path, run_id: str) -> None:
    """Drop what the tests of an earlier run made, where the cluster is kept: all but what all tests copy."""
    if note.exists() and note.read_text() != run_id:
        with connect(running.url("postgres", "postgres"), autocommit=True) as connection:
            others = "SELECT datname FROM pg_database WHERE datname !~ '^(template.*|loaded_sample|postgres|cim)$'"
            for (name,) in connection.execute(others).fetchall():
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    note.write_text(run_id)


@pytest.fixture(scope="session")
def template_database(private_cluster: cluster.Cluster, shared_folder: Path) -> Callable[[City], str]:
    """Give the name of an initialised database of a city, made once a run."""

    def template(city: City) -> str:
        name = f"template_{zlib.crc32(city.model_dump_json().encode()):08x}"
        made = shared_folder / name
        with alone(shared_folder, name):
            if not made.exists():
                with connect(private_cluster.url("postgres", "postgres"), autocommit=True) as connection:
                    connection.execute(f"CREATE DATABASE {name}".encode())
                initialise(Settings(database_url=private_cluster.url("postgres", name)), city)
                made.touch()
        return name

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
    """A city that is served: its store, its files, and the address of its server, which starts when it is asked for."""

    store: Store
    folder: Path
    serve: Callable[[], str]

    @cached_property
    def url(self) -> str:
        """The server's address."""
        return self.serve()


@pytest.fixture(scope="session")
def sample_folder(shared_folder: Path) -> Path:
    """The sample city's files."""
    folder = shared_folder / "sample"
    with alone(shared_folder, "sample"):
        if not folder.exists():
            make_city(folder)
    return folder


@dataclass(frozen=True)
class LoadedSample:
    """The sample city loaded and tiled, as a database to copy and the state folder that goes with it."""

    database: str
    state: Path


@pytest.fixture(scope="session")
def loaded_sample(
    private_cluster: cluster.Cluster,
    template_database: Callable[[City], str],
    sample_folder: Path,
    shared_folder: Path,
) -> LoadedSample:
    """The sample city, loaded and tiled once a run; each city that is served is a copy of it."""
    loaded = LoadedSample("loaded_sample", shared_folder / "loaded-sample")
    with alone(shared_folder, "loaded-sample"):
        if not loaded.state.exists():
            template = template_database(YANGQUAN)
            with connect(private_cluster.url("postgres", "postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {loaded.database} TEMPLATE {template}".encode())
            loaded.state.mkdir()
            settings = Settings(
                state=loaded.state,
                database_url=private_cluster.url("postgres", loaded.database),
                serve_database_url=private_cluster.url(cluster.SERVER, loaded.database),
            )
            initialise(settings, YANGQUAN)
            with open_store(settings) as store:
                report = ingest(store, [sample_folder], Declared())
                assert report.exit_code == 0, report.summary()
                assert list(run(store))
    return loaded


@contextmanager
def served_sample(private: cluster.Cluster, loaded: LoadedSample, folder: Path, state: Path) -> Iterator[Served]:
    """A copy of the sample city in a database of its own, served by a process, as its users have it."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"{state.name}_{worker}".replace("-", "_")
    with connect(private.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {loaded.database}".encode())
    # files of the state are named by their content and never written again: a link is a copy
    shutil.copytree(loaded.state, state, dirs_exist_ok=True, copy_function=os.link)
    url, server_url = private.url("postgres", name), private.url(cluster.SERVER, name)
    settings = Settings(state=state, database_url=url, serve_database_url=server_url)
    environment = os.environ | {
        "CIM_STATE": str(state),
        "CIM_DATABASE_URL": url,
        "CIM_SERVE_DATABASE_URL": server_url,
    }
    with open_store(settings) as store, ExitStack() as stack:
        yield Served(store, folder, lambda: stack.enter_context(serving(environment)))


@pytest.fixture(scope="session")
def sample_city(
    private_cluster: cluster.Cluster,
    loaded_sample: LoadedSample,
    sample_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """The sample city for all tests that only read it."""
    state = tmp_path_factory.mktemp("sample-state")
    with served_sample(private_cluster, loaded_sample, sample_folder, state) as served:
        yield served


@pytest.fixture(scope="module")
def changing_city(
    private_cluster: cluster.Cluster,
    loaded_sample: LoadedSample,
    sample_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """The sample city for the tests of a module that change it."""
    state = tmp_path_factory.mktemp("changing-state")
    with served_sample(private_cluster, loaded_sample, sample_folder, state) as served:
        yield served


_SERVERS: dict[str, int] = {}  # process by address


@contextmanager
def serving(environment: dict[str, str], folder: Path | None = None) -> Iterator[str]:
    """Run `cim serve` on a free port until the block ends: a process that begins anew where the code is a folder's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    if folder is None:
        process: subprocess.Popen[bytes] | ForkServerProcess = program.started(["serve", "--port", port], environment)
    else:
        command = [sys.executable, "-m", "services", "serve", "--port", port]
        process = subprocess.Popen(command, env=environment, cwd=folder)
    with answering(process, f"http://127.0.0.1:{port}") as address:
        _SERVERS[address] = process.pid or 0
        yield address


@contextmanager
def answering(
    process: subprocess.Popen[bytes] | ForkServerProcess, address: str, ready: str = "/health"
) -> Iterator[str]:
    """Give the address of a server's process once it answers, and end the process with the block."""
    try:
        for _ in range(600):
            with suppress(httpx.TransportError):
                if httpx.get(address + ready, timeout=10).status_code == 200:
                    break
            assert not _ended(process), "the server ended before it answered"
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        if isinstance(process, subprocess.Popen):
            process.wait(20)
        else:
            process.join(20)
            if process.is_alive():
                process.kill()
                raise AssertionError("the server didn't end")


def _ended(process: subprocess.Popen[bytes] | ForkServerProcess) -> bool:
    if isinstance(process, subprocess.Popen):
        return process.poll() is not None
    return not process.is_alive()


def until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether something becomes true within a time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


def process_of(url: str) -> Path:
    """Return the folder in /proc of the process that `serving` answers an address with."""
    return Path("/proc") / str(_SERVERS[url])


def peak_mb(process: Path, *, anew: bool = False) -> float:
    """Return the most memory that a process has had, in MB; anew: from now on."""
    if anew:
        (process / "clear_refs").write_text("5")
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000
