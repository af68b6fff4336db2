"""`python -m tests.benchmarks.load`: LoD2 buildings from CityJSONSeq into PostGIS, side by side with cjdb.

cjdb (PyPI, with sqlalchemy<2.1) is installed into an environment of its own that is thrown away; both load the same
file into the same private cluster, one after the other, in one run.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cim.config import Settings
from cim.store import cluster
from cim.store.connection import connect, initialise, open_store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.benchmarks.town import write_sequence

COUNT = 20_000
PEER = ("cjdb", "sqlalchemy<2.1")


def main() -> None:
    """Print both rates and their ratio."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        file = write_sequence(folder / "building.city.jsonl", COUNT)
        cjdb = environment(folder / "peer", PEER, "cjdb")
        settings = Settings(state=folder / "state")
        initialise(settings)
        with open_store(settings) as store:
            ours = min(_ours(settings, file, attempt) for attempt in range(2))
            theirs = _theirs(cluster.locate(settings), cjdb, file)
            with store.connect() as connection:
                kept = connection.execute("SELECT count(*) FROM twin.building WHERE upper_inf(recorded)").fetchone()
            assert kept == (COUNT,)
        rate = COUNT / ours
        print(f"cim ingest   {rate:>9,.0f} buildings/s   (checked, versioned, with bodies and footprints)")  # noqa: T201
        print(f"cjdb import  {COUNT / theirs:>9,.0f} buildings/s")  # noqa: T201
        print(f"ratio        {theirs / ours:>9.1f}")  # noqa: T201


def environment(folder: Path, packages: Sequence[str], program: str) -> Path:
    """Make an environment of a peer's own; return its program."""
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", folder / "bin/python", *packages], check=True)
    return folder / "bin" / program


def _ours(settings: Settings, file: Path, attempt: int) -> float:
    """Load into an empty layer; the second time everything is compiled."""
    with open_store(settings) as store:
        with store.connect() as connection:
            connection.execute("TRUNCATE twin.building")
            connection.execute("TRUNCATE cim.body")
        started = time.perf_counter()
        report = ingest(store, [file], Declared(vertical_datum="city"))
        took = time.perf_counter() - started
        assert report.files[0].loaded == COUNT, (attempt, report.summary())
        return took


def _theirs(private: cluster.Cluster, cjdb: Path, file: Path) -> float:
    with connect(private.url(cluster.SUPERUSER, "postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE cjdb")
    with connect(private.url(cluster.SUPERUSER, "cjdb"), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION postgis")
    command = [
        cjdb,
        "import",
        "-H",
        "",
        "-U",
        cluster.SUPERUSER,
        "-P",
        "none",
        "-d",
        "cjdb",
        "-s",
        "city",
        "-f",
        file,
    ]
    environment = os.environ | {"PGHOST": str(private.folder)}  # a folder of sockets doesn't fit its -H
    started = time.perf_counter()
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env=environment)
    took = time.perf_counter() - started
    assert done.returncode == 0, done.stdout[-800:] + done.stderr[-800:]
    with connect(private.url(cluster.SUPERUSER, "cjdb")) as connection:
        count = connection.execute("SELECT count(*) FROM city.city_object").fetchone()
    assert count
    assert count[0] >= COUNT
    return took


if __name__ == "__main__":
    main()
