"""Fixtures: a real PostgreSQL for the session, a fresh database for each store, shared test data where it is."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cim import cluster
from cim.city import YANGQUAN, City
from cim.config import Settings
from cim.store import Store, connect, initialise, open_store

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
    with cluster.running(Settings(state=base / "state")) as running:
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
