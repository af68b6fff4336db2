"""Photos of the street as a kind of layer: each is kept whole, at the place where it was taken."""

import numpy as np
from pyproj import CRS

from cim.errors import BadSettings
from cim.reference.crs import operation
from cim.store.assets import put_asset
from cim.store.connection import Cursor
from ingest.formats.contract import Incoming
from ingest.formats.coverages.sheet import Sheet, box_outline, enter, sheet_layer

AROUND_M = 10.0  # what a photo shows of the street


def load(cursor: Cursor, incoming: Incoming) -> None:
    """Load a photo as one asset.

    Raises:
        BadSettings: no anchor says where it was taken.

    """
    path, store, declared, report = incoming.path, incoming.store, incoming.declared, incoming.report
    if declared.anchor is None:
        raise BadSettings(f"{path}: an anchor says where a photo was taken")
    layer = sheet_layer(path, declared, store, "photo")
    to_city = operation(CRS.from_epsg(4326), CRS.from_epsg(store.city.srid), store.city.extent)
    lon, lat, height = declared.anchor
    x, y = to_city(np.array([lon]), np.array([lat]))
    corners = np.array([-AROUND_M, AROUND_M])
    report.read, report.layers, report.crs = 1, [layer.id], "EPSG:4326"
    sheet = Sheet(
        layer.id, path.stem, put_asset(store.settings, path), box_outline(x + corners, y + corners), {"z": height}
    )
    enter(cursor, sheet, incoming)
