"""`cim db backup` and `restore`: the twin in one file, and back. Tiles are left out and rebuilt to the same names.

The file is a tar of PostgreSQL's own dump (custom format) and the assets, with a manifest of what the twin held.
"""

import json
import os
import subprocess
import tarfile
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cim.config import Settings
from cim.errors import BadBackup, MissingProgram
from cim.messages import say
from cim.store import cluster
from cim.store.connection import Store, initialise, open_store, owner_session, session
from cim.version import VERSION

FORMAT = 1
_DUMP, _MANIFEST, _ASSETS = "twin.dump", "manifest.json", "assets"
_REBUILT = ("cim.tile", "cim.tile_root", "cim.job")  # tables whose content isn't the twin


def backup(settings: Settings, target: Path) -> dict[str, Any]:
    """Write the twin to a file, whole or not at all, while it may be in use; return what is in it.

    Raises:
        NoDatabase: there is no twin to save.
        MissingProgram: PostgreSQL's pg_dump isn't there.

    """
    with open_store(settings) as store, tempfile.TemporaryDirectory(dir=target.parent) as folder:
        dump = Path(folder) / _DUMP
        left_out = [f"--exclude-table-data={name}" for name in _REBUILT]
        _run(settings, "pg_dump", ["-Fc", "-n", "cim", "-n", "twin", "-O", "-x", *left_out, "-f", str(dump), store.url])
        manifest = _manifest(store)
        (Path(folder) / _MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), "utf-8")
        fresh = target.with_name(f".{target.name}.{os.getpid()}")
        with tarfile.open(fresh, "w") as archive:
            archive.add(Path(folder) / _MANIFEST, _MANIFEST)
            archive.add(dump, _DUMP)
            if settings.asset_store.is_dir():
                archive.add(settings.asset_store, _ASSETS)
        fresh.replace(target)
    return manifest


def restore(settings: Settings, source: Path) -> dict[str, Any]:
    """Bring a twin back from a file into a state that holds none yet; then `cim tiles` builds its tiles.

    Raises:
        BadBackup: the file isn't a backup, or the state holds a twin already.

    """
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(tarfile.open(source))
            manifest = json.load(_member(archive, _MANIFEST))
        except (OSError, tarfile.TarError, KeyError, ValueError) as fault:
            raise BadBackup(say("not-backup-cim-db-backup", source=source, reason=fault)) from fault
        if manifest.get("format") != FORMAT:
            raise BadBackup(
                say("backup-of-other-format", source=source, written_in=manifest.get("format"), format=FORMAT)
            )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        archive.extract(_DUMP, folder, filter="data")
        with owner_session(settings) as url:
            with session(url, autocommit=True) as connection:
                _refuse_a_twin(connection, source)
                connection.execute("DROP SCHEMA IF EXISTS cim CASCADE")
                connection.execute("DROP SCHEMA IF EXISTS twin CASCADE")
            _run(settings, "pg_restore", ["-1", "-O", "-x", "-d", url, str(folder / _DUMP)])
        members = [m for m in archive.getmembers() if m.name.startswith(f"{_ASSETS}/")]
        for member in members:
            archive.extract(member, settings.state, filter="data")
        initialise(settings)  # what a newer version added, and the server's grants
    return dict(manifest)


def upgrade(settings: Settings) -> Path:
    """Move the private cluster of an older PostgreSQL to the one that is installed; the old one stays beside it.

    Returns:
        Where the old cluster lies now.

    Raises:
        MissingProgram: the programs of the old version aren't installed.

    """
    private = cluster.locate(settings)
    old_bin = cluster.bin_of_data(private)
    old_data = private.folder / f"data-{cluster.version_of(private)}-{datetime.now(UTC):%Y%m%d%H%M%S}"
    saved = settings.state / f"before-upgrade-{datetime.now(UTC):%Y%m%d%H%M%S}.cim"
    old = replace(settings, pg_bin=old_bin)
    cluster.stop(cluster.Cluster(private.folder, old_bin, private.user))
    backup(old, saved)
    cluster.stop(cluster.Cluster(private.folder, old_bin, private.user))
    private.data.rename(old_data)
    restore(settings, saved)
    return old_data


def _manifest(store: Store) -> dict[str, Any]:
    with store.connect() as connection:
        rows = {
            layer.id: connection.execute(f'SELECT count(*) FROM twin."{layer.id}"'.encode()).fetchone()
            for layer in store.catalog.layers.values()
        }
    return {
        "format": FORMAT,
        "version": VERSION,
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "city": store.city.name,
        "versions": {name: row[0] for name, row in rows.items() if row and row[0]},
    }


def _refuse_a_twin(connection: Any, source: Path) -> None:
    row = connection.execute("SELECT to_regclass('cim.load') IS NOT NULL").fetchone()
    if row and row[0] and connection.execute("SELECT 1 FROM cim.load LIMIT 1").fetchone():
        raise BadBackup(say("state-holds-twin-already", source=source.name))


def _member(archive: tarfile.TarFile, name: str) -> Any:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file


def _run(settings: Settings, program: str, arguments: list[str]) -> None:
    """Run a program of PostgreSQL; of the folder that the settings name, else the newest that is installed."""
    folder = settings.pg_bin or cluster.find_pg_bin()
    try:
        done = subprocess.run([str(folder / program), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as fault:
        raise MissingProgram(say("install-postgresql-client", folder=folder / program)) from fault
    if done.returncode:
        raise BadBackup(say("program-failed", program=program, stderr=done.stderr.strip()[-800:]))
