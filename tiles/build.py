"""`cim tiles`: plan by fingerprint, build what isn't there, compose the trees, then move the roots, in one step.

Incremental update == full rebuild: a tile's name follows from its content alone, so what a fresh store would hold is
what an updated one holds.
"""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from cim.catalog.model import Layer
from cim.catalog.read import read_catalog
from cim.city import City
from cim.concurrency.process_pool import process_pool
from cim.config import Settings
from cim.geometry.stored_form import content_hash
from cim.read.terrain import ground_of
from cim.read.tile_rows import Version, point_heights, rows_in_tiles, versions_in_tiles
from cim.store.assets import asset_path
from cim.store.connection import Cursor, Store, session
from tiles import symbols as instances
from tiles.files import known_tiles, publish, remember, write_files, write_whole
from tiles.frame import Frame
from tiles.levels import build, members
from tiles.outcome import Interval, Outcome, Progress
from tiles.plan.quadtree import Cell, cell_numbers
from tiles.plan.tree import LEVELS_ABOVE_LEAF, Tile, compose
from tiles.recipe import recipe

REMEMBER_EVERY = 64  # tiles; a killed run loses no more than these
FEW = 6  # so few tiles are built faster here than by processes that must start first


@dataclass(frozen=True)
class Job:
    """A plan row: everything a worker needs to build one tile, beside the settings of its connection."""

    fingerprint: bytes
    layer: str
    cell: Cell
    level: str
    fids: tuple[int, ...]
    heights: tuple[float, ...] = ()  # of the ground under each, for symbols


@dataclass(frozen=True)
class Built:
    """What a worker gives back: the fingerprint, and the tile's name, region and error; no name: nothing to see."""

    fingerprint: bytes
    tile: Tile | None


@dataclass(frozen=True)
class WorkPlace:
    """Where a worker reads and writes."""

    url: str
    city: City
    folder: Path
    settings: Settings


def tile_layer(store: Store, layer: Layer, progress: Progress = lambda *_: None) -> Outcome:
    """Bring a layer's tilesets up to date, for every stretch of city time between two changes."""
    assert layer.leaf_level is not None  # noqa: S101 - the caller asked for layers with tiles
    frame = Frame(store.city)
    with store.connect() as connection, connection.cursor() as cursor:
        versions = versions_in_tiles(cursor, layer)
        heights = _ground_under(cursor, store, layer, versions) if layer.symbol else {}
        built_tiles = known_tiles(cursor, _folder(store, layer))
    jobs_by_interval = _plan(versions, layer, frame, heights)
    jobs = {job.fingerprint: job for plan in jobs_by_interval.values() for job in plan}
    missing = [job for print_, job in jobs.items() if print_ not in built_tiles]
    place = WorkPlace(store.url, store.city, _folder(store, layer), store.settings)
    fresh: dict[bytes, Tile | None] = {}
    for done, built in enumerate(_build_all(missing, place, store.settings.worker_count), 1):
        built_tiles[built.fingerprint] = built.tile
        fresh[built.fingerprint] = built.tile
        if len(fresh) >= REMEMBER_EVERY or done == len(missing):
            remember(store, fresh)
            fresh = {}
        progress(done, len(missing))
    outcome = Outcome(layer.id, tiles=len(jobs), built=len(missing))
    for interval, plan in jobs_by_interval.items():
        contents = {job.cell: tile for job in plan if (tile := built_tiles[job.fingerprint]) is not None}
        name, files = compose(contents, layer.leaf_level)
        outcome.written_files += write_files(files, place.folder / "tileset")
        outcome.roots[interval] = name
    publish(store, layer, outcome.roots)
    _publish_copy(store, layer, place.folder)
    return outcome


def build_tiles(jobs: Sequence[Job], place: WorkPlace) -> list[Built]:
    """Build some tiles; the function that a process pool or a cluster's worker runs."""
    catalog = read_catalog(place.city.catalog)
    frame = Frame(place.city)
    path_of = partial(asset_path, place.settings)
    built = []
    with session(place.url) as connection, connection.cursor() as cursor:
        for job in jobs:
            layer = catalog.layers[job.layer]
            rows = rows_in_tiles(cursor, layer, job.fids)
            if layer.symbol:
                content = instances.build(job.level, rows, job.heights, job.cell, layer, frame)
            else:
                content = build(job.level, members(rows, layer), job.cell, layer, frame, path_of)
            tile = None
            if content:
                name = hashlib.sha256(content.glb).hexdigest() + ".glb"
                write_whole(place.folder / "content" / name, content.glb)
                tile = Tile(name, content.region, content.error_m)
            built.append(Built(job.fingerprint, tile))
    return built


def _folder(store: Store, layer: Layer) -> Path:
    return store.settings.tile_store / layer.id


