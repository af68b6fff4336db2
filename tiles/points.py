"""Point clouds as an octree of 3D Tiles: every point stands in exactly one tile, coarse tiles are added to by finer.

The octree stands over the one quadtree of the world: its root cells are those of level 12, cut into eight again and
again, up as well as east and north. A node that is cut keeps the first point of each of its 128³ voxels in the order of
the octree (Morton 1966) and hands the others down; one with few points keeps them all. A cloud is read a piece at a
time and shared out to files where it is big, so that memory follows from a setting and not from the cloud.
"""

import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import laspy
import numpy as np
from numpy.typing import NDArray

from cim.catalog.model import Layer
from cim.geometry.stored_form import content_hash
from cim.messages import say
from cim.reference.crs import Float, fitted
from cim.store.assets import asset_path
from cim.store.connection import Store
from cim.store.schema import IN_TILES
from tiles.encode.points_glb import encode_points
from tiles.files import known_tiles, remember, write_files, write_whole
from tiles.frame import Frame
from tiles.outcome import Outcome, Progress
from tiles.plan.quadtree import SEMI_MAJOR_M, ecef
from tiles.plan.tree import NEST, Node, Region, Tile, document, named, region_union, to_file
from tiles.recipe import recipe
from tiles.sheet_roots import Sheet, added, publish_sheets

ROOT_LEVEL = 12  # of the quadtree: cells of 4.9 km from south to north
LOWEST_M, ROOT_HEIGHT_M = -1024.0, 8192.0  # of a root cell, ellipsoidal
DEEPEST = 12  # cuts below a root cell: cells of 1.2 m
VOXEL_BITS = 7  # a node is sampled in 2⁷ voxels each way
FEW = 20_000  # points that a node keeps all of
BITS = DEEPEST + VOXEL_BITS
CHUNK = 1_000_000  # points read at a time
COUNTED_DEPTH = 5  # of the cells in which the points of a big cloud are counted

Codes = NDArray[np.int64]
POINT = np.dtype(
    [
        *(("root", "<u4"), ("code", "<i8"), ("lon", "<f8"), ("lat", "<f8"), ("height", "<f8")),
        *(("colour", "<u2", 3), ("intensity", "<u2"), ("classification", "u1")),
    ],
    align=True,
)
_BYTES_IN_WORK = 4 * POINT.itemsize  # of memory for a point of a share that is worked on


def tile_clouds(store: Store, layer: Layer, progress: Progress = lambda *_: None) -> Outcome:
    """Bring the tiles of a layer of clouds up to date, for every stretch of city time between two changes."""
    frame, folder = Frame(store.city), store.settings.tile_store / layer.id
    with store.connect() as connection, connection.cursor() as cursor:
        built_tiles = known_tiles(cursor, folder)
        sheets = cursor.execute(
            f"""SELECT sha256, lower(valid), upper(valid) FROM cim.asset
               WHERE layer = %s AND {IN_TILES} ORDER BY id""",
            [layer.id],
        ).fetchall()
    prints = {sha: content_hash(_basis(layer, frame), sha.encode()) for sha, _, _ in sheets}
    missing = [sha for sha in dict.fromkeys(prints) if prints[sha] not in built_tiles]
    outcome = Outcome(layer.id)
    for done, sha in enumerate(missing, 1):
        cloud = Cloud(asset_path(store.settings, sha), folder, frame, layer, store.settings.memory_bytes)
        built_tiles[prints[sha]] = tile = cloud.build()
        remember(store, {prints[sha]: tile})
        outcome.built += cloud.written
        progress(done, len(missing))
    outcome.tiles = len(sheets)
    tiles = {sha: built_tiles[prints[sha]] for sha in prints}
    publish_sheets(store, layer, folder, [Sheet(*sheet) for sheet in sheets], tiles, outcome)
    return outcome


def _basis(layer: Layer, frame: Frame) -> bytes:
    return json.dumps(["points", recipe(), layer.id, frame.signature], ensure_ascii=False).encode()


@dataclass(frozen=True, order=True)
class Place:
    """A node's address: its root cell, how often that is cut, and its number among the cells of that depth."""

    root: int
    depth: int
    code: int

    @property
    def parent(self) -> "Place":
        """The node that is cut into this one and seven others."""
        return Place(self.root, self.depth - 1, self.code >> 3)


