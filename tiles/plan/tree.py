"""The explicit tree: tileset files that nest every four levels and are named by their own hash."""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cim.geometry.body_batch import Float
from tiles.plan.quadtree import Cell, east_north_up, inverse_rigid

Region = tuple[float, float, float, float, float, float]  # radians and metres
NEST = 4  # levels between one tileset file and the next

# how far above the leaf each level of detail stands
LEVELS_ABOVE_LEAF = {0: "detail", 1: "blocks", 2: "coarse", 3: "far"}


@dataclass(frozen=True)
class Tile:
    """A built content: its file, its tight region, and its own error in metres."""

    name: str
    region: Region
    error_m: float


@dataclass(frozen=True)
class Node:
    """A tile as its parent refers to it."""

    entry: dict[str, Any]  # the tile's JSON
    region: Region
    error_m: float


def compose(contents: Mapping[Cell, Tile], leaf_level: int) -> tuple[str, dict[str, bytes]]:
    """Compose the tileset over built contents.

    Returns:
        The root file's name, and every file by name (without the root's alias).

    """
    files: dict[str, bytes] = {}
    nodes: dict[Cell, Node] = {}
    nests = {level for level in range(leaf_level - NEST, 0, -NEST) if level >= leaf_level - 2 * NEST}
    children = _children(contents)
    for level in range(leaf_level, -1, -1):
        for cell in sorted(c for c in children if c.level == level):
            below = [nodes[child] for child in sorted(children[cell]) if child in nodes]
            node = _node(cell, contents.get(cell), below, contents, leaf_level)
            if node is None:
                continue
            nodes[cell] = to_file(node, files) if level in nests else node
    roots = [nodes[cell] for cell in sorted(nodes) if cell.level == 0]
    root = document(_node(None, None, roots, contents, leaf_level) or _empty())
    name = named(root)
    files[name] = root
    return name, files


def region_union(regions: Iterable[Region]) -> Region:
    """Return the region around regions."""
    w, s, e, n, low, high = zip(*regions, strict=True)
    return (min(w), min(s), max(e), max(n), min(low), max(high))


def _children(contents: Mapping[Cell, Tile]) -> dict[Cell, set[Cell]]:
    """Return every cell at or above a content with its children that lead to one."""
    children: dict[Cell, set[Cell]] = defaultdict(set)
    for cell in contents:
        below = cell
        children[below] |= set()
        while below.level and below not in children[below.parent]:
            children[below.parent].add(below)
            below = below.parent
    return children


def _node(
    cell: Cell | None, tile: Tile | None, below: list[Node], contents: Mapping[Cell, Tile], leaf_level: int
) -> Node | None:
    regions = [node.region for node in below] + ([tile.region] if tile else [])
    if not regions:
        return None
    region = region_union(regions)
    least = max((node.error_m for node in below), default=0.0)
    # without content of its own a tile shows nothing: its error is all that is below it
    error = max(tile.error_m, least) if tile else max(_diagonal_m(region), least)
    entry: dict[str, Any] = {
        "boundingVolume": {"region": list(region)},
        "geometricError": round(error, 3),
        "refine": "REPLACE",
    }
    if tile and cell:
        entry["transform"] = _relative_transform(cell, contents, leaf_level)
        entry["content"] = {"uri": f"../content/{tile.name}", "boundingVolume": {"region": list(tile.region)}}
    if below:
        entry["children"] = [node.entry for node in below]
    return Node(entry, region, round(error, 3))


def _relative_transform(cell: Cell, contents: Mapping[Cell, Tile], leaf_level: int) -> list[float]:
    """Return the transform to the cell's axes from those of the nearest ancestor that has some, column by column."""
    levels = range(cell.level - 1, leaf_level - len(LEVELS_ABOVE_LEAF), -1)
    nearest = next((above for level in levels if (above := cell.ancestor(level)) in contents), None)
    return _transform(cell, nearest)


@lru_cache(100_000)  # the tilesets of all stretches of time have mostly the same cells
def _transform(cell: Cell, above: Cell | None) -> list[float]:
    matrix: Float = east_north_up(*cell.centre)
    if above is not None:
        matrix = inverse_rigid(east_north_up(*above.centre)) @ matrix
    return [float(v) for v in matrix.T.ravel()]


def to_file(node: Node, files: dict[str, bytes]) -> Node:
    """Write a node into a file of its own and refer to that."""
    tileset = document(node)
    name = named(tileset)
    files[name] = tileset
    entry = {key: node.entry[key] for key in ("boundingVolume", "geometricError", "refine")}
    return Node(entry | {"content": {"uri": f"../tileset/{name}"}}, node.region, node.error_m)


def document(node: Node) -> bytes:
    """Return the tileset file over a node."""
    tileset = {
        "asset": {"version": "1.1"},
        "geometricError": node.error_m,
        "root": node.entry,
    }
    return json.dumps(tileset, separators=(",", ":")).encode()


def named(tileset: bytes) -> str:
    """Return the name of a tileset file: its own hash."""
    return hashlib.sha256(tileset).hexdigest() + ".json"


def _diagonal_m(region: Region) -> float:
    west, south, east, north, low, high = region
    metres = 6_371_000.0
    width = (east - west) * metres * math.cos((south + north) / 2)
    return math.hypot(width, (north - south) * metres, high - low)


def _empty() -> Node:
    region: Region = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return Node({"boundingVolume": {"region": list(region)}, "geometricError": 0.0, "refine": "REPLACE"}, region, 0.0)
