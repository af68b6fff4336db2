"""Sets of tiles that others made, in our tree: their contents named by what is in them, their tilesets by their hash.

Nothing of a content is changed. Addresses are rewritten, so that a set is served, dated and pruned like our own tiles.
"""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from math import radians
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cim.catalog.model import Layer
from cim.geometry.stored_form import content_hash
from cim.store.assets import asset_path
from cim.store.connection import Store
from cim.store.schema import IN_TILES
from tiles.files import known_tiles, remember, write_files, write_whole
from tiles.frame import Frame
from tiles.outcome import Outcome, Progress
from tiles.plan.quadtree import east_north_up
from tiles.plan.tree import Node, Region, Tile, document, named
from tiles.recipe import recipe
from tiles.sheet_roots import Sheet, added, publish_sheets
from tiles.textured_mesh import tile_mesh


def tile_sets(store: Store, layer: Layer, progress: Progress = lambda *_: None) -> Outcome:
    """Bring the tiles of a layer of sets up to date, for every stretch of city time between two changes."""
    frame, folder = Frame(store.city), store.settings.tile_store / layer.id
    with store.connect() as connection, connection.cursor() as cursor:
        built_tiles = known_tiles(cursor, folder)
        sheets = cursor.execute(
            f"""SELECT sha256, about, ST_X(ST_Centroid(footprint)), ST_Y(ST_Centroid(footprint)), lower(valid),
                      upper(valid) FROM cim.asset WHERE layer = %s AND {IN_TILES} ORDER BY id""",
            [layer.id],
        ).fetchall()
    outcome = Outcome(layer.id)
    tile_of: dict[str, Tile | None] = {}
    for done, (sha256, about, x, y, *_) in enumerate(sheets):
        basis = json.dumps(["set", recipe(), layer.id, frame.signature, about], sort_keys=True)
        print_ = content_hash(basis.encode(), sha256.encode())
        tile = built_tiles.get(print_)
        if tile is None:
            path = asset_path(store.settings, sha256)
            if about["form"] == "osgb":
                with zipfile.ZipFile(path) as archive:
                    tile, written = tile_mesh(archive, frame, folder)
            else:
                rise = float(frame.rise(np.array([x]), np.array([y]))[0])
                tile, written = _rebased(path, about, rise, folder)
            built_tiles[print_] = tile
            remember(store, {print_: tile})
            outcome.built += written
        tile_of[str(done)] = tile
        outcome.tiles += int(about["contents"])
        progress(done + 1, len(sheets))
    dated_sheets = [Sheet(str(k), sheet[4], sheet[5]) for k, sheet in enumerate(sheets)]
    publish_sheets(store, layer, folder, dated_sheets, tile_of, outcome)
    return outcome


def _rebased(path: Path, about: dict[str, Any], rise_m: float, folder: Path) -> tuple[Tile, int]:
    """Write a set's contents and tilesets into the store; return its root, and how many contents are new."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        addresses: dict[str, str] = {}
        written = 0
        for name in names:
            if not name.endswith(".json"):
                content = archive.read(name)
                stored = hashlib.sha256(content).hexdigest() + PurePosixPath(name).suffix.lower()
                addresses[name] = f"../content/{stored}"
                written += write_whole(folder / "content" / stored, content)
        documents = {name: json.loads(archive.read(name)) for name in names if name.endswith(".json")}
    files: dict[str, bytes] = {}
    root = documents[about["root"]]
    for name in sorted(documents, key=lambda name: name == about["root"]):
        _settle(name, documents, addresses, files)
    write_files(files, folder / "tileset")
    west, south, east, north, low, high = about["box"]
    lift = rise_m if about.get("anchor") else 0.0
    region: Region = (*(radians(v) for v in (west, south, east, north)), low + lift, high + lift)
    error = float(root.get("geometricError") or root["root"].get("geometricError") or 0.0)
    inner = addresses[about["root"]].rsplit("/", 1)[-1]
    if not about.get("anchor"):
        return Tile(inner, region, error), written
    entry = added(region, error) | {
        "transform": _anchored(about["anchor"], about.get("heading", 0.0), rise_m),
        "content": {"uri": f"../tileset/{inner}"},
    }
    outer = document(Node(entry, region, error))
    write_files({named(outer): outer}, folder / "tileset")
    return Tile(named(outer), region, error), written


def _settle(name: str, documents: dict[str, dict[str, Any]], addresses: dict[str, str], files: dict[str, bytes]) -> str:
    """Give a tileset file its name, after those it refers to have theirs."""
    if name in addresses:
        return addresses[name]
    tileset = documents[name]
    waiting = [tileset["root"]]
    while waiting:
        tile = waiting.pop()
        if "refine" in tile:
            tile["refine"] = str(tile["refine"]).upper()  # 1.0 allowed small letters
        for content in [*([tile["content"]] if "content" in tile else []), *tile.get("contents", [])]:
            content["uri"] = _settle(content["uri"], documents, addresses, files)
        waiting += tile.get("children", [])
    text = json.dumps(tileset, separators=(",", ":"), sort_keys=True).encode()
    stored = named(text)
    files[stored] = text
    addresses[name] = f"../tileset/{stored}"
    return addresses[name]


def _anchored(anchor: Sequence[float], heading: float, rise_m: float) -> list[float]:
    """Return the transform of east, north, up about an anchor, turned clockwise, column by column."""
    lon, lat, height = anchor
    matrix = east_north_up(lon, lat)
    matrix[:3, 3] += (height + rise_m) * matrix[:3, 2]
    cos, sin = np.cos(np.radians(heading)), np.sin(np.radians(heading))
    turn = np.eye(4)
    turn[:2, :2] = [[cos, sin], [-sin, cos]]
    return [float(v) for v in (matrix @ turn).T.ravel()]
