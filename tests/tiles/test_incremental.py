"""The law: after any edits an updated tile store holds, byte for byte, what a full build of the same city holds."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import shapely

from cim.access.asker import Asker
from cim.catalog.model import Layer
from cim.errors import NotFound
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.edit import Edit, apply_edit
from ingest.load.pipeline import ingest
from sample_data.terrain import EAST, NORTH
from tests.budget import PATIENT
from tests.conftest import MakeStore
from tiles.build import tile_layer
from tiles.check import check_tileset
from tiles.tilers import reached

EDITS, TILE_EVERY = 200 if PATIENT else 60, 10
FAR_M = 1500.0  # several leaves away


def footprint(rng: random.Random) -> dict[str, Any]:
    x, y = EAST + rng.uniform(-FAR_M, FAR_M), NORTH + rng.uniform(-FAR_M, FAR_M)
    shape = shapely.box(x, y, x + rng.uniform(6, 30), y + rng.uniform(6, 30))
    return {"type": "Polygon", "coordinates": [[list(c) for c in shape.exterior.coords]]}


def edit(layer: Layer, known: list[str], number: int, rng: random.Random) -> Edit:
    """One of: add, change attributes, change height, move, remove, each now or from a date ahead."""
    kind = rng.choice(["add", "change", "height", "move", "remove"])
    at = None
    if rng.random() < 0.3:
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=rng.randint(1, 20))
    if kind == "add" or not known:
        identifier = f"NEW{number:03}"
        known.append(identifier)
    else:
        identifier = rng.choice(known)
    if kind == "remove":
        known.remove(identifier)
        return Edit(layer, identifier, "delete", at=at)
    properties = {"name": f"楼{number}", "height_m": round(rng.uniform(3, 60), 1), "storeys": rng.randint(1, 20)}
    feature = {"type": "Feature", "geometry": footprint(rng), "properties": properties}
    return Edit(layer, identifier, "replace", feature, "EPSG:4547", at)


def published(store: Store, layer: Layer) -> tuple[list[tuple[str, str]], dict[str, bytes]]:
    """Roots by interval, and every file that they lead to."""
    with store.connect() as connection:
        roots = connection.execute(
            "SELECT valid::text, name FROM cim.tile_root WHERE layer = %s ORDER BY valid", [layer.id]
        ).fetchall()
    folder = store.settings.tile_store / layer.id
    names = reached(folder, [name for _, name in roots])
    files = {name: (folder / ("content" if name.endswith(".glb") else "tileset") / name).read_bytes() for name in names}
    return roots, files


def test_random_edits_leave_what_a_full_build_makes(make_store: MakeStore, sample_folder: Path, tmp_path: Path) -> None:
    store = make_store()
    names = ["terrain_town.tif", "terrain_region.tif", "building_core.city.jsonl", "building_outer.shp"]
    assert (
        ingest(
            store, [sample_folder / name for name in names], Declared(date=datetime(2024, 5, 1, tzinfo=UTC).date())
        ).exit_code
        == 0
    )
    layer = store.catalog.layers["building"]
    with store.connect() as connection:
        known = [
            r[0]
            for r in connection.execute("SELECT id FROM twin.building WHERE parent_id IS NULL AND lods IS NOT NULL")
        ]
    known.sort()
    tile_layer(store, layer)
    rng = random.Random(14)
    built = 0
    for number in range(EDITS):
        with store.connect() as connection, connection.cursor() as cursor:
            wanted = edit(layer, known, number, rng)
            try:
                apply_edit(cursor, store, wanted, Asker("test"))
            except NotFound:  # an object that only begins later can't be removed before: nothing of the edit stays
                connection.rollback()
        if number % TILE_EVERY == 0 or number == EDITS - 1:
            built += tile_layer(store, layer).built
    roots, files = published(store, layer)
    assert len(roots) > 10  # the dates ahead and the removals cut the city's time
    assert built > EDITS

    elsewhere = replace(store, settings=replace(store.settings, state=tmp_path / "full"))
    with store.connect() as connection:
        connection.execute("DELETE FROM cim.tile")
        connection.execute("DELETE FROM cim.tile_root")
    tile_layer(elsewhere, layer)
    full_roots, full_files = published(elsewhere, layer)
    assert full_roots == roots
    assert full_files.keys() == files.keys()
    assert all(full_files[name] == content for name, content in files.items())
    everything = {p.name for p in (elsewhere.settings.tile_store / "building").glob("*/*")}
    assert everything == files.keys()  # a full build writes nothing that no root leads to
    for _, name in roots[:: max(1, len(roots) // 8)]:
        assert check_tileset(elsewhere.settings.tile_store / "building", name).problems == []