@dataclass
class Cloud:
    """One cloud on its way to tiles."""

    path: Path
    folder: Path
    frame: Frame
    layer: Layer
    memory_bytes: int
    written: int = 0
    contents: dict[Place, tuple[str, Region]] = field(default_factory=dict)
    above: dict[Place, list[NDArray[Any]]] = field(default_factory=lambda: defaultdict(list))

    def build(self) -> Tile:
        """Write the cloud's contents and tileset files; return the tileset as its parent refers to it.

        Raises:
            RuntimeError: a point was lost or doubled, which is a fault of this module.

        """
        with laspy.open(self.path) as reader:
            count = reader.header.point_count
        share = max(self.memory_bytes // _BYTES_IN_WORK, CHUNK)
        placed = 0
        for depth, points in self._shares(count, share):
            placed += self._build_share(points, depth)
        for place in sorted(self.above):
            placed += self._write(place, np.concatenate(self.above[place]))
        if placed != count:
            raise RuntimeError(say("points-tiles", file=self.path, placed=placed, count=count))
        return self._compose()

    def _shares(self, count: int, share: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the points of nodes that together hold all, each with the node's depth; as many as fit in memory."""
        if count <= share:
            points = np.concatenate([*self._read()])
            roots = np.unique(points["root"])
            for root in roots:
                yield 0, points if len(roots) == 1 else points[points["root"] == root]
            return
        nodes = self._nodes(share)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as folder:
            self._share_out(nodes, Path(folder))
            for number, place in enumerate(nodes):
                yield place.depth, np.fromfile(Path(folder) / str(number), POINT)

    def _nodes(self, share: int) -> list[Place]:
        """Return the highest nodes that hold no more than a share each."""
        counts: dict[int, Codes] = defaultdict(lambda: np.zeros(8**COUNTED_DEPTH, np.int64))
        for chunk in self._read(colours=False):
            for root in np.unique(chunk["root"]):
                codes = chunk["code"][chunk["root"] == root] >> 3 * (BITS - COUNTED_DEPTH)
                counts[int(root)] += np.bincount(codes, minlength=8**COUNTED_DEPTH)
        places: list[Place] = []
        for root, of_root in sorted(counts.items()):
            waiting = [Place(root, 0, 0)]
            while waiting:
                place = waiting.pop()
                width = 8 ** (COUNTED_DEPTH - place.depth)
                point_count = int(of_root[place.code * width : (place.code + 1) * width].sum())
                if point_count and (point_count <= share or place.depth == COUNTED_DEPTH):
                    places.append(place)
                elif point_count:
                    waiting += [Place(root, place.depth + 1, 8 * place.code + n) for n in range(8)]
        # in the order of the octree: what a tile above them holds doesn't depend on how points were shared out
        return sorted(places, key=lambda n: (n.root, n.code << 3 * (BITS - n.depth)))

    def _share_out(self, nodes: Sequence[Place], folder: Path) -> None:
        first = np.array([n.code << 3 * (BITS - n.depth) for n in nodes], np.int64)
        root = np.array([n.root for n in nodes], np.int64)
        order = np.lexsort((first, root))
        with ExitStack() as stack:
            files: list[BinaryIO] = [stack.enter_context((folder / str(n)).open("wb")) for n in range(len(nodes))]
            for chunk in self._read():
                number = np.empty(len(chunk), np.int64)
                for r in np.unique(chunk["root"]):
                    in_root = np.flatnonzero(chunk["root"] == r)
                    of_root = order[root[order] == r]
                    number[in_root] = of_root[np.searchsorted(first[of_root], chunk["code"][in_root], side="right") - 1]
                by_node = np.argsort(number, kind="stable")
                ends = np.cumsum(np.bincount(number, minlength=len(nodes)))
                for n, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
                    if end > begin:
                        files[n].write(chunk[by_node[begin:end]].tobytes())

    def _read(self, *, colours: bool = True) -> Iterator[NDArray[Any]]:
        """Yield pieces of the cloud, each point with its cell in the octree."""
        with laspy.open(self.path) as reader:
            has_colour = colours and "red" in reader.header.point_format.dimension_names
            for chunk in reader.chunk_iterator(CHUNK):
                xyz = np.column_stack([chunk.x, chunk.y, chunk.z])
                lon, lat, height = self._globe(xyz)
                points = np.empty(len(chunk), POINT)
                points["root"], points["code"] = _cells(lon, lat, height)
                points["lon"], points["lat"], points["height"] = lon, lat, height
                if colours:
                    points["intensity"], points["classification"] = chunk.intensity, chunk.classification
                    names = ("red", "green", "blue")
                    points["colour"] = np.column_stack([chunk[n] for n in names]) if has_colour else 65535
                yield points

    def _globe(self, points: Float) -> tuple[Float, Float, Float]:
        lon, lat = fitted(self.frame.operation, points[:, 0], points[:, 1])
        return lon, lat, self.frame.ellipsoidal(points[:, 0], points[:, 1], points[:, 2])

    def _build_share(self, points: NDArray[Any], depth: int) -> int:
        """Put the points of one node into the tiles below it; those of its ancestors are kept until all are known."""
        order = np.argsort(points["code"], kind="stable")
        code = points["code"][order]
        root = int(points["root"][0])
        placed = 0
        for level in range(DEEPEST + 1):
            if not len(code):
                break
            chosen = _chosen(code, level, leaves=level >= depth)
            taken, node = order[chosen], code[chosen] >> 3 * (BITS - level)
            for begin, end in _runs(node):
                place = Place(root, level, int(node[begin]))
                if level < depth:
                    self.above[place].append(points[taken[begin:end]])
                else:
                    placed += self._write(place, points[taken[begin:end]])
            order, code = order[~chosen], code[~chosen]
        return placed

    def _write(self, place: Place, points: NDArray[Any]) -> int:
        lon, lat, height = points["lon"], points["lat"], points["height"]
        xyz = ecef(lon, lat, height)
        glb = encode_points(
            xyz, points["colour"], points["intensity"], points["classification"], self.layer.id, self.layer.title.en
        )
        name = hashlib.sha256(glb).hexdigest() + ".glb"
        write_whole(self.folder / "content" / name, glb)
        west, south, east, north = np.radians([lon.min(), lat.min(), lon.max(), lat.max()]).tolist()
        self.contents[place] = (name, (west, south, east, north, float(height.min()), float(height.max())))
        self.written += 1
        return len(points)

    def _compose(self) -> Tile:
        children: dict[Place, list[Place]] = defaultdict(list)
        for content in sorted(self.contents):
            place = content
            while place.depth and place not in children[place.parent]:
                children[place.parent].append(place)
                place = place.parent
        files: dict[str, bytes] = {}
        nodes: dict[Place, Node] = {}
        places = set(self.contents) | set(children)
        for place in sorted(places, key=lambda p: (-p.depth, p.root, p.code)):
            below = [nodes[child] for child in sorted(children.get(place, ()))]
            node = self._node(place, below)
            nodes[place] = to_file(node, files) if place.depth and place.depth % NEST == 0 else node
        roots = [nodes[place] for place in sorted(places) if place.depth == 0]
        region = region_union([node.region for node in roots])
        error = max(node.error_m for node in roots) * 2
        root = document(Node(added(region, error) | {"children": [n.entry for n in roots]}, region, error))
        files[named(root)] = root
        write_files(files, self.folder / "tileset")
        return Tile(named(root), region, error)

    def _node(self, place: Place, below: Sequence[Node]) -> Node:
        content = self.contents.get(place)
        regions = [node.region for node in below] + ([content[1]] if content else [])
        region = region_union(regions)
        error = error_m(place.depth) if below else 0.0
        entry = added(region, error)
        if content:
            entry["content"] = {"uri": f"../content/{content[0]}", "boundingVolume": {"region": list(content[1])}}
        if below:
            entry["children"] = [node.entry for node in below]
        return Node(entry, region, round(error, 4))


def error_m(depth: int) -> float:
    """Return the distance between the points that a cut node shows, in metres: a voxel's side."""
    side = np.pi * SEMI_MAJOR_M / 2**ROOT_LEVEL
    return float(side / 2 ** (depth + VOXEL_BITS))


def _cells(lon: Float, lat: Float, height: Float) -> tuple[NDArray[np.uint32], Codes]:
    """Return the root cell of each place and its number in the octree's order, BITS bits each way."""
    size = 180.0 / 2**ROOT_LEVEL
    column, row = (lon + 180.0) / size, (lat + 90.0) / size
    x, y = np.floor(column), np.floor(row)
    steps = 2.0**BITS
    up = np.clip((height - LOWEST_M) / ROOT_HEIGHT_M, 0, 1 - 1 / steps)
    code = _spread(((column - x) * steps).astype(np.int64))
    code |= _spread(((row - y) * steps).astype(np.int64)) << 1
    code |= _spread((up * steps).astype(np.int64)) << 2
    return (y * 2 ** (ROOT_LEVEL + 1) + x).astype(np.uint32), code


def _spread(number: Codes) -> Codes:
    """Return integers of up to 21 bits with two zeros before each bit (Morton order)."""
    x = number & 0x1FFFFF
    for shift, mask in (
        (32, 0x1F00000000FFFF), (16, 0x1F0000FF0000FF), (8, 0x100F00F00F00F00F), (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):  # fmt: skip
        x = (x | (x << shift)) & mask
    return x


def _chosen(code: Codes, level: int, *, leaves: bool) -> NDArray[np.bool_]:
    """Return which points a level keeps: the first of each voxel, and all of a node that has few."""
    voxel = code >> 3 * (BITS - level - VOXEL_BITS)
    chosen = np.empty(len(code), bool)
    chosen[0] = True
    np.not_equal(voxel[1:], voxel[:-1], out=chosen[1:])
    if leaves:
        node = code >> 3 * (BITS - level)
        for begin, end in _runs(node):
            if end - begin <= FEW or level == DEEPEST:
                chosen[begin:end] = True
    return chosen


def _runs(sorted_keys: Codes) -> Iterator[tuple[int, int]]:
    """Yield where runs of equal keys begin and end."""
    bounds = np.flatnonzero(np.diff(sorted_keys)) + 1
    yield from zip([0, *bounds.tolist()], [*bounds.tolist(), len(sorted_keys)], strict=True)
