"""Kill -9 in the middle: a load is whole or absent, the served tileset whole, the next run ends as if undisturbed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from cim.catalog.model import Layer
from cim.config import Settings
from cim.store import cluster
from cim.store.connection import Store, initialise, open_store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.budget import draws
from tests.conftest import SAMPLE_ROWS, MakeStore
from tests.program import started
from tiles.build import tile_layer
from tiles.check import check_tileset

INGEST_KILLS, TILE_KILLS = 12, 9


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("deliveries")
    for name in ("building_core.city.jsonl", "terrain_town.tif", "water.geojson", "dataset.toml"):
        shutil.copy(sample_folder / name, folder)
    for file in sample_folder.glob("building_outer.*"):
        shutil.copy(file, folder)
    return folder


def begun(store: Store, command: list[str]) -> ForkServerProcess:
    """Begin a command in a session of its own."""
    state = {"CIM_STATE": str(store.settings.state), "CIM_DATABASE_URL": store.url, "CIM_WORKERS": "2"}
    return started(command, os.environ | state, session=True)


def killed(store: Store, command: list[str], after_s: float) -> bool:
    """Run a command and kill it, and all that it started, after a while; whether it was still running."""
    process = begun(store, command)
    pid = process.pid or 0
    time.sleep(after_s)
    with suppress(ProcessLookupError):
        while os.getpgid(pid) != pid:
            time.sleep(0.01)  # it leads its session from its first moment on
        os.killpg(pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def seconds_of(store: Store, command: list[str]) -> float:
    """Run a command to its end, and say how long that took once it had begun."""
    process = begun(store, command)
    since = time.perf_counter()
    process.join()
    return time.perf_counter() - since


def counts(store: Store) -> tuple[int, ...]:
    sql = """SELECT (SELECT count(*) FROM twin.building), (SELECT count(*) FROM twin.water),
                    (SELECT count(*) FROM cim.asset), (SELECT count(*) FROM cim.load)"""
    with store.connect() as connection:
        return connection.execute(sql).fetchone() or ()


def building(store: Store) -> Layer:
    return store.catalog.layers["building"]


def served_problems(store: Store) -> list[str]:
    with store.connect() as connection:
        rows = connection.execute("SELECT name FROM cim.tile_root WHERE layer = 'building'").fetchall()
    folder = store.settings.tile_store / "building"
    return [problem for (name,) in rows for problem in check_tileset(folder, name).problems]


def roots(store: Store) -> list[tuple[object, ...]]:
    with store.connect() as connection:
        return connection.execute("SELECT valid::text, name FROM cim.tile_root ORDER BY 1").fetchall()


def test_kills_at_random_moments(make_store: MakeStore, deliveries: Path) -> None:
    undisturbed = make_store()
    ingest_s = seconds_of(undisturbed, ["ingest", str(deliveries)])
    whole = counts(undisturbed)
    tiles_s = seconds_of(undisturbed, ["tiles", "--layer", "building"])

    store = make_store()
    hits = kills = 0
    for chance in draws(7, INGEST_KILLS):
        kills += 1
        hits += killed(store, ["ingest", str(deliveries)], chance.uniform(0.05, ingest_s))
        assert counts(store)[:3] in ((0, 0, 0), whole[:3])
        assert not list(store.settings.asset_store.rglob("*.tif"))
    assert ingest(store, [deliveries], Declared()).exit_code == 0
    assert counts(store)[:3] == whole[:3]

    for chance in draws(8, TILE_KILLS):
        with store.connect() as connection:
            connection.execute(
                "DELETE FROM cim.tile"
            )  # what was built before is built again, or soon nothing would run
        kills += 1
        hits += killed(store, ["tiles", "--layer", "building"], chance.uniform(0.05, tiles_s))
        assert served_problems(store) == []
    tile_layer(store, building(store))
    assert roots(store) == roots(undisturbed)
    assert served_problems(store) == []
    assert hits >= kills // 3


@pytest.mark.database  # of its own
def test_the_postmaster_is_killed_in_the_middle_of_a_load(tmp_path: Path, deliveries: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    settings = Settings(state=tmp_path / "state")
    initialise(settings)
    private = cluster.locate(settings)
    environment = os.environ | {"CIM_STATE": str(settings.state)}
    environment.pop("CIM_DATABASE_URL", None)
    command = [sys.executable, "-m", "services", "ingest", str(deliveries)]
    for after_s in (1.3, 1.8, 2.3):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(after_s)
        pid = int((private.data / "postmaster.pid").read_text().split()[0]) if cluster.is_up(private) else 0
        if pid:
            os.kill(pid, signal.SIGKILL)
        printed = process.communicate(timeout=60)[1]
        assert "Traceback" not in printed, printed
        with open_store(settings) as store:
            assert counts(store)[0] in (0, SAMPLE_ROWS)
    with open_store(settings) as store:
        assert ingest(store, [deliveries], Declared()).exit_code == 0
        assert counts(store)[0] == SAMPLE_ROWS
