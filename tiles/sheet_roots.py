"""Layers of whole sheets, clouds or sets of tiles: one root over those that hold, for every stretch of time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from cim.catalog.model import Layer
from cim.store.connection import Store
from tiles.files import publish, write_files
from tiles.outcome import Interval, Outcome
from tiles.plan.tree import Node, Region, Tile, document, named, region_union


class Sheet(NamedTuple):
    """A sheet: what its tile is known by, and when it holds."""

    key: str
    since: datetime | None
    until: datetime | None


def publish_sheets(
    store: Store,
    layer: Layer,
    folder: Path,
    sheets: Sequence[Sheet],
    tiles: Mapping[str, Tile | None],
    outcome: Outcome,
) -> None:
    """Write a root for every stretch of city time between two changes, and move the layer's roots to them."""
    bounds = sorted({bound for sheet in sheets for bound in sheet[1:] if bound is not None})
    for interval in zip([None, *bounds], [*bounds, None], strict=True):
        chosen = [tile for sheet in sheets if _holds(sheet, interval) and (tile := tiles[sheet.key])]
        name, files = _over(chosen)
        outcome.written_files += write_files(files, folder / "tileset")
        outcome.roots[interval] = name
    publish(store, layer, outcome.roots)


def _holds(sheet: Sheet, interval: Interval) -> bool:
    after = sheet.since is None or (interval[0] is not None and sheet.since <= interval[0])
    before = sheet.until is None or (interval[1] is not None and interval[1] <= sheet.until)
    return after and before


def _over(tiles: Sequence[Tile]) -> tuple[str, dict[str, bytes]]:
    """Return the root over some tilesets: its name, and the file."""
    below = [added(t.region, t.error_m) | {"content": {"uri": f"../tileset/{t.name}"}} for t in tiles]
    region = region_union([t.region for t in tiles]) if tiles else (0.0,) * 6
    error = max((t.error_m for t in tiles), default=0.0)
    root = document(Node(added(region, error) | ({"children": below} if below else {}), region, error))
    return named(root), {named(root): root}


def added(region: Region, error_m: float) -> dict[str, Any]:
    """Return a tile whose children are added to it."""
    return {"boundingVolume": {"region": list(region)}, "geometricError": round(error_m, 4), "refine": "ADD"}
