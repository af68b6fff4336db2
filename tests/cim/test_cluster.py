"""The private cluster: two cities side by side, the last one out, kill -9 of everything."""

import os
import signal
import time
from pathlib import Path

import pytest

from cim.config import Settings
from cim.errors import NoDatabase
from cim.store import cluster
from cim.store.connection import initialise, open_store
from tests.conftest import DELFT

pytestmark = pytest.mark.database  # of their own


@pytest.fixture
def state(tmp_path: Path) -> Path:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.owner() == Path.home().owner() and folder.parent != folder.parent.parent:
            folder.chmod(0o755)
    return tmp_path / "state"


def processes(private: cluster.Cluster) -> list[int]:
    """Return the processes whose command line or working folder is the cluster's."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                inside = (entry / "cwd").readlink().is_relative_to(private.data)
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if inside or os.fsencode(private.data) in command:
                found.append(int(entry.name))
    return found


def test_two_states_are_two_cities_and_the_last_one_out_stops(state: Path) -> None:
    first, second = Settings(state=state / "a"), Settings(state=state / "b")
    initialise(first)
    initialise(second, DELFT)
    with open_store(first) as a, open_store(second) as b:
        assert (a.city.srid, b.city.srid) == (4547, 28992)
        with open_store(first):
            pass  # not the last one out
        with a.connect("server") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not cluster.is_up(cluster.locate(first))
    assert not cluster.is_up(cluster.locate(second))


def test_the_server_is_not_the_owner(state: Path) -> None:
    settings = Settings(state=state)
    initialise(settings)
    with open_store(settings) as store, store.connect("server") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("cim_server",)
        assert connection.execute("SHOW max_parallel_workers_per_gather").fetchone() == ("0",)
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        assert row == (False,)
        for hidden in ("cim.account", "cim.audit", "cim.quarantine"):
            may = connection.execute("SELECT has_table_privilege(%s, 'SELECT')", [hidden]).fetchone()
            assert may == (False,), hidden
        with pytest.raises(Exception, match="permission denied"):
            connection.execute("DELETE FROM twin.building")


def test_kill_9_of_everything_and_it_starts_again(state: Path) -> None:
    settings = Settings(state=state)
    initialise(settings)
    for _ in range(2):
        cluster.start(cluster.locate(settings))
        private = cluster.locate(settings)
        for pid in processes(private):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        with open_store(settings) as store:
            assert store.city.srid == 4547


def test_a_pid_file_of_another_process_is_no_hindrance(state: Path) -> None:
    settings = Settings(state=state)
    initialise(settings)
    private = cluster.locate(settings)
    (private.data / "postmaster.pid").write_text(f"{os.getpid()}\n{private.data}\n0\n5432\n{private.folder}\n\n0 0\n")
    with open_store(settings) as store:
        assert store.city.srid == 4547


def test_a_path_too_long_for_a_socket_has_its_cluster_elsewhere(state: Path) -> None:
    settings = Settings(state=state / ("long" * 25))
    initialise(settings)
    private = cluster.locate(settings)
    assert len(os.fsencode(private.folder / ".s.PGSQL.5432")) <= cluster.SOCKET_PATH_LIMIT
    assert (settings.state / "cluster.path").read_text().strip() == str(private.folder)
    with open_store(settings) as store:
        assert store.city.srid == 4547


def test_another_reference_system_needs_another_state(state: Path) -> None:
    settings = Settings(state=state)
    initialise(settings)
    with pytest.raises(NoDatabase, match="CIM_STATE"):
        initialise(settings, DELFT)


def test_a_store_without_a_city_names_the_command(state: Path) -> None:
    settings = Settings(state=state)
    private = cluster.locate(settings)
    with cluster.running(settings):
        cluster.start(private)
        with pytest.raises(NoDatabase), open_store(settings):
            pass
