"""Files that claim degrees of WGS 84 and are those of a Chinese map service: told by areas that are stored already.

GCJ-02 and BD-09 lie 350 to 1,200 m off, too little to fall out of the city. But outlines of districts or cells that are
there from another source fit only under the true reading.
"""

import numpy as np
import shapely
from pyproj import CRS

from cim.catalog.model import Layer
from cim.messages import say
from cim.reference.crs import WGS84, Float, operation
from cim.reference.gcj02 import SHIFTED, unshift
from cim.store.connection import Cursor, Store
from cim.store.merge import staging
from cim.store.schema import table

SUSPECT = ("EPSG:4326", "EPSG:4490", "OGC:CRS84")
MOST_PLACES = 2000
LEAST_PLACES = 8
OFF_M = 30.0  # nearer than this, nothing is suspected
BETTER = 0.35  # a reading is named if it brings the outlines this much nearer


def suspected_shift(cursor: Cursor, store: Store, layer: Layer, crs: str | None, dataset: str) -> str | None:
    """Return what to warn of where staged areas fit the stored ones of other datasets only as shifted coordinates.

    Args:
        cursor: in the load's transaction, before the merge.
        store: the city.
        layer: whose areas cover the city without gaps.
        crs: in which the file was read.
        dataset: that is delivered; what is stored of it would be as wrong.

    """
    if crs not in SUSPECT or layer.topology is None or layer.topology.rule != "coverage":
        return None
    stored = cursor.execute(
        f"""SELECT ST_AsBinary(ST_Boundary(ST_Force2D(v.geom))) FROM {table(layer)} v WHERE upper_inf(v.recorded)
            AND v.dataset <> %s AND v.geom && (SELECT ST_Expand(ST_SetSRID(ST_Extent(s.geom)::geometry,
            {store.city.srid}), 2000) FROM {staging(layer)} s) LIMIT 5000""",
        [dataset],
    ).fetchall()
    fresh = cursor.execute(f"SELECT ST_AsBinary(ST_Force2D(geom)) FROM {staging(layer)} LIMIT 5000").fetchall()
    if not stored or not fresh:
        return None
    places = shapely.get_coordinates(shapely.from_wkb([row[0] for row in fresh]))
    places = places[:: len(places) // MOST_PLACES + 1]
    outlines = shapely.STRtree(shapely.get_parts(shapely.from_wkb([row[0] for row in stored])))
    off = _distance(outlines, places)
    if off < OFF_M or len(places) < LEAST_PLACES:
        return None
    city = CRS.from_epsg(store.city.srid)
    lon, lat = operation(city, WGS84, store.city.extent)(places[:, 0], places[:, 1])
    to_city = operation(WGS84, city, store.city.extent)
    for name in SHIFTED:
        back = unshift(name)
        assert back is not None  # noqa: S101 - it is one of them
        nearer = _distance(outlines, np.column_stack(to_city(*back(lon, lat))))
        if nearer < BETTER * off:
            return say("outlines-lie-m-those-stored", off_m=off, layer=layer.id, name=name, nearer_m=nearer)
    return None


def _distance(outlines: shapely.STRtree, places: Float) -> float:
    """Return the median distance in metres of places from the nearest outline."""
    _, distance = outlines.query_nearest(shapely.points(places), return_distance=True, all_matches=False)
    return float(np.median(distance))
