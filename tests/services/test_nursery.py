"""Worker processes: one for each role, a new one for each that ends, none that outlives the server or its nursery."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cim.config import Settings
from cim.store import cluster
from cim.store.connection import initialise
from services.workers.nursery import CALM_S, Nursery
from tests.conftest import until

ROLES = ["one", "two"]


def note(role: str, folder: str) -> None:
    """Say which process has a role, and wait."""
    Path(folder, f".{role}").write_text(str(os.getpid()))
    Path(folder, f".{role}").replace(Path(folder, role))
    if Path(folder, f"{role}.broken").exists():
        raise ValueError(role)
    time.sleep(600)


def stands(pid: int) -> bool:
    """Whether a process runs: one that ended and that nobody waited for doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pids(folder: Path) -> dict[str, int]:
    return {role: int((folder / role).read_text()) for role in ROLES if (folder / role).exists()}


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    with Nursery(note, ROLES, ["json"]) as entered:
        entered.start(str(tmp_path))
        assert until(lambda: len(pids(tmp_path)) == len(ROLES))
        yield entered


def test_all_end_with_the_block(tmp_path: Path) -> None:
    with Nursery(note, ROLES, []) as nursery:
        nursery.start(str(tmp_path))
        assert until(lambda: len(pids(tmp_path)) == len(ROLES))
        running = pids(tmp_path)
        assert all(map(stands, running.values()))
    assert not any(map(stands, running.values()))


def test_a_block_that_fails_before_they_start_ends() -> None:
    with pytest.raises(ValueError, match="no city"), Nursery(note, ROLES, []):
        raise ValueError("no city")


def test_one_that_is_ended_has_a_successor_and_the_other_stays(nursery: Nursery, tmp_path: Path) -> None:
    before = pids(tmp_path)
    nursery.end(before["one"])
    assert until(lambda: pids(tmp_path)["one"] != before["one"])
    assert not stands(before["one"])
    assert pids(tmp_path)["two"] == before["two"]
    assert stands(before["two"])
    nursery.end(1)  # is none of them
    assert stands(before["two"])


def test_one_that_breaks_is_started_again_calmly(nursery: Nursery, tmp_path: Path) -> None:
    (tmp_path / "one.broken").touch()
    seen = set()
    nursery.end(pids(tmp_path)["one"])
    end = time.monotonic() + 3 * CALM_S
    while time.monotonic() < end:
        seen.add(pids(tmp_path)["one"])
        time.sleep(0.01)
    assert 2 <= len(seen) <= 5
    (tmp_path / "one.broken").unlink()
    assert until(lambda: stands(pids(tmp_path)["one"]))


def test_a_nursery_that_is_killed_takes_them_along_and_is_renewed(nursery: Nursery, tmp_path: Path) -> None:
    before = pids(tmp_path)
    nursery.renew()
    assert pids(tmp_path) == before  # there was nothing to renew
    os.kill(nursery._process.pid or 0, signal.SIGKILL)
    assert until(lambda: not any(map(stands, before.values())))
    nursery.renew()
    assert until(lambda: all(stands(pid) and pid not in before.values() for pid in pids(tmp_path).values()))
    after = pids(tmp_path)
    nursery.stop()
    assert not any(map(stands, after.values()))


@pytest.mark.database  # of its own
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_a_server_ends_its_processes_and_the_database(tmp_path: Path, number: int) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    settings = Settings(state=tmp_path / "state")
    initialise(settings)
    environment = os.environ | {"CIM_STATE": str(settings.state)}
    environment.pop("CIM_DATABASE_URL", None)
    command = [sys.executable, "-m", "services", "serve", "--port", "0"]
    log = tmp_path / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(command, env=environment, stderr=file, start_new_session=True) as server,
    ):
        assert until(lambda: len(processes_of(server.pid)) >= 4, 60), "they don't stand"
        processes = processes_of(server.pid)
        os.killpg(server.pid, number)  # as a terminal does
        assert server.wait(30) in (0, 128 + number)
    assert until(lambda: not any(map(stands, processes)))
    assert until(lambda: not cluster.is_up(cluster.locate(settings)))
    assert "Traceback" not in log.read_text()


def processes_of(server: int) -> list[int]:
    """The nursery of a server and, as they come, its processes."""
    found = children_of(server)
    found += [child for pid in found for child in children_of(pid)]
    return [pid for pid in found if Path(f"/proc/{pid}/comm").read_text().startswith("cim")]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