def _ground_under(cursor: Cursor, store: Store, layer: Layer, versions: Sequence[Version]) -> dict[int, float]:
    """Return the height of each version's foot: its own where it has one, else the ground's; where none, zero."""
    stored_heights = point_heights(cursor, layer)
    z = np.array([np.nan if (h := stored_heights[v[0]]) is None else h for v in versions])
    bare = np.flatnonzero(np.isnan(z))
    if len(bare):
        x, y = (np.array([versions[i][k] for i in bare]) for k in (5, 6))
        z[bare] = ground_of(cursor, store, public_only=True)(x, y)
    return dict(zip((v[0] for v in versions), np.nan_to_num(np.round(z, 2)).tolist(), strict=True))


def _plan(
    versions: Sequence[Version], layer: Layer, frame: Frame, heights: Mapping[int, float]
) -> dict[Interval, list[Job]]:
    """Plan the tiles of every interval of city time in which nothing changes."""
    leaf_level = layer.leaf_level or 0
    if not versions:
        return {(None, None): []}
    x = np.array([v[5] for v in versions])
    y = np.array([v[6] for v in versions])
    columns, rows = cell_numbers(*frame.operation(x, y), leaf_level)
    leaves = [Cell(leaf_level, c, r) for c, r in zip(columns.tolist(), rows.tolist(), strict=True)]
    basis = _basis(layer, frame)
    prints: dict[tuple[str, Cell, tuple[int, ...]], bytes] = {}
    by_fid = {v[0]: v for v in versions}
    plans: dict[Interval, list[Job]] = {}
    for interval in _intervals(versions):
        members_by_cell: dict[Cell, list[int]] = defaultdict(list)
        for version, leaf in zip(versions, leaves, strict=True):
            if _holds(version, interval):
                for above in LEVELS_ABOVE_LEAF:
                    members_by_cell[leaf.ancestor(leaf_level - above)].append(version[0])
        jobs = []
        for cell, fids in members_by_cell.items():
            level = LEVELS_ABOVE_LEAF[leaf_level - cell.level]
            key = (level, cell, tuple(fids))
            if key not in prints:
                prints[key] = _fingerprint(basis, level, cell, [by_fid[f] for f in fids], heights)
            feet = tuple(heights[f] for f in fids) if heights else ()
            jobs.append(Job(prints[key], layer.id, cell, level, key[2], feet))
        plans[interval] = jobs
    return plans


def _intervals(versions: Sequence[Version]) -> Iterator[Interval]:
    bounds = sorted({bound for v in versions for bound in (v[2], v[3]) if bound is not None})
    yield from pairwise([None, *bounds, None])


def _holds(version: Version, interval: Interval) -> bool:
    """Whether a version is valid throughout an interval, which no version's bound cuts."""
    valid_from, valid_until = version[2], version[3]
    start, end = interval
    after_start = valid_from is None or (start is not None and valid_from <= start)
    before_end = valid_until is None or (end is not None and end <= valid_until)
    return after_start and before_end


def _basis(layer: Layer, frame: Frame) -> bytes:
    fields = [(f.name, f.type, f.title.zh, f.title.en) for f in layer.public_fields]
    return json.dumps([recipe(), layer.id, layer.title.en, fields, frame.signature], ensure_ascii=False).encode()


def _fingerprint(
    basis: bytes, level: str, cell: Cell, versions: Iterable[Version], heights: Mapping[int, float]
) -> bytes:
    """Return the hash of all that goes into a tile; no clock, path or order of work enters it."""
    parts = [basis, level.encode(), f"{cell.level}/{cell.x}/{cell.y}".encode()]
    for version in versions:
        parts += (version[1].encode(), b"\0", bytes(version[4]))
        if version[0] in heights:
            parts.append(repr(heights[version[0]]).encode())
    return content_hash(*parts)


def _build_all(jobs: list[Job], place: WorkPlace, workers: int) -> Iterator[Built]:
    if len(jobs) <= FEW or workers == 1:
        for job in jobs:
            yield from build_tiles([job], place)
        return
    with process_pool(workers, __name__) as pool:
        yield from _spread(jobs, place, pool.executor, workers)


def _spread(jobs: list[Job], place: WorkPlace, executor: Executor, workers: int) -> Iterator[Built]:
    """Give out jobs in chunks of like weight, the heaviest first."""
    ordered = sorted(jobs, key=lambda job: -len(job.fids))
    size = max(1, min(16, len(jobs) // (workers * 4)))
    chunks = [ordered[i :: -(-len(ordered) // size)] for i in range(-(-len(ordered) // size))]
    for built in executor.map(build_tiles, chunks, [place] * len(chunks)):
        yield from built


def _publish_copy(store: Store, layer: Layer, folder: Path) -> None:
    """Put today's root under its usual name too, for static file servers."""
    with store.connect() as connection:
        row = connection.execute(
            "SELECT name FROM cim.tile_root WHERE layer = %s AND valid @> now()", [layer.id]
        ).fetchone()
    if row:
        document = (folder / "tileset" / row[0]).read_bytes().replace(b'"../', b'"')
        fresh = folder / f".tileset.{os.getpid()}"
        fresh.write_bytes(document)
        fresh.replace(folder / "tileset.json")
