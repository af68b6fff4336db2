"""Results of jobs that no worker ran: what a test made, kept as the server keeps it."""

from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from cim.access.asker import Asker
from cim.analysis.engine.keep import keep
from cim.analysis.engine.result import Check, Computed
from cim.catalog.row import Text
from cim.jobs import queue as jobs
from cim.store.connection import Store
from tests.factory import EAST, NORTH

NOBODY = Asker(None, None, None)
SIDE_M = 10.0


def finished(store: Store, computed: Computed, asker: Asker = NOBODY) -> str:
    """Return the id of a job that gave a result."""
    with store.connect() as connection, connection.cursor() as cursor:
        job = jobs.submit(cursor, "analysis", computed.analysis, {}, asker)
        cursor.execute("UPDATE cim.job SET status = 'running', started = now() WHERE job = %s RETURNING number", [job])
        row = cursor.fetchone()
        assert row
        assert jobs.finish(cursor, row[0], keep(store.settings, computed))
    return str(job)


def computed_of(rows: gpd.GeoDataFrame, **more: Any) -> Computed:
    """Return rows as the result of an analysis that is registered."""
    return Computed("cell_statistics", rows, {}, Check(True, Text(zh="对", en="right")), {}, **more)


def squares(count: int, srid: int) -> gpd.GeoDataFrame:
    """Return squares of 10 m in rows of ten, 20 m apart, with values of each type; the last is nowhere."""
    n = np.arange(count)
    east, north = EAST + 20.0 * (n % 10), NORTH + 20.0 * (n // 10)
    shapes = shapely.box(east, north, east + SIDE_M, north + SIDE_M)
    shapes[-1] = None
    values = {
        "id": [f"方 {i}/格" for i in n],
        "name": [None if i % 5 == 4 else f"第{i}格" for i in n],
        "people": n,
        "share": np.where(n % 3 == 2, np.nan, n / 7),
        "week": [[int(i), None] for i in n],
    }
    return gpd.GeoDataFrame(values, geometry=shapes, crs=srid)
