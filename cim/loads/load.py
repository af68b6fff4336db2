"""Loads: what came in when, from which files, and who brought it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from cim.access.asker import COMMAND_LINE, Asker
from cim.access.audit import system_user
from cim.store.connection import Cursor, Store


def begin_load(cursor: Cursor, asker: Asker = COMMAND_LINE) -> int:
    """Begin a load in the caller's transaction, and return its number."""
    operator = asker.name if asker != COMMAND_LINE else system_user()
    row = cursor.execute("INSERT INTO cim.load (operator) VALUES (%s) RETURNING load", [operator]).fetchone()
    return int(row[0]) if row else 0


def note_source(cursor: Cursor, load: int, path: Path, shown: str, name: str | None = None) -> int:
    """Note a file that a load reads, or a table of it; return the number by which its versions name it.

    Args:
        cursor: in the load's transaction.
        load: its number.
        path: the file.
        shown: what the file is called: in an archive, say, by the archive's path and its own.
        name: of the table, where the file has several.

    """
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    row = cursor.execute(
        "INSERT INTO cim.source (load, path, name, sha256, bytes) VALUES (%s, %s, %s, %s, %s) RETURNING source",
        [load, shown, name, sha256, path.stat().st_size],
    ).fetchone()
    return int(row[0]) if row else 0


def list_loads(store: Store) -> Iterator[str]:
    """Yield a line on each load, the newest first."""
    with store.connect() as connection:
        rows = connection.execute("SELECT load, started, operator, report FROM cim.load ORDER BY load DESC").fetchall()
    for number, started, operator, report in rows:
        files = (report or {}).get("files", [])
        layers = ", ".join(sorted({layer for file in files for layer in file["layers"]}))
        total = {key: sum(file[key] for file in files) for key in ("loaded", "updated", "unchanged", "refused")}
        counts = ", ".join(f"{count} {key}" for key, count in total.items())
        yield f"{number}  {started:%Y-%m-%d %H:%M}  {operator or '—'}  {len(files)} files → {layers}: {counts}"
