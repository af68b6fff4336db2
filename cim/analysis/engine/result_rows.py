"""A kept result's rows where they lie: pages and boxes of a million are read without making them all.

The file is mapped into memory, so a page costs its own rows; the boxes of all rows are remembered for a few results,
whose files are named by their content and never change.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from cim.analysis.engine.keep import bodies_from_arrow, from_arrow
from cim.analysis.engine.result import with_bodies
from cim.config import Settings
from cim.store.assets import content_path

Float = NDArray[np.float64]
Int = NDArray[np.int64]
MOST_REMEMBERED = 4  # results: 32 MB of boxes for one of a million rows


@dataclass(frozen=True)
class ResultRows:
    """Rows of a kept result on disk, and how a person and a client name them."""

    path: Path
    table: pa.Table
    bodies: pa.Table | None = None  # `bodies_to_arrow`

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def srid(self) -> int | None:
        """EPSG code of the geometries; None where the rows have none."""
        srid: int | None = json.loads(self.table.schema.metadata[b"cim"])["srid"]
        return srid

    @property
    def bounds(self) -> Float:
        """(n, 4) xmin, ymin, xmax, ymax of each row, NaN where it has no geometry."""
        return _bounds(self.path)

    def ids(self, positions: Sequence[int] | Int) -> list[str]:
        """Return the ids of rows: those of the column `id` where they differ, else the rows' numbers."""
        if not _ids_differ(self.path):
            return [str(n) for n in positions]
        return [str(i) for i in self.table.column("id").take(pa.array(positions, pa.int64())).to_pylist()]

    def position(self, identifier: str) -> int | None:
        """Return the row that an id names; None: none."""
        if not _ids_differ(self.path):
            number = int(identifier) if identifier.isascii() and identifier.isdigit() and len(identifier) < 19 else -1
            return number if str(number) == identifier and 0 <= number < len(self) else None
        at = pc.index(pc.cast(self.table.column("id"), pa.string()), identifier).as_py()
        return at if at >= 0 else None

    def read(self, positions: Int) -> gpd.GeoDataFrame:
        """Return some rows, in the given order, as they go out: with the faces of those that have a body."""
        rows = from_arrow(self.table.take(pa.array(positions, pa.int64())))
        if self.bodies is None or "id" not in rows:
            return rows
        wanted = pa.array([str(identifier) for identifier in rows["id"]], pa.string())
        of_rows = self.bodies.filter(pc.is_in(self.bodies.column("id"), wanted))
        return with_bodies(rows, bodies_from_arrow(of_rows))

    def meeting(self, area: shapely.Geometry) -> Int:
        """Return the rows whose geometry meets an area of the rows' CRS, in their order."""
        xmin, ymin, xmax, ymax = shapely.bounds(area)
        low_x, low_y, high_x, high_y = self.bounds.T
        near = np.flatnonzero((low_x <= xmax) & (high_x >= xmin) & (low_y <= ymax) & (high_y >= ymin))
        wkb = self.table.column("geometry").take(pa.array(near, pa.int64())).to_numpy(zero_copy_only=False)
        shapely.prepare(area)
        return np.asarray(near[shapely.intersects(area, shapely.from_wkb(wkb))])


def open_rows(settings: Settings, manifest: str) -> ResultRows:
    """Return the rows that a manifest leads to."""
    files = {
        name: content_path(settings.result_store, sha256) for name, sha256 in json.loads(manifest)["files"].items()
    }
    return ResultRows(files["rows"], _mapped(files["rows"]), _mapped(files["bodies"]) if "bodies" in files else None)


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


@lru_cache(maxsize=MOST_REMEMBERED)
def _bounds(path: Path) -> Float:
    column = _mapped(path).column("geometry")
    parts = [shapely.bounds(shapely.from_wkb(c.to_numpy(zero_copy_only=False))) for c in column.chunks]
    return np.concatenate([np.empty((0, 4)), *parts])


@lru_cache(maxsize=1024)
def _ids_differ(path: Path) -> bool:
    table = _mapped(path)
    if "id" not in table.column_names:
        return False
    column = table.column("id")
    if not len(column):  # a result without rows knows no types either
        return True
    return bool(column.null_count == 0 and pc.count_distinct(column).as_py() == len(column))
