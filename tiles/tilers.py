"""Which tiler builds which layer: one row a kind of tile."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cim.catalog.model import Layer
from cim.errors import UnknownLayer
from cim.messages import say
from cim.store.connection import Store
from cim.store.kinds import Drawing, kind_of
from cim.store.outbox import announce_update
from tiles.build import tile_layer
from tiles.outcome import Outcome, Progress
from tiles.points import tile_clouds
from tiles.sets import tile_sets
from tiles.terrain import tile_terrain

Tiler = Callable[..., Outcome]  # store, layer, progress
TILERS: Mapping[Drawing, Tiler] = {
    "features": tile_layer,
    "ground": tile_terrain,
    "cloud": tile_clouds,
    "sets": tile_sets,
}
GRACE_S = 24 * 3600  # a viewer may still hold yesterday's root


def run(store: Store, layer_ids: Sequence[str] = (), progress: Progress = lambda *_: None) -> Iterator[str]:
    """Tile the named layers, or all that have tiles; yield a line on each.

    Raises:
        UnknownLayer: a name is none of the catalog.

    """
    if unknown := [name for name in layer_ids if name not in store.catalog.layers]:
        raise UnknownLayer(
            say("no-layer-catalog-has", unknown=", ".join(unknown), layers=", ".join(store.catalog.layers))
        )
    for layer in store.catalog.layers.values():
        if layer_ids and layer.id not in layer_ids:
            continue
        tiler = tiler_of(layer)
        if tiler is None:
            continue
        started = time.perf_counter()
        outcome = tiler(store, layer, progress)
        if outcome.built:
            with store.connect() as connection:
                announce_update(connection, layer.id, tiles=True)
        yield f"{layer.id}: {outcome.tiles} tiles, {outcome.built} built in {time.perf_counter() - started:.1f} s"


def tiler_of(layer: Layer) -> Tiler | None:
    """Return what brings a layer's tiles up to date, None: it has none."""
    kind = kind_of(layer)
    return _alone(TILERS[kind.drawing]) if kind.drawing and kind.tiled(layer) else None


def _alone(tiler: Tiler) -> Tiler:
    """Let one run at a time tile a layer: one that read earlier must not publish later."""

    def run_alone(store: Store, layer: Layer, progress: Progress = lambda *_: None) -> Outcome:
        with store.connect() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('cim.tiles.' || %s))", [layer.id])
            return tiler(store, layer, progress)

    return run_alone


def prune_store(store: Store) -> int:
    """Remove files that no root reaches and that are older than a day; return how many."""
    with store.connect() as connection:
        roots = connection.execute("SELECT layer, name FROM cim.tile_root").fetchall()
    removed = 0
    for folder in [p for p in store.settings.tile_store.glob("*") if p.is_dir()]:
        reachable = reached(folder, [name for layer, name in roots if layer == folder.name])
        for file in [*folder.glob("content/*"), *folder.glob("tileset/*")]:
            if file.name not in reachable and time.time() - file.stat().st_mtime > GRACE_S:
                file.unlink()
                removed += 1
    return removed


def reached(folder: Path, roots: list[str]) -> set[str]:
    """Return the names of all files of a layer that some roots lead to."""
    names: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in names:
            continue
        names.add(name)
        if name.endswith(".json"):
            waiting += _references(json.loads((folder / "tileset" / name).read_bytes())["root"])
    return names


def _references(tile: dict[str, object]) -> Iterator[str]:
    content, contents = tile.get("content"), tile.get("contents")
    for one in [content, *(contents if isinstance(contents, list) else [])]:
        if isinstance(one, dict):
            yield str(one["uri"]).rsplit("/", 1)[-1]
    children = tile.get("children")
    for child in children if isinstance(children, list) else []:
        yield from _references(child)
