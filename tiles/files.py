"""The tile store's files and the rows that lead to them: whole or absent, and only the roots move."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from cim.catalog.model import Layer
from cim.store.connection import Cursor, Store
from tiles.outcome import Interval
from tiles.plan.tree import Tile


def write_whole(path: Path, content: bytes) -> bool:
    """Write a file so that it is there whole or not at all; one that is there already has this content by its name."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.replace(path)
    return True


def write_files(files: Mapping[str, bytes], folder: Path) -> int:
    """Write files that aren't there yet; return how many that were."""
    return sum(write_whole(folder / name, document) for name, document in files.items())


def known_tiles(cursor: Cursor, folder: Path) -> dict[bytes, Tile | None]:
    """Return the tiles that were built before and whose file is still there; None: there was nothing to see."""
    inside = (folder / "content", folder / "tileset")  # a cloud is known by its tileset
    present = {entry.name for place in inside if place.is_dir() for entry in os.scandir(place)}
    built_tiles: dict[bytes, Tile | None] = {}
    for fingerprint, name, about in cursor.execute("SELECT fingerprint, name, about FROM cim.tile"):
        if not name:
            built_tiles[bytes(fingerprint)] = None
        elif name in present:
            built_tiles[bytes(fingerprint)] = Tile(name, tuple(about["region"]), float(about["error_m"]))
    return built_tiles


def remember(store: Store, built: Mapping[bytes, Tile | None]) -> None:
    """Note what fingerprints gave, once their files are written."""
    rows = [
        (
            print_,
            tile.name if tile else "",
            json.dumps({"region": tile.region, "error_m": tile.error_m} if tile else {}),
        )
        for print_, tile in built.items()
    ]
    with store.connect() as connection, connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO cim.tile VALUES (%s, %s, %s::jsonb) ON CONFLICT (fingerprint)
               DO UPDATE SET name = excluded.name, about = excluded.about""",
            rows,
        )


def publish(store: Store, layer: Layer, roots: Mapping[Interval, str]) -> None:
    """Move the roots of a layer in one transaction; nothing is written where they stand already."""
    wanted = dict(roots)
    with store.connect() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('cim.tile_root'))")
        published = connection.execute(
            "SELECT lower(valid), upper(valid), name FROM cim.tile_root WHERE layer = %s", [layer.id]
        ).fetchall()
        if {(start, end): name for start, end, name in published} == wanted:
            return
        connection.execute("DELETE FROM cim.tile_root WHERE layer = %s", [layer.id])
        for (start, end), name in wanted.items():
            connection.execute(
                "INSERT INTO cim.tile_root (layer, valid, name) VALUES (%s, tstzrange(%s, %s), %s)",
                [layer.id, start, end, name],
            )
